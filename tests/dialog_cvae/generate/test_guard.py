"""The guard: replies that may give a person away are refused, unless the context has what they hold."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import product

import pytest

from dialog_cvae.config import Decoding
from dialog_cvae.data.common_words import CommonWords
from dialog_cvae.data.reply_index import ReplyIndex
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.generate.guard import Guard
from dialog_cvae.generate.opening import dialog_codec
from dialog_cvae.generate.responder import Responder
from dialog_cvae.model.build import build_model
from dialog_cvae.types import Conversation, Utterance

COMMON = CommonWords(dict.fromkeys(("yes", "the", "order", "4711", "18005550100", "berlin"), 3), 9)
CONTEXT = Conversation(
    "c", (Utterance("Kim", "I am Rosalind, order 98-765"), Utterance("B", "mail a@b.example?")), "Zoo"
)


@pytest.mark.parametrize(
    ("reply", "allowed"),
    [
        ("Yes, order 4711 is in Berlin.", True),
        ("Call 1-800-555-0100.", False),  # the word Call is in no list
        ("yes, call 1-800-555-0100.", True),
        ("yes, call 1-800-555-0101.", False),
        ("The order of Sigmund", False),
        ("The order of Rosalind, Kim", True),
        ("The order of Rosalind2, Kim_7", True),
        ("The order of Sigmund2", False),
        ("The Zoo", True),
        ("The order 98765", True),
        ("The order 98766", False),
        ("The order 12", True),
        ("a@b.example", True),
        ("yes, c@b.example", False),
        ("the _Sigmund_", False),
        ("the __order__, _Rosalind_", True),
        ("The order 4711-4711", False),  # one number of eight digits
        ("Yes, $4711.00", True),
        ("Yes, 1990-1995", False),
        ("Yes, 10:00-18:00", False),
    ],
)
def test_what_is_rare_and_not_in_the_context_is_refused(reply, allowed):
    assert Guard(COMMON).allowed(CONTEXT, "B")(reply) is allowed


def test_without_a_list_only_rules_refuse():
    allows = Guard(None).allowed(CONTEXT, "B")
    assert [allows(text) for text in ("The order of Sigmund, 98766", "c@b.example", "98-76-543", "a@b.example")] == [
        True,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    "reply",
    [
        "10:00-18:00",
        "from 1990-1995.",
        "$10,000-20,000",
        "($1,250,000)",
        "on 2024-05-03 10:30",
        "31.12.2024!",
        "1.250.000,50 €",
        "$1.250.000",
    ],
)
def test_times_years_amounts_and_dates_are_no_long_numbers(reply):
    assert Guard(None).allowed(CONTEXT, "B")(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "030-1234567",
        "+49 30 123 456",
        "030.123.456.78",
        "12-34-5678",
        "1990-1995-77",
        "612.345.678",
        "12.345.678",
        "2024-5678",
    ],
)
def test_other_long_numbers_are_refused_by_their_form(reply):
    assert not Guard(None).allowed(CONTEXT, "B")(reply)


def test_many_decimals_take_no_long_time():
    asked = Conversation("c", (Utterance("A", "1" + ".00" * 30_000),))  # a scan back from each would take minutes
    assert not Guard(None).allowed(asked, "B")("write to a@b.com")


def test_a_long_context_takes_no_long_time():
    rare = [f"{a}{b}" for a in ("zebu", "kane", "mori", "tal", "ros") for b in map("".join, product("aeiou", repeat=3))]
    asked = Conversation("c", (Utterance("A", f"{'some text ' * 40_000} {' '.join(rare)}"),))
    allowed = Guard(COMMON, lower_case=True).allowed(asked, "B")
    began = time.process_time()
    assert allowed(" ".join(rare))
    assert not allowed(" ".join(f"{each}x" for each in rare))
    assert time.process_time() - began < 2


def test_words_with_marks_are_known_from_the_context():
    asked = Conversation("c", (Utterance("A", "हिन्दी है, तुम"),))
    allowed = Guard(COMMON, lower_case=True).allowed(asked, "B")
    assert allowed("तुम हिन्दी")
    assert not allowed("तुमको")


def test_sentences_around_an_address_are_no_part_of_it():
    asked = Conversation("c", (Utterance("A", "my mail is me@x.com, number 555"),))
    common = dict.fromkeys(("wrote", "to", "thanks", "www.zoo.org", "www", "zoo", "org"), 3)
    allowed = Guard(CommonWords(common, 9), lower_case=True).allowed(asked, "B")
    assert allowed("wrote to me @x. com. thanks")
    assert allowed("my mail is me@x.com. thanks to x. com")
    assert allowed("www. zoo. org. thanks. to")
    assert allowed("thanks. me @x. com")
    assert allowed("to. thanks. me @x. com. thanks. to")
    assert allowed("thanks. www. zoo. org")
    assert not allowed("wrote to me @x. com. sigmund")
    assert not allowed("sigmund. me @x. com")
    assert not allowed("thanks. to @x. com")
    assert not allowed("thanks. www. zoo. org / thanks")
    assert not allowed("thanks.me@x.com")
    assert not allowed("wrote to me@x.com.sigmund")
    assert not allowed("wrote to me @x. thanks")
    assert not allowed("zoo. com / thanks")
    assert not allowed("555. com / thanks")


def test_an_address_of_very_many_sentences_takes_no_long_time():
    allowed = Guard(CommonWords({"a": 3}, 9), lower_case=True).allowed(CONTEXT, "B")
    began = time.process_time()
    assert not allowed("a. " * 30_000 + "@x. com")
    assert time.process_time() - began < 2


def test_an_address_inside_another_is_known_beside_it():
    asked = Conversation("c", (Utterance("A", "write to x@y.co or x@y.community"),))
    for lower_case in (False, True):
        allowed = Guard(CommonWords({"or": 3}, 9), lower_case=lower_case).allowed(asked, "B")
        assert allowed("x@y.co or x@y.community")
        assert not allowed("x@y.co or x@y.com")


def test_the_ends_of_a_range_are_known_from_the_context():
    asked = Conversation("c", (Utterance("A", "open 10:00 to 18:00, or 2019/2020, for $20.00?"),))
    guard = Guard(CommonWords({"yes": 3}, 9))
    for reply in ("yes, 10:00-18:00", "yes, 18:00", "yes, 10:00–18:00", "yes, 2019-2020", "yes, $20"):
        assert guard.allowed(asked, "B")(reply), reply
    assert not guard.allowed(asked, "B")("yes, 10:00-18:30")


def test_a_model_in_lower_case_has_names_in_lower_case():
    assert Guard(COMMON).allowed(CONTEXT, "B")("the order of sigmund")
    guard = Guard(COMMON, lower_case=True).allowed(CONTEXT, "B")
    assert not guard("the order of sigmund")
    assert guard("order the rosalind yes <NAME>")
    assert guard("the order. the/order yes")
    for address in ("order. com/yes", "t. me/order", "www. order. yes", "https:// order/ yes", "yes @ order. the"):
        assert not guard(f"the {address}"), address
    assert not guard("order of <NAME>, sigmund")
    assert guard("the <unk> order")
    assert not guard("the unk order")


@pytest.fixture
def responder(tiny_checkpoint):
    made = Responder(
        TorchEngine(build_model(tiny_checkpoint)), dialog_codec(tiny_checkpoint), tiny_checkpoint.config, "tiny"
    )
    talks = [
        Conversation(
            str(i), (Utterance("A", "you like cats"), Utterance("B", said), Utterance("A", f"now {'wxyz'[i]}"))
        )
        for i, said in enumerate(("we like cats", "we like cats", "they hear birds", "they hear birds"))
    ]
    made.index = ReplyIndex.of(talks)
    return made


def test_draws_and_retrieved_replies_are_guarded(responder):
    asked = Conversation("asked", (Utterance("A", "you like cats"),))
    common = {"you", "me", "we", "they", "like", "hate", "see", "hear", "cats", "dogs", "rain", "sun", "now", "here"}
    for source, candidates in (("both", 8), ("model", 8), ("model", 0)):
        decoding = Decoding(1.0, max_tokens=6, candidates=candidates, candidates_from=source)
        responder.guard = None
        before = responder.respond(asked, respond_as="B", n=8, seed=1, decoding=decoding)
        assert any("birds" in reply.text for reply in before)
        responder.guard = Guard(CommonWords(dict.fromkeys(common, 3), 9), lower_case=True)
        after = responder.respond(asked, respond_as="B", n=8, seed=1, decoding=decoding)
        assert after
        assert not any("birds" in reply.text for reply in after)
        birds = replace(asked, utterances=(Utterance("A", "birds"), *asked.utterances))
        assert responder.respond(birds, respond_as="B", n=8, seed=1, decoding=decoding)


def test_the_word_filter_holds_beside_the_guard(responder):
    asked = Conversation("asked", (Utterance("A", "you like cats"),))
    decoding = Decoding(1.0, max_tokens=6)
    responder.guard, responder.accepts = Guard(CommonWords({"you": 3}, 9), lower_case=True), lambda text: False
    assert responder.respond(asked, respond_as="B", decoding=decoding) == []
