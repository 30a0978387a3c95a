"""The page: the paper's figures, ours and the difference, and that nothing that is missing is hidden."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eval.evaluation import Evaluation
from eval.measures import MAIN, PAPER, Measure, flat
from experiments.table3.cells import Variant
from experiments.table3.contrasts import Contrast, Effect
from experiments.table3.report import Page, Row, as_json, effects_table, main_table, markdown, table, write
from training.sweep.summary import Estimate

M, C = Variant(False, "monotonic", "constant"), Variant(False, "cyclical", "cosine_restarts")
OFF = Variant(False, "cyclical", "constant")


def evaluation(**figures: Any) -> Evaluation:
    return Evaluation(figures, {}, [])


def cells(line: str) -> list[str]:
    return [part.strip() for part in line.strip("|").split("|")]


ROWS = [
    Row("M", M, {0: evaluation(paper_kl=0.2, a_bow={"precision": 0.9}), 1: evaluation(paper_kl=0.4)}, 3),
    Row("off", OFF, {0: evaluation(paper_kl=7.0)}, 1),
    Row("C", C, {}, 2),
    Row("noise", None, {0: evaluation(bleu={"precision": 0.5}, paper_kl=None)}),
]
EFFECT = Effect(Measure("kl", "KL", 2), 1.5, 1.0, 2.0, 0.0002, 0.0004, Estimate(1.5, 0.25, 3), 12)
PAGE = Page(
    ["Fitted | so"],
    ROWS,
    [(Contrast("C - M", {C: 1.0, M: -1.0}), [EFFECT])],
    ["Missing: a cell"],
    "how",
    "samples",
    {"a.png": "A"},
)


def test_the_papers_table_is_copied_right():
    """Against the table's text, cell by cell."""
    columns = {(False, "monotonic"): 0, (False, "cyclical"): 1, (True, "monotonic"): 2, (True, "cyclical"): 3}
    lines = {
        "paper_rec_perplexity": "36.16 29.77 18.44 16.74",
        "paper_kl": "0.265 4.104 14.06 15.55",
        "bleu_nltk_3.4.5_4.precision": "0.185 0.234 0.211 0.219",
        "bleu_nltk_3.4.5_4.recall": "0.122 0.220 0.210 0.219",
        "a_bow.precision": "0.957 0.961 0.958 0.961",
        "a_bow.recall": "0.911 0.941 0.938 0.940",
        "e_bow.precision": "0.867 0.833 0.830 0.828",
        "e_bow.recall": "0.784 0.808 0.808 0.805",
    }
    for key, figures in PAPER.items():
        assert figures == {name: float(line.split()[columns[key]]) for name, line in lines.items()}
    assert set(lines) < {measure.name for measure in MAIN}


def test_ours_the_papers_and_the_difference():
    head, _, ours, paper, difference, off, c, c_paper, _, noise = main_table(ROWS)
    assert cells(head) == ["", "seeds", "KL"]
    # mean .3 of .2 and .4; t(.975, 1) = 12.706 times s = .1414 by sqrt(2)
    assert cells(ours) == ["M", "2 of 3", "0.300 ± 1.271"]
    assert cells(paper) == ["– the paper", "", "0.265"]
    assert cells(difference) == ["– ours less the paper's", "", "+0.035"]
    assert cells(off) == ["off", "1", "7.000"]
    assert cells(c) == ["C", "0 of 2", "–"]
    assert cells(c_paper)[-1] == "4.104"
    assert cells(noise) == ["noise", "", "–"]


def test_a_figure_counts_where_all_seeds_have_it():
    assert ROWS[0].estimates.keys() == {"paper_kl"}
    assert ROWS[2].estimates == {}


def test_a_table_leaves_out_what_nobody_has():
    measures = [Measure("paper_kl", "KL", 1), Measure("nothing", "N", 1)]
    head, _, *lines = table(ROWS, measures)
    assert cells(head) == ["", "KL"]
    assert [cells(line)[0] for line in lines] == ["M", "off"]


def test_effects_give_interval_and_both_ps():
    line = effects_table([EFFECT])[-1]
    assert cells(line) == ["KL", "+1.50", "+1.00 to +2.00", "< 0.0005", "< 0.0005", "1.50 ± 0.25"]


def test_the_page_shows_everything(tmp_path):
    text = write(PAGE, tmp_path)
    assert text == markdown(PAGE) == (tmp_path / "table3.md").read_text(encoding="utf-8")
    for part in ("# Table 3", "Fitted | so", "Missing: a cell", "### C - M", "![A](a.png)", "samples", "how"):
        assert part in text


def test_the_json_holds_every_figure_and_is_strict(tmp_path):
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    write(PAGE, tmp_path)
    content = json.loads((tmp_path / "table3.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert content == json.loads(json.dumps(as_json(PAGE)))
    first, off, _, noise = content["rows"]
    assert first["paper"] == PAPER[False, "monotonic"]
    assert off["paper"] is None
    assert first["seeds"]["0"] == {"paper_kl": 0.2, "a_bow.precision": 0.9}
    assert first["mean"]["paper_kl"] == {"mean": pytest.approx(0.3), "half": pytest.approx(1.27062, rel=1e-5), "n": 2}
    assert noise["seeds"]["0"] == {"bleu.precision": 0.5}
    assert content["effects"][0]["measures"]["kl"]["over_seeds"] == {"mean": 1.5, "half": 0.25, "n": 3}
    assert content["notes"] == ["Missing: a cell"]


def test_flat_figures():
    nested = {"a": 1, "b": None, "c": {"d": 2.5, "e": {"f": 3}}, "g": "text", "h": [1.0], "i": True}
    assert flat(nested) == {"a": 1.0, "c.d": 2.5, "c.e.f": 3.0}
