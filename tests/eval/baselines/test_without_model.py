"""Baselines: the replies of each, and that none depends on the reference."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from dialog_cvae.data.readers import sample
from dialog_cvae.types import Conversation, Utterance
from eval.baselines.without_model import BASELINES, UNSURE, commonest, verbatim
from eval.contexts import MAX_CONTEXT, AnsweredContext, windows
from eval.references.context_index import ContextIndex

CORPUS = sample.read()
TRAIN, TEST = CORPUS.train[:80], CORPUS.test[:10]
TEXTS = [utterance.text for conversation in TRAIN for utterance in conversation.utterances]


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("n", [1, 5, 12])
def test_every_context_gets_the_requested_number_of_replies(name, n):
    rows = BASELINES[name](TRAIN, TEST, n, 0)
    expected = [AnsweredContext.at(*window, MAX_CONTEXT, ()) for window in windows(TEST)]
    assert [row._replace(replies=()) for row in rows] == expected
    assert {len(row.replies) for row in rows} == {n}


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_never_sees_the_reference(name):
    """With replies of another test set's, the same contexts are answered the same."""
    muted = [
        Conversation(c.id, (*c.utterances[:-1], Utterance(c.utterances[-1].speaker, "secret")), c.topic) for c in TEST
    ]
    rows, blind = (BASELINES[name](TRAIN, conversations, 5, 3) for conversations in (TEST, muted))
    assert [row.replies for row in rows] == [row.replies for row in blind]
    said = {text for row in rows for text in row.replies}
    assert said <= {*TEXTS, UNSURE}


def test_random_utterances_are_drawn_evenly_and_follow_from_the_seed():
    draw = BASELINES["random utterances"]
    rows = draw(TRAIN, TEST, 5, 0)
    assert draw(TRAIN, TEST, 5, 0) == rows != draw(TRAIN, TEST, 5, 1)
    assert draw(TRAIN, TEST[:3], 5, 0) == rows[: len(windows(TEST[:3]))]
    few = [Conversation("x", tuple(Utterance("A", text) for text in "abcd"))]
    counts = Counter(text for row in draw(few, TEST * 30, 2, 0) for text in row.replies)
    assert all(count / counts.total() == pytest.approx(1 / 4, abs=0.02) for count in counts.values())
    assert all(len(set(row.replies)) == 2 for row in draw(few, TEST, 2, 0))  # none twice
    assert all(Counter(row.replies).most_common(1)[0][1] == 2 for row in draw(few, TEST, 6, 0))  # in turn


def test_random_utterances_are_as_likely_as_they_are_frequent():
    """Of three utterances of a word two are drawn for one context: no utterance twice, its text all the same."""
    train = [Conversation("x", tuple(Utterance("A", text) for text in ("yeah", "yeah", "yeah", "no")))]
    rows = BASELINES["random utterances"](train, TEST * 30, 2, 0)
    both = sum(row.replies == ("yeah", "yeah") for row in rows) / len(rows)
    assert both == pytest.approx(3 / 4 * 2 / 3, abs=0.03)
    assert all(row.replies.count("no") <= 1 for row in rows)
    assert all(
        sorted(row.replies) == ["no", *["yeah"] * 3] for row in BASELINES["random utterances"](train, TEST, 4, 0)
    )


def test_frequent_utterances():
    said = ["Yeah.", "no", "yeah", "yeah", "hm", "No", "hm!", "hm", "well"]
    train = [Conversation("x", tuple(Utterance("A", text) for text in said))]
    assert commonest(said, 3) == ["yeah", "hm", "no"]  # three, three and two; "yeah" came first
    fixed = BASELINES["fixed backchannels"]
    assert {row.replies for row in fixed(train, TEST, 3, 0)} == {("yeah", "hm", "no")}
    assert {row.replies for row in fixed(train, TEST, 6, 0)} == {("yeah", "hm", "no", "well", "yeah", "hm")}
    assert {row.replies for row in BASELINES["one reply"](train, TEST, 2, 0)} == {("yeah", "yeah")}
    assert {row.replies for row in BASELINES[UNSURE](train, TEST, 2, 0)} == {("i'm not sure", "i'm not sure")}


@pytest.mark.parametrize(("name", "by_topic"), [("nearest neighbours", True), ("nearest, any topic", False)])
def test_retrieval_returns_the_neighbours_replies(name, by_topic):
    found = ContextIndex(TRAIN).nearest(windows(TEST), 5, by_topic=by_topic)
    rows = BASELINES[name](TRAIN, TEST, 5, 0)
    assert any(len(near) < 5 for near in found) is by_topic
    for row, near in zip(rows, found, strict=True):
        assert list(row.replies[: len(near)]) == [one.window.reply.text for one in near]


def test_the_share_copied_from_training():
    rows = [
        AnsweredContext("c", 1, None, (), Utterance("A", "x"), replies)
        for replies in (("Yes.", "no"), ("oh well", "hm"))
    ]
    assert verbatim(rows, ["yes", "Oh, well", "what"]) == 0.5
    assert verbatim(BASELINES["random utterances"](TRAIN, TEST, 5, 0), TEXTS) == 1.0
    with pytest.raises(ValueError, match="at least 1 reply"):
        verbatim([], TEXTS)


@pytest.mark.parametrize("name", BASELINES)
def test_with_a_role_rows_reply_with_its_training_utterances(name: str) -> None:
    train, test = ([replace(each, respond_as=("B",)) for each in split] for split in (TRAIN, TEST))
    own = {u.text for c in train for u in c.utterances if u.speaker == "B"} | {UNSURE}
    found = BASELINES[name](train, test, 3, 0)
    assert {one.reference.speaker for one in found} == {"B"}
    assert {reply for one in found for reply in one.replies} <= own
