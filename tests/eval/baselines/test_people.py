"""References against each other, worked out by hand and against the formulas written as loops."""

from __future__ import annotations

import numpy as np
import pytest

from dialog_cvae.types import Conversation, Utterance
from eval.baselines.people import human_replies, human_scores, leave_one_out
from eval.metrics.bleu import context_bleu
from eval.metrics.matching import Context, PrecisionRecall, best_matches
from eval.metrics.tokens import metric_tokens
from eval.references.multi_reference import ReferenceRow

TALK = Conversation("c", tuple(Utterance("AB"[i % 2], f"turn {i}") for i in range(4)))
TEXTS = ("a b c", "a b", "a x", "a x y z")
ROWS = {
    ("c", 1): ReferenceRow(TALK.utterances[:1], "B", TEXTS, (None,) * 4),
    ("c", 2): ReferenceRow(TALK.utterances[:2], "A", ("alone",), (None,)),
}


def shared(hypotheses: list[list[str]], references: list[list[str]]) -> PrecisionRecall:
    """By a score that need not be symmetric: the share of the hypothesis's words that the reference has."""
    return best_matches(np.array([[len(set(h) & set(r)) / len(h) for r in references] for h in hypotheses]))


def score(context: Context) -> dict[str, PrecisionRecall]:
    return {"shared": shared(*context)}


def test_a_reference_meets_all_others_and_not_itself():
    found = leave_one_out(ROWS, [TALK], 3, 0)
    assert list(found) == [("c", 1)]  # the others have no or no further reference
    tokens = list(map(metric_tokens, TEXTS))
    left_out = found["c", 1]
    assert left_out.as_hypothesis == [([one], [t for t in tokens if t is not one]) for one in tokens]
    assert [references for _, references in left_out.as_reference] == [[one] for one in tokens]
    for (hypotheses, (one,)), others in zip(left_out.as_reference, left_out.as_hypothesis, strict=True):
        assert sorted(hypotheses) == sorted(others[1])
        assert one not in hypotheses


def test_the_scores_are_those_of_the_formulas():
    (left_out,) = leave_one_out(ROWS, [TALK], 3, 0).values()
    found = human_scores(left_out, score)["shared"]
    # best of the others for abc: ab 2/3; for ab: abc 1; for ax: axyz 1; for axyz: ax 1/2
    assert found.precision == pytest.approx((2 / 3 + 1 + 1 + 1 / 2) / 4)
    # best of the others against abc: ab 1; against ab: abc 2/3; against ax: ab and axyz 1/2; against axyz: ax 1
    assert found.recall == pytest.approx((1 + 2 / 3 + 1 / 2 + 1) / 4)


def test_with_fewer_hypotheses_recall_falls_and_follows_from_the_seed():
    many = ReferenceRow(TALK.utterances[:1], "B", tuple(f"w{i % 5} w{i}" for i in range(20)), (None,) * 20)
    drawn = [leave_one_out({("c", 1): many}, [TALK], n, 0)["c", 1] for n in (2, 5, 19)]
    assert [{len(hypotheses) for hypotheses, _ in one.as_reference} for one in drawn] == [{2}, {5}, {19}]
    recalls = [human_scores(one, score)["shared"].recall for one in drawn]
    assert recalls == sorted(recalls)
    assert recalls[0] < recalls[-1]
    assert len({human_scores(one, score)["shared"].precision for one in drawn}) == 1
    assert leave_one_out({("c", 1): many}, [TALK], 2, 0)["c", 1] == drawn[0]
    assert leave_one_out({("c", 1): many}, [TALK], 2, 1)["c", 1] != drawn[0]


def test_means_skip_missing_scores():
    def known(context: Context) -> dict[str, PrecisionRecall]:
        hypotheses, references = ([t for t in side if "z" not in t] for side in context)
        return {"known": shared(hypotheses, references)} if hypotheses and references else {}

    (left_out,) = leave_one_out(ROWS, [TALK], 3, 0).values()
    found = human_scores(left_out, known)["known"]
    assert found.precision == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert found.recall == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)
    assert human_scores(left_out, lambda _: {}) == {}


def test_the_scores_of_bleu_are_those_of_the_matrix_without_its_diagonal():
    (left_out,) = leave_one_out(ROWS, [TALK], 3, 0).values()
    found = human_scores(left_out, lambda context: {"bleu": context_bleu(*context)["method7-3.6"][1]})["bleu"]
    tokens = list(map(metric_tokens, TEXTS))
    pairs = [
        [context_bleu([h], [r])["method7-3.6"][1].precision if h is not r else -1.0 for r in tokens] for h in tokens
    ]
    assert found.precision == pytest.approx(sum(map(max, pairs)) / 4)
    assert found.recall == pytest.approx(sum(map(max, zip(*pairs, strict=True))) / 4)


def test_replies_of_people():
    rows = human_replies(ROWS, [TALK], 3, 0)
    assert [(row.position, len(row.replies)) for row in rows] == [(1, 3), (2, 1), (3, 1)]
    assert set(rows[0].replies) < set(TEXTS)
    assert rows[2].replies == ("turn 3",)
    assert human_replies(ROWS, [TALK], 3, 0) == rows
    assert {human_replies(ROWS, [TALK], 1, seed)[0].replies for seed in range(40)} == {(text,) for text in TEXTS}
