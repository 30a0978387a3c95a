"""What a language model reads of a conversation, and what it never writes."""

from __future__ import annotations

import numpy as np
import pytest

from dialog_cvae.generate.codec import Seen
from dialog_cvae.generate.language_codec import LanguageCodec
from dialog_cvae.language_config import LanguageModelConfig
from dialog_cvae.text.byte_pairs import BytePairs
from dialog_cvae.types import Conversation, Utterance
from tests.dialog_cvae.storage.tiny_bases import letters

TOKENIZER = BytePairs.from_tables([*letters(), "<|end|>", "Ċa"], ["h e", "Ċ a"], "gpt-2")
ROOM = 40


def codec(room: int = ROOM, vocabulary: int = 300) -> LanguageCodec:
    return LanguageCodec(TOKENIZER, LanguageModelConfig(max_context_tokens=room), vocabulary)


def read(utterances: list[tuple[str, str]], topic: str | None = None, room: int = ROOM) -> tuple[str, Seen]:
    """What is read before the next reply of A, as text."""
    model = codec(room)
    conversation = Conversation("c", tuple(Utterance(*each) for each in [*utterances, ("A", "")]), topic)
    corpus = model.encode([conversation])
    batch = model.batch(corpus, corpus.starts[1:] - 1)
    assert batch.begin.tolist() == [batch.tokens.shape[1] - 1]
    assert (batch.block.tolist(), batch.targets.tolist()) == ([0], [0])
    return TOKENIZER.decode(batch.tokens[0].tolist()), model.seen(corpus, int(corpus.starts[1]) - 1, conversation)


def test_a_context_ends_with_the_name_of_the_speaker_who_answers() -> None:
    assert read([("B", "hi"), ("A", "go\non")], "CATS") == ("Topic: CATS\nB: hi\nA: go on\nA:", Seen(2, cut=False))
    assert read([], None) == ("A:", Seen(0, cut=False))


def turns(count: int) -> list[tuple[str, str]]:
    """Lines of 5 tokens each: `A: 1` and a line break."""
    return [("BA"[index % 2], str(index % 10)) for index in range(count)]


def test_the_window_jumps_and_then_stays_for_many_turns() -> None:
    used = [read(turns(count))[1] for count in range(30)]
    assert [each.utterances for each in used[:9]] == list(range(9))
    # 40 tokens are full with 8 lines; the 9th leaves half of them, 4 lines, and so on
    assert [each.utterances for each in used[8:24]] == [8, 4, 5, 6, 7, 8, 4, 5, 6, 7, 8, 4, 5, 6, 7, 8]
    assert [each.cut for each in used] == [count > 8 for count in range(30)]
    starts = [read(turns(count))[0][:5] for count in range(9, 14)]
    assert set(starts) == {starts[0]}


def test_what_is_read_fits_and_begins_with_the_topic() -> None:
    for count in range(1, 25):
        text, seen = read(turns(count), "T")
        tokens = TOKENIZER.encode(text.removesuffix("A:"))
        assert text.startswith("Topic: T\n")
        assert len(tokens) <= ROOM
        assert text.count("\n") == seen.utterances + 1


def test_a_text_that_is_too_long_keeps_its_end_and_leaves_room_for_the_next() -> None:
    long = "".join(str(index % 10) for index in range(100))
    text, seen = read([("B", long)])
    assert text == f"B:{long[-27:]}\nA:"  # three quarters of 40 tokens, with header and line break
    assert seen == Seen(1, cut=True)
    text, seen = read([("B", long), ("A", "ok")])
    assert text == f"B:{long[-27:]}\nA: ok\nA:"
    assert seen == Seen(2, cut=True)


def test_a_long_topic_and_a_long_name_leave_room() -> None:
    text, seen = read([("B", "hi")], "x" * 200)
    assert text == f"Topic: {'x' * 12}\nB: hi\nA:"
    assert seen == Seen(1, cut=True)
    text, seen = read([("B" * 64, "hi")])
    assert (text, seen) == (f"{'B' * 25}: hi\nA:", Seen(1, cut=True))


def test_contexts_of_a_corpus_are_those_of_requests() -> None:
    """Evaluation encodes whole conversations; what follows a reply changes nothing."""
    model = codec()
    utterances = tuple(Utterance("BA"[index % 2], "word" * (index % 4)) for index in range(12))
    corpus = model.encode([Conversation("c", utterances, "T"), Conversation("d", utterances)])
    replies = corpus.responses
    batch = model.batch(corpus, replies)
    for row, reply in enumerate(replies):
        conversation, position = (int(each[0]) for each in corpus.places(np.array([reply])))
        topic = ("T", None)[conversation]
        asked = Conversation("r", (*utterances[: position - 1], Utterance(utterances[position - 1].speaker, "")), topic)
        alone = model.encode([asked])
        expected = model.batch(alone, alone.starts[1:] - 1).tokens[0]
        np.testing.assert_array_equal(batch.tokens[row, : batch.begin[row] + 1], expected)


def test_what_a_reply_never_contains() -> None:
    special = codec().special
    assert special.end == TOKENIZER.line_break_id
    assert special.unknown is None
    never = {TOKENIZER.decode([i]) for i in special.forbidden if i < len(TOKENIZER)}
    assert {"<|end|>", "\na", "\t", "\r", "\0", "\x7f"} <= never
    assert not never & {*"az AZ09.,?!'", "he", "\n"}
    assert set(range(len(TOKENIZER), 300)) <= set(special.forbidden)  # rows of the embedding without a token
    written = {i for text in ("é€😀ß", "he said: 1+1") for i in TOKENIZER.encode(text)}
    assert not written & set(special.forbidden)


@pytest.mark.parametrize(("text", "shown"), [(" I  know\t that", "I know that"), ("\x00a\x07", "a"), ("   ", "")])
def test_the_text_of_a_reply_is_tidied(text: str, shown: str) -> None:
    assert codec().text(TOKENIZER.encode(text)) == shown


def test_half_a_character_at_the_end_is_left_out() -> None:
    assert codec().text(TOKENIZER.encode(" yes 😀")[:-1]) == "yes"
