"""Text as an encoded corpus: what is kept of long texts, topics, addressees and the sizes of columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.data.batches import collate
from dialog_cvae.data.encoded_corpus import NO_SPEAKER
from dialog_cvae.data.encoding import addressees, both_ends, encode_corpus, truncate
from dialog_cvae.data.windows import epoch_order
from dialog_cvae.types import Conversation, Profile, Utterance
from tests.dialog_cvae.data.drawn_conversations import (
    MAX_TOKENS,
    TOKENIZER,
    TOPICS,
    addressee_of,
    conversations,
    encode,
)
from training.fingerprint import fingerprint


@pytest.mark.parametrize(
    ("length", "limit", "kept"), [(4, 4, [0, 1, 2, 3]), (5, 4, [0, 1, 2, 4]), (9, 4, [0, 1, 2, 8]), (1, 4, [0])]
)
def test_truncation_keeps_the_first_and_the_last(length: int, limit: int, kept: list[int]) -> None:
    assert truncate(range(length), limit) == kept


@pytest.mark.parametrize(
    ("length", "limit", "kept"),
    [(4, 4, [0, 1, 2, 3]), (5, 4, [0, 1, 3, 4]), (9, 5, [0, 1, 6, 7, 8]), (1, 4, [0]), (100, 4, [0, 1, 98, 99])],
)
def test_both_ends_of_a_long_message(length: int, limit: int, kept: list[int]) -> None:
    assert both_ends(range(length), limit) == kept


@given(st.lists(conversations, min_size=1, max_size=4))
@settings(deadline=None, derandomize=True, max_examples=30)
def test_the_first_reading_is_the_same_where_nothing_is_long(spoken: list[Conversation]) -> None:
    old, new = (encode_corpus(spoken, TOKENIZER, TOPICS, MAX_TOKENS, reading) for reading in (1, 2))
    assert not len(old.long)
    if not len(new.long):
        assert all(np.array_equal(one, other) for one, other in zip(old, new, strict=True))
        assert fingerprint(old) == fingerprint(new)
    ends = old.tokens[old.offsets[1:].astype(int) - 1]
    assert set(ends.tolist()) == {TOKENIZER.eos_id}


def test_topics_are_found_in_either_normal_form() -> None:
    spoken = [Conversation("c", (Utterance("A", "a"),), topic) for topic in ("Caf\u00e9", "Cafe\u0301", "Cafe", None)]
    for known in ("Caf\u00e9", "Cafe\u0301"):
        assert encode_corpus(spoken, TOKENIZER, (known,), MAX_TOKENS).topic.tolist() == [1, 1, 0, 0]
    both = encode_corpus(spoken, TOKENIZER, ("Cafe\u0301", "Caf\u00e9"), MAX_TOKENS)  # as an older model may have them
    assert both.topic.tolist() == [2, 1, 0, 0]


def test_whom_a_speaker_talks_to() -> None:
    said = tuple(Utterance(name, "a") for name in "ABCAAC")
    assert addressees(Conversation("c", said)) == [None, "A", "B", "C", "C", "A"]
    alone = (Utterance("A", "a"),)
    assert addressees(Conversation("c", alone)) == [None]
    assert addressees(Conversation("c", alone, speakers={"B": Profile("male")})) == ["B"]
    assert addressees(Conversation("c", ())) == []


def test_no_conversations_encode_to_empty_arrays() -> None:
    corpus = encode([])
    assert corpus.parties.shape == (0, 2)
    assert corpus.profiles.shape == (1, 4)
    assert corpus.windows == len(corpus.responses) == 0
    assert corpus.starts.tolist() == corpus.offsets.tolist() == [0]
    assert epoch_order(corpus, 5, 0, 0).tolist() == []


@pytest.mark.parametrize("speakers", [2, 127, 128, 129, 300])
def test_numbers_fit_their_types(speakers: int) -> None:
    names = [f"speaker {index}" for index in range(speakers)]
    profiles = {name: Profile(age=index) for index, name in enumerate(names)}
    corpus = encode([Conversation("c", tuple(Utterance(name, "a") for name in names), speakers=profiles)])
    assert corpus.speaker.tolist() == [NO_SPEAKER, *range(speakers)]
    ages = 100 * corpus.profiles[corpus.parties[:, 0], 0]
    assert ages.round().tolist() == [0, *range(speakers)]
    assert corpus.known[corpus.parties[:, 0], 0].tolist() == [0] + [1] * speakers


def test_without_roles_no_utterance_takes_more():
    spoken = [Conversation("c", (Utterance("A", "a"), Utterance("B", "b")))]
    without = encode_corpus(spoken, TOKENIZER, TOPICS, MAX_TOKENS)
    batch = collate(without, without.responses, 3)
    assert (len(without.role), batch.roles.any(), batch.role.tolist()) == (0, False, [0, 0])
    assert fingerprint(without) != fingerprint(encode(spoken))


def test_beside_its_tokens_an_utterance_takes_little() -> None:
    said = tuple(Utterance("AB"[index % 2], "a b c") for index in range(1000))
    profiles = {name: Profile("female", age) for name, age in zip("AB", (31, 32), strict=True)}
    corpus = encode_corpus([Conversation("c", said, speakers=profiles)] * 100, TOKENIZER, TOPICS, MAX_TOKENS)
    assert corpus.tokens.itemsize == 2
    assert sum(array.nbytes for array in corpus) - corpus.tokens.nbytes < 8 * corpus.windows


@given(conversations)
@settings(deadline=None, derandomize=True)
def test_addressees_are_those_found_one_at_a_time(spoken: Conversation) -> None:
    speakers = [u.speaker for u in spoken.utterances]
    assert addressees(spoken) == [addressee_of(spoken, i, speaker) for i, speaker in enumerate(speakers)]
