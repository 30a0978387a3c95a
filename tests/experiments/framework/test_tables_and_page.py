"""The page: the paper's figures, ours and the difference; nothing that is missing is hidden."""

from __future__ import annotations

import json
import math

import pytest

from eval.measures import Measure
from experiments.framework.effects import Contrast, Effect, OverConversations
from experiments.framework.page import (
    Page,
    Section,
    bullets,
    command,
    effects_content,
    pictures,
    row_content,
    write,
)
from experiments.framework.rows import Result, Row
from experiments.framework.tables import compact_effects_table, effects_table, further_table, table
from training.sweep.summary import Estimate

KL = Measure("kl", "KL", 3)
PRECISION = Measure("bow.precision", "precision", 2)
RESULTS = [
    Result(Row("m", "M", paper={"kl": 0.265}), asked=3, figures={0: {"kl": 0.2, "elbo": 0.9}, 1: {"kl": 0.4}}),
    Result(Row("off", "off"), asked=1, figures={0: {"kl": 7.0}}),
    Result(Row("c", "C", paper={"kl": 4.104, "bow.precision": 0.2}), asked=2),
    Result(Row("noise", "noise"), figures={0: {"bow.precision": 0.5}}),
]
TESTED = OverConversations(1.0, 2.0, 0.0002, 0.0004, 12)
EFFECT = Effect(Measure("kl", "KL", 2), 1.5, Estimate(1.5, 0.25, 3), TESTED)
CONTRAST = Contrast("C - M", {"c": 1.0, "m": -1.0})


def cells(line: str) -> list[str]:
    return [part.strip() for part in line.strip("|").split("|")]


def test_ours_the_papers_and_the_difference():
    head, _, ours, paper, difference, off, c, c_paper, _, noise = table(RESULTS, [KL, PRECISION], difference=True)
    assert cells(head) == ["row", "seeds", "KL", "precision"]
    # mean .3 of .2 and .4; t(.975, 1) = 12.706 times s = .1414 by sqrt(2)
    assert cells(ours) == ["M", "2 of 3", "0.300 ± 1.271", "–"]
    assert cells(paper) == ["– the paper's", "", "0.265", "–"]
    assert cells(difference) == ["– ours less the paper's", "", "+0.035", "–"]
    assert cells(off) == ["off", "1", "7.000", "–"]
    assert cells(c) == ["C", "0 of 2", "–", "–"]
    assert cells(c_paper) == ["– the paper's", "", "4.104", "0.2"]
    assert cells(noise) == ["noise", "", "–", "0.50"]
    assert not any("ours less" in line for line in table(RESULTS, [KL]))


def test_a_figure_counts_if_all_seeds_have_it():
    assert RESULTS[0].estimates.keys() == {"kl"}
    assert RESULTS[2].estimates == {}


def test_a_table_leaves_out_empty_columns_and_rows():
    head, _, *lines = further_table(RESULTS, [KL, Measure("nothing", "N", 1)])
    assert cells(head) == ["row", "KL"]
    assert [cells(line)[0] for line in lines] == ["M", "off"]


def test_effects_give_interval_and_both_ps():
    line = effects_table([EFFECT])[-1]
    assert cells(line) == ["KL", "+1.50", "+1.00 to +2.00", "< 0.0005", "< 0.0005", "1.50 ± 0.25"]


def test_effects_over_seeds_have_a_column_for_each_contrast():
    other = Effect(Measure("elbo", "ELBO", 1), 2.0, Estimate(2.0, None, 1))
    head, _, *lines = compact_effects_table([(CONTRAST, [EFFECT]), (Contrast("other", {}), [EFFECT, other])])
    assert cells(head) == ["figure (nats)", "C - M", "other"]
    assert [cells(line) for line in lines] == [["KL", "1.50 ± 0.25", "1.50 ± 0.25"], ["ELBO", "–", "2.0"]]


def test_the_page_and_its_json(tmp_path):
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    sections = [
        Section("", [bullets(["Fitted | so", "and so"]), ["a table"]]),
        Section("Further", [["text"]]),
        Section("C - M", [["effects"]], level=3),
        pictures({"a.png": "A"}),
        pictures({}),
    ]
    content = {"rows": [row_content(one) for one in RESULTS], "effects": effects_content([(CONTRAST, [EFFECT])])}
    text = write(Page("table0", "Table 0", sections, content), tmp_path)
    assert text == (tmp_path / "table0.md").read_text(encoding="utf-8")
    assert text == (
        "# Table 0\n\n- Fitted | so\n- and so\n\na table\n\n## Further\n\ntext\n\n### C - M\n\neffects\n\n![A](a.png)\n"
    )
    found = json.loads((tmp_path / "table0.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert found["experiment"] == "table0"
    first, off, _, noise = found["rows"]
    assert (first["key"], first["name"]) == ("m", "M")
    assert first["paper"] == {"kl": 0.265}
    assert off["paper"] is None
    assert first["seeds"]["0"] == {"kl": 0.2, "elbo": 0.9}
    assert first["mean"]["kl"] == {"mean": pytest.approx(0.3), "half": pytest.approx(1.27062, rel=1e-5), "n": 2}
    assert noise["seeds"]["0"] == {"bow.precision": 0.5}
    assert found["effects"] == [
        {
            "contrast": "C - M",
            "measures": {
                "kl": {**TESTED._asdict(), "mean": 1.5, "over_seeds": {"mean": 1.5, "half": 0.25, "n": 3}},
            },
        }
    ]


def test_the_command_leaves_out_the_folder_of_the_data():
    given = {"corpus": {"dir": "/somewhere", "name": "swda"}, "train": {"max_steps": 5, "early_stopping": False}}
    assert command("table3", ["--seeds=2"], given) == (
        "`python -m experiments table3 --seeds=2 --data=swda --max-steps=5 --no-early-stopping`"
    )


def test_a_figure_that_is_not_finite_is_null_in_json(tmp_path):
    write(Page("table0", "Table 0", [], {"rows": [{"iw_nll": math.inf, "elbo": -1.0}]}), tmp_path)
    found = json.loads((tmp_path / "table0.json").read_text(encoding="utf-8"))
    assert found["rows"] == [{"iw_nll": None, "elbo": -1.0}]
