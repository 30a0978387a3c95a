"""What may belong to one person, and the list of what does not."""

from __future__ import annotations

import time

import pytest

from dialog_cvae.data import common_words
from dialog_cvae.data.common_words import CommonWords, numbers, personal, said_in
from dialog_cvae.errors import CheckpointError
from dialog_cvae.types import Conversation, Utterance


def conversation(name: str, *texts: str) -> Conversation:
    return Conversation(name, tuple(Utterance("AB"[place % 2], text) for place, text in enumerate(texts)))


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("order B-1234, please", ["b1234"]),
        ("it is $5,000 at 7:30!", ["5000", "730"]),
        ("I am 43, born on the 21st", []),
        ("call 555-0199 or +1 (415) 555 0100.", ["5550199", "14155550100"]),
        ("write to ann.lee@mail.example.org now", ["ann.lee@mail.example.org"]),
        ("see https://shop.example/a?b=1).", ["https://shop.example/a?b=1"]),
        ("DE89 3704 0044 0532 0130 00 is mine", ["de89 3704 0044 0532 0130 00"]),
        ("Is Rosalind O'Hara here? I know.", ["is", "rosalind", "hara"]),
        ("<NAME> has <EMAIL>", []),
        ("", []),
    ],
)
def test_addresses_numbers_and_names_are_found(text, keys):
    assert [found.key for found in personal(text)] == keys


def test_in_lower_case_every_word_may_be_a_name():
    assert [found.key for found in personal("ask rosalind , i say", every_word=True)] == ["ask", "rosalind", "say"]


def test_links_mails_and_long_numbers_are_personal_by_their_form():
    by_rule = {
        found.text
        for text in ("x@y.example", "1234567", "a 123456 b", "Ann")
        for found in personal(text)
        if found.by_rule
    }
    assert by_rule == {"x@y.example", "1234567"}


def test_only_what_several_different_conversations_have_is_listed():
    line = "Ann has order 4711"
    talks = [conversation(str(i), f"{line} {chr(65 + i)}x", "hello") for i in range(3)]
    talks += [conversation(f"copy {i}", "Rosalind has 0815", "yes") for i in range(5)]  # copies count once
    talks += [conversation("p", "Bob here", "no"), conversation("q", "hi Bob", "so")]
    counts = said_in(talks)
    assert (counts["ann"], counts["4711"], counts["rosalind"], counts["bob"]) == (3, 3, 1, 2)
    found = CommonWords.of(talks)
    assert found.keys == {"ann", "has", "order", "4711", "hello"}
    assert CommonWords.from_bytes(found.to_bytes()) == found
    assert found.to_bytes().decode().splitlines() == [
        "# said in at least 3 training conversations",
        "4711",
        "ann",
        "has",
        "hello",
        "order",
    ]


def test_a_long_list_keeps_the_most_common(monkeypatch):
    monkeypatch.setattr(common_words, "MAX_BYTES", 70)
    talks = [
        conversation(str(i), f"{'often ' * (i < 4)}some words that {chr(97 + i)} " + "all say " * (i < 3))
        for i in range(4)
    ]
    found = CommonWords.of(talks)
    assert "often" in found.keys
    assert "say" not in found.keys
    assert len(found.to_bytes()) <= 70


@pytest.mark.parametrize("data", [b"", b"word\n", b"# said in at least x training conversations\n", b"\xff"])
def test_another_file_is_refused(data):
    with pytest.raises(CheckpointError):
        CommonWords.from_bytes(data)


def test_hostile_texts_take_no_long_time():
    began = time.process_time()
    for unit in ("%", "1 ", "a.", "1a", "A1", "@a", "www.", "x" * 50 + "1", "-1", "(1"):
        numbers(unit * (20_000 // len(unit)) + "@ 1")
    assert time.process_time() - began < 2
