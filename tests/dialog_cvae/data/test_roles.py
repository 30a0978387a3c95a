"""Corpora in which only some speakers' utterances are replies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from dialog_cvae.config import DataConfig
from dialog_cvae.data.corpora import load_corpus, load_split
from dialog_cvae.data.roles import (
    answered_by_role,
    checked_roles,
    joined_roles,
    other_role,
    own_names,
    recognised_roles,
    role_number,
    with_roles,
)
from dialog_cvae.errors import ConfigError
from dialog_cvae.types import Conversation, Corpus, Utterance


def said(names: Sequence[str]) -> Conversation:
    return Conversation("c", tuple(Utterance(name, f"text {at}") for at, name in enumerate(names)))


def corpus(*train: Conversation, valid: Sequence[Conversation] | None = None) -> Corpus:
    return Corpus("mine", train, train if valid is None else valid, train)


def test_utterances_of_the_role_are_replies_in_every_spelling() -> None:
    spoken = said(["Ann", "Caf\u00e9", "Ann", "CAFE\u0301", "Caf\u00e9", "Bo"])
    found = with_roles(corpus(spoken), ["cafe\u0301"])
    (conversation,) = found.train
    assert conversation.reply_positions == [1, 3, 4]
    assert conversation.context_positions == [0, 2, 5]
    assert own_names(conversation.respond_as) == ("Caf\u00e9",)  # the most frequent spelling
    assert found.train[0] == conversation == next(iter(found.train[:1]))
    assert with_roles(corpus(spoken), ["bo", "ANN"]).valid[0].reply_positions == [0, 2, 5]


def test_without_a_role_every_utterance_is_a_reply() -> None:
    spoken = corpus(said("AB"))
    assert with_roles(spoken, ()) is spoken
    assert (spoken.train[0].reply_positions, spoken.train[0].context_positions) == ([0, 1], [])


def test_an_unknown_role_is_refused_with_the_ten_most_frequent_speakers() -> None:
    names = "LKJIHGFEDCBA"
    spoken = said("".join(name * (at + 1) for at, name in enumerate(names)))
    expected = r"respond_as: no speaker of mine is 'agent'; it has A 36, B 33, .*, J 9 and 2 more$"
    with pytest.raises(ConfigError, match=expected):
        with_roles(corpus(spoken), ["A", "agent"])


def test_every_split_needs_a_reply_of_the_role() -> None:
    with pytest.raises(ConfigError, match="split valid of mine has no reply of B"):
        with_roles(corpus(said("AB"), valid=[said("AA")]), ["B"])
    assert len(with_roles(corpus(said("AB"), valid=[]), ["B"]).valid) == 0  # a split that was not read


def test_a_file_is_read_with_roles(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    texts = [[("customer", f"hello {i}"), ("agent", f"hi {i}"), ("customer", f"bye {i}")] for i in range(9)]
    lines = [json.dumps({"utterances": [{"speaker": who, "text": text} for who, text in one]}) for one in texts]
    path.write_text("\n".join(lines))
    config = DataConfig(name=str(path), respond_as=("Agent",))
    assert [each.reply_positions for each in load_corpus(config).train] == [[1]] * 7
    name, test = load_split(config, "test")
    assert (name, [each.respond_as for each in test]) == ("mine", [("agent",)])
    with pytest.raises(ConfigError, match=r"it has customer 18, agent 9$"):
        load_split(config.model_copy(update={"respond_as": ("manager",)}), "test")


def test_sentences_and_blank_names_are_refused() -> None:
    with pytest.raises(ValueError, match="corpus ptb holds sentences"):
        DataConfig(name="ptb", respond_as=("agent",))
    with pytest.raises(ValueError, match="a visible character"):
        DataConfig(respond_as=("agent", " "))


@pytest.mark.parametrize(
    ("names", "speaker", "roles", "expected"),
    [
        ("A", "B", ["agent"], ("A", "agent")),
        ("ABA", "B", ["agent", "bot"], (["A", "agent", "A"], "agent")),
        (["Ann", "AGENT", "Ann"], "AGENT", ["agent"], (["Ann", "agent", "Ann"], "agent")),
        (["Agent", "Ann", "Bot", "Ann"], "Bot", ["agent", "bot"], (["agent", "Ann", "bot", "Ann"], "bot")),
        (["customer", "agent"], "customer", ["agent"], (["customer", "agent"], "agent")),  # no other role
        (["agent"], "B", ["agent"], (["agent"], "agent")),
        (
            ["customer", "Agent", "CUSTOMER"],
            "Agent",
            ["customer", "agent"],
            (["customer", "agent", "customer"], "agent"),
        ),
        (["customer"], "B", ["customer", "agent"], (["customer"], "agent")),
        (["agent", "Agent"], "B", ["customer", "agent"], (["agent", "agent"], "customer")),
        (["Ann", "customer"], "Ann", ["customer", "agent"], (["agent", "customer"], "agent")),
        (["bot", "agent", "Ann"], "agent", ["agent", "bot"], (["bot", "agent", "Ann"], "agent")),
        (["bot", "agent", "customer"], "agent", ["customer", "bot", "agent"], (["bot", "agent", "customer"], "agent")),
    ],
)
def test_a_request_is_answered_by_the_role(
    names: Sequence[str], speaker: str, roles: list[str], expected: tuple[Sequence[str], str]
) -> None:
    conversation, answers = answered_by_role(said(names), speaker, roles)
    assert ([each.speaker for each in conversation.utterances], answers) == (list(expected[0]), expected[1])
    assert [each.text for each in conversation.utterances] == [f"text {at}" for at in range(len(names))]


@pytest.mark.parametrize(
    ("spoken", "expected"),
    [
        (["AB", "AB", "ACB"], ["A", "B"]),
        (["AB", "AC", "AD"], []),  # one speaker of most conversations
        (["BAA", "AB", "CD"], ["A", "B"]),  # those with most utterances first
        (["AB", "CD"], []),  # in half of them
        (["ABCDEFGH"], list("ABCDEFGH")),
        (["ABCDEFGHI"], []),
        ([["Agent", "Ann"], ["agent", "Bo"], ["AGENT", "bo"], ["Agent", "BO"]], ["Agent", "Bo"]),
    ],
)
def test_roles_are_the_speakers_of_most_conversations(spoken: list[Sequence[str]], expected: list[str]) -> None:
    utterances = Counter(name for names in spoken for name in names)
    present = Counter(name for names in spoken for name in set(names))
    assert recognised_roles(utterances, present, len(spoken)) == expected


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (tuple("ABCDEFGHI"), "at most 8 roles are possible, but there are 9"),
        (("A", "a"), "'A' and 'a' are the same role"),
        (("A", "A"), "'A' and 'A' are the same role"),
        (("A", " "), "a visible character"),
        (("A", "x" * 201), "at most 200 characters, but 'x{40}' has 201"),
    ],
)
def test_a_damaged_list_of_roles_is_refused(names: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        checked_roles(names)
    assert checked_roles(("Kunde", "Agent")) == ("Kunde", "Agent")


def test_a_name_finds_its_role_in_any_spelling() -> None:
    assert [role_number(name, ("Agent", "Café")) for name in ("agent ", "CAFE\u0301", "B", "")] == [1, 2, 0, 0]
    assert role_number("Agent", ()) == 0
    assert joined_roles(["agent", "B", "Agent", *"CDEFGHI"]) == ("agent", "B", "C", "D", "E", "F", "G", "H")


@pytest.mark.parametrize(
    ("names", "speaker", "expected"),
    [
        (["Customer"], "B", "agent"),
        (["agent", "agent"], "B", "customer"),
        (["A"], "B", "B"),
        (["customer", "Ann"], "Ann", "Ann"),
        (["customer", "agent", "customer"], "agent", "agent"),
    ],
)
def test_a_single_role_is_answered_by_another(names: list[str], speaker: str, expected: str) -> None:
    assert other_role(said(names), speaker, ("customer", "agent")) == expected
    assert other_role(said(names), speaker, ()) == speaker
