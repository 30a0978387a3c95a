"""The synthetic corpus: reproducible, well formed, and with replies that depend on their context."""

import re
from collections import Counter, defaultdict

import pytest

from dialog_cvae.data.readers import sample
from dialog_cvae.data.readers.dialog_acts import CLASS_NAMES
from dialog_cvae.data.readers.sample_tables import MOVES, OPENINGS, TOPICS
from dialog_cvae.errors import ConfigError
from dialog_cvae.text.token_words import token_words
from dialog_cvae.types import Conversation

CORPUS = sample.read()
ALL: list[Conversation] = [*CORPUS.train, *CORPUS.valid, *CORPUS.test]


def test_it_says_that_it_is_synthetic() -> None:
    assert CORPUS.name == "sample (synthetic)"
    assert any("synthetic" in note for note in CORPUS.notes)


def test_sizes_and_splits() -> None:
    assert [len(split) for split in CORPUS[1:4]] == [320, 40, 40]
    assert len({c.id for c in ALL}) == len({c.utterances for c in ALL}) == 400
    for split in CORPUS[1:4]:
        assert {c.topic for c in split} == {topic.name for topic in TOPICS}


def test_seeds_decide_and_size_does_not() -> None:
    assert sample.read() == CORPUS
    assert sample.read(seed=1).train != CORPUS.train
    small, large = sample.read(conversations=10), sample.read(conversations=50)
    assert [*small.train, *small.valid, *small.test] == [*large.train][:10]
    with pytest.raises(ConfigError, match="conversations must be at least 10, is 9"):
        sample.read(conversations=9)


def test_conversations_are_well_formed() -> None:
    for conversation in sample.read(seed=3, conversations=2000).train:
        assert 8 <= len(conversation.utterances) <= 16
        assert {u.speaker for u in conversation.utterances} == {"A", "B"} == {*conversation.speakers}
        assert conversation.utterances[0].dialog_act == "conventional-opening"
        assert [u.dialog_act for u in conversation.utterances[-2:]] == ["conventional-closing"] * 2
        for utterance in conversation.utterances:
            assert re.fullmatch(r"[A-Z][^{}]*[.?]", utterance.text)
            assert not re.search(r"[.?!] [a-z]|  ", utterance.text)
            assert utterance.dialog_act in CLASS_NAMES.values()
            assert len(token_words(utterance.text)) <= 38
        for profile in conversation.speakers.values():
            assert None not in (profile.sex, profile.age, profile.education)


def test_vocabulary_is_that_of_a_small_corpus() -> None:
    assert 500 <= len({word for c in ALL for u in c.utterances for word in token_words(u.text)}) <= 1000


def test_every_move_and_topic_is_reachable_and_used() -> None:
    reachable, waiting = set(), [*OPENINGS, "greet", "close"]
    while waiting:
        if (name := waiting.pop()) not in reachable:
            reachable.add(name)
            waiting += MOVES[name].next
    assert reachable == {*MOVES}
    assert {u.dialog_act for c in ALL for u in c.utterances} == {move.act for move in MOVES.values()}
    assert len(TOPICS) >= 8


def test_replies_depend_on_what_was_said_and_are_several() -> None:
    follows: dict[str | None, Counter[str | None]] = defaultdict(Counter)
    replies: dict[str, set[str]] = defaultdict(set)
    for conversation in ALL:
        for before, after in zip(conversation.utterances, conversation.utterances[1:], strict=False):
            follows[before.dialog_act][after.dialog_act] += 1
            replies[before.text].add(after.text)
    assert {*follows["yes-no-question"]} == {"yes_answers", "no_answers"}
    assert {*follows["conventional-closing"]} <= {"conventional-closing"}
    several = [len(texts) > 1 for text, texts in replies.items()]
    assert sum(several) > 300


def test_exchanges_stay_with_their_topic() -> None:
    for topic in TOPICS:
        others = {things for other in TOPICS if other is not topic for things in other.things}
        for conversation in ALL:
            if conversation.topic == topic.name:
                text = " ".join(u.text.lower() for u in conversation.utterances)
                assert not any(re.search(rf"\b{things}\b", text) for things in others)


def test_both_speakers_also_go_on_by_themselves() -> None:
    continued = sum(
        before.speaker == after.speaker
        for c in ALL
        for before, after in zip(c.utterances, c.utterances[1:], strict=False)
    )
    assert continued > 20
