"""What a min_score leaves of the replies of an evaluation: shares by hand, likeness as in the scores of all replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from dialog_cvae.types import Utterance
from eval.contexts import AnsweredContext
from eval.evaluation import Evaluation
from eval.reply_scores import metric_context, reply_scores
from eval.report import write
from eval.score_thresholds import A_BOW, BLEU, FEW, score_thresholds

WORDS = ("rain", "sun", "dog", "cat", "tea", "bread")


class Vectors:
    rows: ClassVar = {word: row for row, word in enumerate(WORDS)}
    matrix = np.eye(len(WORDS), dtype=np.float32)


def one(number: int, replies: dict[str, float], said: str = "the rain") -> AnsweredContext:
    context = (Utterance("A", "well"),)
    return AnsweredContext(
        f"c{number}", 1, None, context, Utterance("B", said), tuple(replies) or ("",), tuple(replies.values())
    )


def test_shares_count_the_contexts_without_a_reply_too() -> None:
    answered = [one(0, {"rain": 0.5, "some sun": 0.25}), one(1, {"dog": 0.125}), one(2, {})]
    table = score_thresholds(answered, [metric_context(each) for each in answered], None, 0)
    assert table["conversations"] == 2
    by_limit = {row["min_score"]: row for row in table["rows"]}
    assert by_limit[0.0].items() >= {"contexts": 2 / 3, "replies": 1.0, "tokens": 4 / 3}.items()
    assert by_limit[0.25].items() >= {"contexts": 1 / 3, "replies": 2 / 3, "tokens": 1.5}.items()
    assert A_BOW not in by_limit[0.25]


def drawn(good: float, count: int = 3 * FEW) -> list[AnsweredContext]:
    """Contexts in which a reply with the score `good` says what was said, and one with 0.3 something else."""
    return [
        one(number, {word: good, WORDS[number % 6 - 1]: 0.3}, f"the {word} is here")
        for number, word in ((number, WORDS[number % 6]) for number in range(count))
    ]


@pytest.mark.parametrize(("good", "low", "high"), [(0.6, 0.0, 1.0), (0.1, -1.0, 0.0)])
def test_replies_that_were_said_are_better(good: float, low: float, high: float) -> None:
    answered = drawn(good)
    scores = reply_scores(answered, vectors=Vectors(), seed=1)
    table = scores.figures["min_score"]
    row = next(row for row in table["rows"] if row["min_score"] == max(good, 0.3))
    for name in (A_BOW, BLEU):
        found = row[name]["above_chance"]
        assert low < found["low"] < found["difference"] < found["high"] < high
        assert found["difference"] == pytest.approx(found["left"] - found["left_out"])
        # with nothing left out the table agrees with the scores of all replies
        whole = scores.figures[name]
        assert table["rows"][0][name] == pytest.approx({"precision": whole["precision"], "recall": whole["recall"]})
    best = reply_scores([each._replace(replies=each.replies[:1], scores=()) for each in answered], vectors=Vectors())
    if good > 0.3:  # only the first reply of each context is left
        whole = best.figures[A_BOW]
        assert row[A_BOW]["precision"] == pytest.approx(whole["precision"])
    assert "min_score" not in best.figures


def test_few_conversations_get_no_interval() -> None:
    table = reply_scores(drawn(0.6, FEW - 1), vectors=Vectors()).figures["min_score"]
    assert all("above_chance" not in row[name] for row in table["rows"] for name in (A_BOW, BLEU))


def test_texts_without_a_word_vector_are_left_out_of_a_bow_alone() -> None:
    known = [*drawn(0.6), one(91, {"tea": 0.9}, "tea")]
    every = [*drawn(0.6), one(90, {"hm": 0.9}, "hm"), one(91, {"tea": 0.9, "hm": 0.4}, "tea")]
    found, expected = (
        {row["min_score"]: row for row in reply_scores(each, vectors=Vectors()).figures["min_score"]["rows"]}
        for each in (every, known)
    )
    json.dumps(found, allow_nan=False)
    for limit in (0.0, 0.3, 0.6):
        for part in ("precision", "recall"):
            assert found[limit][A_BOW][part] == pytest.approx(expected[limit][A_BOW][part])
        assert found[limit][BLEU]["recall"] != pytest.approx(expected[limit][BLEU]["recall"])


def test_contexts_without_references_count_but_are_not_compared() -> None:
    answered = [one(0, {"rain": 0.5}), one(1, {"dog": 0.25})]
    contexts = [(reply, []) for reply, _ in map(metric_context, answered)]
    table = score_thresholds(answered, contexts, Vectors(), 0)
    assert (table["conversations"], table["conversations_compared"]) == (2, 0)
    some = [*contexts[:1], metric_context(answered[1]), metric_context(one(2, {"dog": 0.25}))]
    table = score_thresholds([*answered, one(2, {"dog": 0.25})], some, None, 0)
    assert (table["conversations"], table["conversations_compared"]) == (3, 2)
    for row in score_thresholds(answered, contexts, Vectors(), 0)["rows"]:
        assert row.keys() == {"min_score", "contexts", "replies", "tokens"}


def test_the_file_of_replies_has_scores_where_there_are_some(tmp_path: Path) -> None:
    answered = [one(0, {"rain": 0.5, "sun": 0.25}), one(1, {})]
    write(tmp_path, Evaluation({}, {}, answered, [("c0", 1), ("c1", 1)]), {})
    first, second = map(json.loads, (tmp_path / "responses.jsonl").read_text().splitlines())
    assert dict(zip(first["responses"], first["scores"], strict=True)) == {"rain": 0.5, "sun": 0.25}
    assert "scores" not in second
