"""What an index of replies keeps, what it leaves out, what it finds, and how it refuses a damaged file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from dialog_cvae.data import reply_index
from dialog_cvae.data.reply_index import FORMAT, ReplyIndex
from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.types import Conversation, Utterance


def conversation(name: str, *said: str, speakers: str = "AB") -> Conversation:
    return Conversation(name, tuple(Utterance(speakers[place % 2], text) for place, text in enumerate(said)))


TRAIN = [
    conversation("1", "where is my order", "Your order 4711 is on its way .", "thank you Ann"),
    conversation("2", "where is the order", "your  order 4711 is on its way .", "thanks"),
    conversation("3", "where is my parcel", "Your order 5000 is on its way .", "bye"),
    conversation("4", "cancel my order", "Call Bob on 555 123 .", "thanks"),
    conversation("5", "CANCEL my order", "call bob on 555 123 .", "Thanks"),
]


def test_a_reply_is_kept_if_enough_conversations_have_it_with_the_same_numbers():
    index = ReplyIndex.of(TRAIN)
    # 5000 was said once; the last two conversations are copies of each other
    assert set(index.replies) == {"Your order 4711 is on its way .", "thanks"}
    assert "Call Bob on 555 123 ." in ReplyIndex.of(TRAIN, 1).replies


def test_words_and_names_of_fewer_conversations_are_not_in_the_file():
    data = ReplyIndex.of([*TRAIN, conversation("6", "hello", "thanks", speakers="XY")]).to_bytes()
    vocabulary = load(data)["vocabulary"].tobytes().decode().split()
    assert '"order"' in vocabulary
    assert not {'"ann"', '"parcel"', '"bob"', '"555"'} & set(vocabulary)
    assert load(data)["speakers"].tobytes().decode().split() == ['"A"', '"B"']


def test_the_reply_after_the_most_similar_last_utterance_comes_first():
    index = ReplyIndex.of(TRAIN)
    asked = conversation("q", "hello", "hi", "where is my order")
    assert index.nearest(asked, "B", 5)[0].text == "Your order 4711 is on its way ."
    assert index.nearest(asked, "A", 5) == []  # no one continues
    assert index.nearest(conversation("q"), "B", 5) == []
    assert index.nearest(conversation("q", "xyzzy"), "B", 5) == []


def test_a_search_for_usable_replies_ends(monkeypatch):
    index = ReplyIndex.of(TRAIN, 1)
    asked = conversation("q", "where is my order")
    every = [each.text for each in index.nearest(asked, "B", 9)]
    assert len(every) == 3
    assert [each.text for each in index.nearest(asked, "B", 1, every[2:].__contains__)] == every[2:]
    monkeypatch.setattr(reply_index, "REFUSED_PER_REPLY", 2)
    assert index.nearest(asked, "B", 1, every[2:].__contains__) == []


def test_a_known_speaker_gets_replies_of_that_name():
    index = ReplyIndex.of(TRAIN)
    said = conversation("q", "where is my order", "Your order 4711 is on its way .", speakers="AB")
    assert {each.text for each in index.nearest(said, "A", 5)} == {"thanks"}
    assert index.nearest(said, "a", 5) == index.nearest(said, "A", 5)
    assert index.nearest(said, "b", 5) == index.nearest(said, "B", 5) == []  # B would continue
    other = conversation("q", "where is my order", speakers="ST")
    assert {each.text for each in index.nearest(other, "T", 5)} >= {"Your order 4711 is on its way ."}


def test_spellings_of_a_name_are_one_speaker():
    talks = [
        conversation(colour, f"any news of the {colour} one ?", "it is on its way", speakers=("A", name))
        for colour, name in (("red", "Agent"), ("green", "agent"), ("blue", "AGENT"))
    ]
    index = ReplyIndex.of(talks, min_conversations=3)
    for name in ("agent", "Agent", "aGENT"):
        found = index.nearest(conversation("asked", "any news ?"), name, 2)
        assert [each.text for each in found] == ["it is on its way"]
    assert index.nearest(conversation("asked", "any news ?"), "A", 2) == []


def test_an_index_survives_its_file():
    index = ReplyIndex.of(TRAIN)
    again = ReplyIndex.from_bytes(index.to_bytes())
    asked = conversation("q", "where is my order")
    assert again.nearest(asked, "B", 3) == index.nearest(asked, "B", 3)
    assert (again.replies, again.min_conversations) == (index.replies, 2)
    assert again.to_bytes() == index.to_bytes()


def test_what_cannot_be_indexed_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match="min_conversations must be at least 1, but is 0"):
        ReplyIndex.of(TRAIN, 0)
    with pytest.raises(ConfigError, match="no reply was said in 9 different conversations"):
        ReplyIndex.of(TRAIN, 9)
    monkeypatch.setattr(reply_index, "MAX_UTTERANCES", 3)
    with pytest.raises(ConfigError, match="at most 3 utterances, but there are 15"):
        ReplyIndex.of(TRAIN)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        (FORMAT, None, "not an index of replies that this version reads"),
        ("words", None, "damaged index of replies"),
        ("words", np.array([10**6], np.int32), "damaged .*words is out of its range"),
        ("words", np.array([0.5]), "damaged .*words is no row of integers"),
        ("reply", np.array([0], np.int32), "damaged .*reply is not of 15 utterances"),
        ("starts", np.array([0, 9, 3, 15]), "damaged .*starts does not fit"),
        ("replies", np.frombuffer(b"[]\n", np.uint8), "damaged"),
        ("vocabulary", np.frombuffer(b"\xff\n", np.uint8), "damaged"),
        ("counts", np.array([1], np.int32), "damaged .*counts does not fit"),
    ],
)
def test_a_damaged_file_is_refused(name, value, reason):
    arrays = load(ReplyIndex.of(TRAIN).to_bytes())
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    with pytest.raises(CheckpointError, match=reason):
        ReplyIndex.from_bytes(save(arrays))


def test_a_file_of_another_kind_or_size_is_refused(monkeypatch):
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        ReplyIndex.from_bytes(b"pickle")
    monkeypatch.setattr(reply_index, "MAX_BYTES", 3)
    with pytest.raises(CheckpointError, match="at most 3 bytes, but this one has 6"):
        ReplyIndex.from_bytes(b"pickle")


def test_an_index_of_a_role_has_its_replies_alone_under_one_spelling():
    said = ("where is my order", "it is on its way .", "that is outrageous", "sorry .")
    train = [
        replace(conversation(str(number), *said, f"bye {word}", speakers=speakers), respond_as=("agent", "Agent"))
        for number, word, speakers in (
            (1, "now", ("customer", "agent")),
            (2, "then", ("customer", "Agent")),
            (3, "so", ("customer", "Agent")),
        )
    ]
    index = ReplyIndex.of(train)
    assert set(index.replies) == {"it is on its way .", "sorry ."}
    for name in ("agent", "somebody"):
        assert {one.text for one in index.nearest(train[0], name, 9)} <= set(index.replies)
    asked = Conversation("q", (Utterance("customer", "where is my order"),))
    assert [one.text for one in index.nearest(asked, "agent", 1)] == ["it is on its way ."]


def test_an_index_that_could_not_be_read_is_not_written(monkeypatch):
    index = ReplyIndex.of(TRAIN)
    monkeypatch.setattr(reply_index, "MAX_BYTES", 100)
    with pytest.raises(ConfigError, match="bytes; 100 are possible"):
        index.to_bytes()
