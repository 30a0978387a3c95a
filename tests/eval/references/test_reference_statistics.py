"""Statistics of a file of references, counted by hand."""

from __future__ import annotations

import json

import pytest

from dialog_cvae.types import Utterance
from eval.references.multi_reference import ReferenceRow
from eval.references.reference_statistics import INFERRED, LABELS, PUBLISHED, STRATA, as_json, as_text, statistics

HI, YES, DOGS = Utterance("A", "hi"), Utterance("B", "yes"), Utterance("A", "i have dogs")
ROWS = {
    ("c", 0): ReferenceRow((), "A", ("hi", "hello", "hello"), ("o", "o", "o")),  # not scored
    ("c", 1): ReferenceRow((HI,), "B", ("yes", "uh-huh", ") Uh huh", "i see it"), ("y", "b", "b", None)),
    ("c", 2): ReferenceRow((HI, YES), "A", ("i have dogs", "uh-huh", "I have dogs."), ("s", "b", "s")),
    ("c", 3): ReferenceRow((HI, YES, DOGS), "A", ("and two cats",), (None,)),
    ("d", 2): ReferenceRow((HI, HI), "A", ("oh", "uh-huh"), ("b", "b")),
    ("e", 5): ReferenceRow((HI,), "B", ("yes", "yes"), ("y", "y")),
    ("e", 2): ReferenceRow((HI,), "B", ("yes", "no", "no", "Yes"), ("y", "y", "y", "y")),
}


def test_every_figure():
    strata = statistics(ROWS)
    assert tuple(strata) == STRATA
    assert strata["speaker changes"].figures == {
        "contexts": 4,
        "mean_references": 13 / 4,
        "least_references": 2,
        "most_references": 4,
        "contexts_without_extras": 0.0,
        "mean_dialog_acts": 1.5,
        "rows_with_duplicates": 0.5,  # those of e; what other case or punctuation tells apart is not the same
        "rows_with_gold_again": 0.25,  # the last
        "one_word_extras": 6 / 9,  # `) Uh huh` has two
        "mean_words_of_extras": (1 + 2 + 3 + 1 + 3 + 1 + 1 + 1 + 1) / 9,
        "mean_words_of_gold": 1.5,
        "extras_of_the_row_before": 1 / 3,  # uh-huh of c's, but neither `I have dogs.` nor what `Yes` is of e's
        "extras_with_artefact": 1 / 9,
    }
    assert strata["speaker goes on"].figures == {
        "contexts": 2,
        "mean_references": 1.5,
        "least_references": 1,
        "most_references": 2,
        "contexts_without_extras": 0.5,
        "mean_dialog_acts": 1.0,
        "rows_with_duplicates": 0.0,
        "rows_with_gold_again": 0.0,
        "one_word_extras": 1.0,
        "mean_words_of_extras": 1.0,
        "mean_words_of_gold": 2.0,
        "extras_of_the_row_before": None,  # one row has no extras, the other no row before it
        "extras_with_artefact": 0.0,
    }
    every = strata["all"]
    assert every.figures["contexts"] == 6
    assert every.figures["mean_references"] == pytest.approx(16 / 6)
    assert every.figures["mean_dialog_acts"] == pytest.approx(7 / 5)
    assert every.references == {1: 1, 2: 2, 3: 1, 4: 2}
    assert every.extra_acts == {"b": 4 / 9, "y": 4 / 9, "s": 1 / 9}
    assert every.gold_acts == {"y": 0.6, "s": 0.2, "b": 0.2}


def test_empty_references_have_no_figures():
    strata = statistics({("c", 0): ROWS["c", 0]})
    assert {name: value for name, value in strata["all"].figures.items() if value is not None} == {"contexts": 0}
    assert "-" in as_text(strata)
    json.dumps(as_json(strata), allow_nan=False)


def test_the_report_shows_published_figures_next_to_ours():
    strata = statistics(ROWS)
    lines = as_text(strata).splitlines()
    (means,) = (line for line in lines if line.startswith("references, mean"))
    assert means.split() == ["references,", "mean", "2.67", "[7.69]", "3.25", "[9]", "1.50", "[5.3", "inferred]"]
    assert all(any(line.startswith(f"{label} ") for line in lines) for label in LABELS.values())
    assert "  all: 1: 1, 2: 2, 3: 1, 4: 2" in as_text(strata)
    assert "b 44% (20%), y 44% (60%), s 11% (20%)" in as_text(strata)
    content = json.loads(json.dumps(as_json(strata)))
    assert content["all"]["figures"] == strata["all"].figures
    assert content["speaker changes"]["published"] == dict(PUBLISHED["speaker changes"])
    assert content["speaker goes on"]["inferred"] == {"mean_references": 5.3}
    assert all(set(known) <= set(LABELS) for table in (PUBLISHED, INFERRED) for known in table.values())


def test_inferred_figures_follow_from_published_ones():
    every, changes = (PUBLISHED[name]["mean_references"] for name in ("all", "speaker changes"))
    share = 3492 / 5419  # share of the paper's scored contexts
    assert INFERRED["speaker goes on"]["mean_references"] == pytest.approx(
        (every - share * changes) / (1 - share), abs=0.05
    )
