"""What an evaluation says in words, and its page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dialog_cvae.types import Utterance
from eval.contexts import AnsweredContext
from eval.in_words import RETRIEVED, sentences
from eval.report_page import page
from eval.score_thresholds import A_BOW, BLEU


def gain(left: float, left_out: float, low: float) -> dict[str, float]:
    difference = left - left_out
    return {
        "left": left,
        "left_out": left_out,
        "difference": difference,
        "low": low,
        "high": 2 * difference - low,
    }


def row(limit: float, contexts: float, replies: float, *gains: dict[str, float]) -> dict[str, Any]:
    named = zip((A_BOW, BLEU), gains, strict=False)  # a single one is of A-bow
    measures = {name: {"precision": 0.5, "recall": 0.6, "above_chance": each} for name, each in named}
    return {"min_score": limit, "contexts": contexts, "replies": replies, "tokens": 7.25} | measures


FIGURES: dict[str, Any] = {
    "checkpoint": "runs/<x>/best",
    "step": 7,
    "data": "mine",
    "split": "test",
    "conversations": 20,
    "samples": 5,
    "windows": 10,
    "tokens": 120,
    "elbo": -41.0,
    "iw_nll": 40.0,
    "kl": 3.5,
    "active_units": 0,
    "nats_from_z": 2.9,
    "kl_per_dimension": [0.5, 2.0, 1.0],
    "nats_z_cost": 1.0,
    "nats_context_exchanged": 9.0,
    "nats_context_exchanged_se": 0.5,
    "context_exchanged_conversations": 20,
    "distinct_greedy": 3.5,
    "distinct_replies_per_context": 4.5,
    "verbatim_from_training": 0.25,
    "rare_in_replies": 0.03,
    "rare_said_in_0": 0.015,
    "rare_said_in_1": 0.01,
    "rare_said_in_2": 0.005,
    "a_bow": {"precision": 0.9, "recall": 0.8},
    "baselines": {
        "nearest neighbours": {
            "a_bow": {"precision": 0.7, "recall": 0.6},
            "model_ahead": {"a_bow": {"mean": 0.2, "low": 0.1, "high": 0.3}},
        },
        "one reply": {
            "a_bow": {"precision": 0.7, "recall": 0.82},
            "model_ahead": {"a_bow": {"mean": -0.02, "low": -0.05, "high": -0.01}},
        },
        "random utterances": {
            "a_bow": {"precision": 0.7, "recall": 0.79},
            "model_ahead": {"a_bow": {"mean": 0.01, "low": -0.01, "high": 0.03}},
        },
        "i'm not sure": {"a_bow": {"precision": 0.7, "recall": 0.1}, "model_ahead": {}},
    },
    "min_score": {
        "conversations": 40,
        "rows": [
            row(0.0, 1.0, 5.0),
            row(0.1, 0.98, 4.0, gain(0.03, 0.01, 0.02), gain(0.3, 0.1, 0.1)),
            row(0.205, 0.81, 2.0, gain(0.04, 0.01, 0.02), gain(0.4, 0.1, 0.1)),
            row(0.7, 0.2, 0.5, gain(0.02, 0.03, -0.02), gain(0.5, 0.1, 0.1)),
        ],
    },
}
ROWS = (
    "better than nearest neighbours 0.600; not clearly different from random utterances 0.790, i'm not sure 0.100; "
    "worse than one reply 0.820"
)


def said(**changes: object) -> str:
    return "\n".join(sentences(FIGURES | changes))


def test_each_finding_is_a_sentence() -> None:
    assert [sentence.split(":")[0] for sentence in sentences(FIGURES)] == [
        "Likelihood",
        "Context",
        "Latent code",
        "Replies",
        "Copies",
        "Personal data",
        "Choosing min_score",
        "Against replies without a model",
    ]
    assert "costs the model 40.0 nats, for 12.0 tokens" in said()
    assert "41.0 nats" in "\n".join(sentences({name: FIGURES[name] for name in ("elbo", "windows", "tokens")}))
    assert sentences({}) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, "It answers this conversation: after another conversation the same reply costs 9.0 nats more (± 1.0, the"),
        ({"nats_context_exchanged": 1.5}, "20 conversations are too few to tell"),
        ({"nats_context_exchanged": 0.1, "nats_context_exchanged_se": 0.3}, "It hardly reads the conversation"),
        (
            {"nats_context_exchanged": 1.02, "nats_context_exchanged_se": 0.02},
            "It reads the conversation a little: after another conversation the same reply costs 1.02 nats more (± 0",
        ),
        ({"nats_context_exchanged": 1.02, "nats_context_exchanged_se": 0.2}, "a little: "),
        ({"nats_context_exchanged": 0.9, "nats_context_exchanged_se": 0.5}, "20 conversations are too few to tell"),
        ({"context_exchanged_conversations": 2, "nats_context_exchanged": 6.0}, "2 conversations are too few"),
        ({"context_exchanged_conversations": 2}, "9.0 nats more (± 6.4"),
        ({}, "it is in use (KL 3.50 nats, 2.90 nats gained by z); with it a reply costs 1.0 nats more than without"),
        ({"nats_z_cost": -2.0}, "2.0 nats less than without"),
        ({"kl": 0.2}, "it is hardly in use (KL 0.20 nats"),
        (
            {"kl": 0.2, "distinct_greedy": 1.4},
            "it has collapsed (KL 0.20 nats, 2.90 nats gained by z; of 5 replies that",
        ),
        ({"nats_from_z": 0.02, "distinct_greedy": None}, "it has collapsed (KL 3.50 nats, 0.02 nats gained by z)."),
        ({"distinct_greedy": 1.2}, "1.2 are different, so that it decides little"),
        ({}, "3.0% of the replies hold a number, an address or a name that their contexts lack and fewer than 3"),
        ({}, "(in 1: 1.0%, in 2: 0.5%, in none, made up by the model: 1.5%)"),
        ({"rare_in_replies": 0.0}, "no reply holds a number"),
        ({"verbatim_from_training": 0.9}, "90% of the replies are training utterances word for word; look"),
        ({}, f"Against replies without a model: {ROWS}; it has 0.800 (recall of a_bow)"),
        ({"baselines": {"one reply": {"a_bow": {"recall": 0.7}}}}, "not clearly different from one reply 0.700;"),
        ({"conversations": 1}, "Limits: all this is from a single held-out conversation, so no context was exchanged"),
        ({"conversations": 4}, "Limits: all this is from 4 conversations"),
    ],
)
def test_what_a_figure_means_depends_on_its_size(changes: dict[str, object], found: str) -> None:
    assert found in said(**changes)


def test_with_references_neighbours_are_compared_by_what_was_said() -> None:
    neighbours = {
        "a_bow": {"recall": 1.0},  # they are among the references
        "gold": {"a_bow": {"recall": 0.5}},
        "model_ahead": {"gold.a_bow": {"mean": 0.1, "low": 0.05, "high": 0.15}},
    }
    rows = {"one reply": FIGURES["baselines"]["one reply"], "nearest neighbours": neighbours}
    found = said(baselines=rows, gold={"a_bow": {"recall": 0.6}})
    assert "worse than one reply 0.820; it has 0.800 (recall of a_bow). " in found
    assert "By what was said alone: better than nearest neighbours 0.500; it has 0.600. " in found
    assert RETRIEVED in found
    assert RETRIEVED not in said()


def with_rows(*rows: dict[str, Any], conversations: int = 40, compared: int | None = None) -> dict[str, object]:
    counts = {"conversations": conversations} | ({} if compared is None else {"conversations_compared": compared})
    return {"min_score": {**counts, "rows": [row(0.0, 1.0, 5.0), *rows]}}


BETTER, NO_BETTER = gain(0.4, 0.1, 0.1), gain(0.4, 0.3, -0.1)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, "min_score: 0.205 is a start. It keeps a reply in 81% of the contexts, 2.0 on average"),
        ({}, "A-bow 0.040 / 0.010 [+0.020, +0.040]; BLEU-4 0.400 / 0.100 [+0.100, +0.500]"),
        (
            with_rows(row(0.3, 0.9, 2, NO_BETTER, BETTER)),
            "unclear. What 0.3 leaves is better than what it leaves out by B",
        ),
        (with_rows(row(0.3, 0.9, 2, NO_BETTER, NO_BETTER)), "do not separate better from worse replies in these 40"),
        (with_rows(row(0.3, 0.9, 2, NO_BETTER)), "A min_score gives fewer replies, not better ones."),
        (with_rows(row(0.3, 0.9, 2, BETTER)), "0.3 is a start"),
        (with_rows(row(0.3, 0.9, 2, BETTER), row(0.4, 0.85, 1, NO_BETTER), row(0.5, 0.8, 1, BETTER)), "0.3 is a start"),
        (with_rows(row(0.3, 0.79, 2, BETTER, BETTER)), "no threshold leaves some replies and leaves out others"),
        (with_rows(row(0.3, 1.0, 5)), "no threshold leaves some replies and leaves out others"),
        (with_rows(row(0.3, 0.9, 2, BETTER), conversations=9), "too few conversations (9) to say"),
        (with_rows(row(0.3, 0.9, 2), compared=9), "too few conversations with references (9 of 40) to say"),
        (with_rows(row(0.3, 0.9, 2, NO_BETTER), compared=20), "do not separate better from worse replies in these 20"),
    ],
)
def test_a_min_score_is_proposed_only_if_what_it_leaves_is_better(changes: dict[str, object], found: str) -> None:
    assert found in said(**changes)
    assert ("is a start" in said(**changes)) == ("start" in found or not changes)


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_words_samples_and_plots(tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    (tmp_path / "learning_curves.png").write_bytes(b"\x89PNG")
    one = AnsweredContext("c1", 1, None, (Utterance("A", "<b>hi</b>"),), Utterance("B", "said & done"), ("a < b",))
    differing = one._replace(replies=("x & y", "x & y", "other"))
    html = page(FIGURES, [one], tmp_path / "best", [differing])
    seen = Seen()
    seen.feed(html)
    assert not seen.open
    assert seen.tags.count("rect") == 3
    assert 'src="data:image/png;base64,iVBORw=="' in html
    assert "<b>" not in html
    assert (seen.tags.count("th"), seen.tags.count("table")) == (6, 2)
    for text in ("Choosing min_score", "0.205", "0.040 / 0.010 [+0.020, +0.040]"):
        assert text in seen.text
    for text in (
        "Evaluation of runs/<x>/best",
        "<b>hi</b>",
        "said & done",
        "a < b",
        "x & y (2)",
        "other (1)",
        *sentences(FIGURES),
    ):
        assert text in seen.text


def test_a_page_without_replies_and_curves(tmp_path: Path) -> None:
    html = page(
        {name: FIGURES[name] for name in ("checkpoint", "step", "data", "split", "conversations")}, [], tmp_path
    )
    assert "Samples" not in html
    assert "<img" not in html
    assert "min_score" not in html
