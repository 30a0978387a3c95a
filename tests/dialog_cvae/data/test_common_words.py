"""What may belong to one person, and the list of what does not."""

from __future__ import annotations

import math
import time

import pytest

from dialog_cvae.data import common_words
from dialog_cvae.data.common_words import CommonWords, numbers, personal, said_in
from dialog_cvae.errors import CheckpointError
from dialog_cvae.text.detokenize import detokenize
from dialog_cvae.text.token_words import token_words
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
        ("DE89 3704 0044 0532 0130 00 is mine", ["de89370400440532013000"]),
        ("Is Rosalind O'Hara here? I know.", ["is", "rosalind", "hara"]),
        ("<NAME> has <EMAIL>", []),
        ("I am Zebulon99, or Rosalind_Kane7; 5Km in 2nd MP3", ["zebulon", "rosalind", "kane"]),
        ("Zebulon,2 Kane(42) Rosalind/Al-12", ["zebulon", "kane", "rosalind", "al"]),
        ("Zebulon1999", ["zebulon1999"]),
        ("", []),
    ],
)
def test_addresses_numbers_and_names_are_found(text, keys):
    assert [found.key for found in personal(text)] == keys


def test_in_lower_case_every_word_may_be_a_name():
    assert [found.key for found in personal("ask rosalind , i say", lower_case=True)] == ["ask", "rosalind", "say"]


@pytest.mark.parametrize(
    "address", ["john.smith@acme-corp.com", "https://www.acme.com/a_b?c=1", "www.acme.com", "acme.org/x"]
)
def test_an_address_is_found_as_a_word_model_writes_it(address):
    written = detokenize(token_words(address))
    assert written != address
    assert address in [found.key for found in personal(f"see {written} now", lower_case=True) if found.by_rule]
    assert not any(found.by_rule for found in personal("and / or that. is it 1 / 2? he is @home", lower_case=True))


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
    counts, conversations = said_in(talks)
    assert (counts["ann"], counts["4711"], counts["rosalind"], counts["bob"]) == (3, 3, 1, 2)
    assert conversations == 6
    found = CommonWords.of(said_in(talks))
    assert found.counts == {"ann": 3, "has": 4, "order": 3, "4711": 3, "hello": 3}
    assert CommonWords.from_bytes(found.to_bytes()) == found
    assert found.to_bytes().decode().splitlines() == [
        "# said in at least 3 of 6 training conversations, and in how many",
        *("4711\t3", "ann\t3", "has\t4", "hello\t3", "order\t3"),
    ]


@pytest.mark.parametrize("space", [" ", "", "\n", "\t", "-"])
def test_an_account_number_is_one_however_its_groups_are_written(space):
    number = space.join(("DE89", "3704", "0044", "0532", "0130", "00"))
    talks = [conversation(colour, f"pay to {number}", f"for the {colour} one") for colour in ("red", "green", "blue")]
    common = CommonWords.of(said_in(talks))
    assert common.counts["de89370400440532013000"] == 3
    assert CommonWords.from_bytes(common.to_bytes()) == common


def test_an_account_number_does_not_go_on_in_the_next_utterance():
    talks = [conversation(colour, "DE89 3704 0044 0532", "0130 00", colour) for colour in ("red", "green", "blue")]
    common = CommonWords.of(said_in(talks))
    assert CommonWords.from_bytes(common.to_bytes()) == common
    assert "de89370400440532013000" not in common.counts


def test_a_long_list_keeps_the_most_common(monkeypatch):
    monkeypatch.setattr(common_words, "MAX_BYTES", 115)
    talks = [
        conversation(str(i), f"{'often ' * (i < 4)}some words that {chr(97 + i)} " + "all say " * (i < 3))
        for i in range(4)
    ]
    said = said_in(talks)
    found = CommonWords.of(said)
    assert "often" in found.counts
    assert "say" not in found.counts
    assert len(found.to_bytes()) <= 115
    assert found.min_conversations == min(found.counts.values()) == 4
    assert found.counts == {key: count for key, count in said.counts.items() if count >= 4}
    assert found.information("say") == math.log(4 / 3)
    assert CommonWords.from_bytes(found.to_bytes()) == found
    monkeypatch.setattr(common_words, "MAX_BYTES", 100)  # not all the words in four conversations fit
    assert CommonWords.of(said) == ({}, 4, 5)


HEAD = b"# said in at least 3 of 9 training conversations, and in how many\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "its first line is another"),
        (b"word\n", "its first line is another"),
        (HEAD.replace(b"3", b"1"), "its first line is another"),
        (b"\xff", "not UTF-8"),
        (HEAD + b"word\n", "line 2: must be a word, a tab and a count"),
        (HEAD + b"word\t3\nyes\t10\n", "line 3: .* 'yes"),
        (HEAD + b"word\t2\n", "line 2"),
    ],
)
def test_another_file_is_refused(data, reason):
    with pytest.raises(CheckpointError, match=reason):
        CommonWords.from_bytes(data)


def test_words_tell_more_the_fewer_conversations_have_them():
    common = CommonWords({"yes": 8, "cats": 4, "4711": 3}, 8)
    assert common.information("Yes, CATS! 47-11") == pytest.approx(math.log(8 / 8) + math.log(8 / 4) + math.log(8 / 3))
    assert common.information("zebra") == pytest.approx(math.log(8 / 2))  # as if two conversations had it
    assert common.information("") == CommonWords({}, 1).information("zebra") == 0


def test_hostile_texts_take_no_long_time():
    began = time.process_time()
    for unit in ("%", "1 ", "a.", "1a", "A1", "@a", "www.", "x" * 50 + "1", "-1", "(1"):
        numbers(unit * (20_000 // len(unit)) + "@ 1")
    assert len(numbers(" ".join(f"{i:x}@b.co" for i in range(40_000)))) == 40_000
    assert time.process_time() - began < 2
