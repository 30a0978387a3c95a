"""Detokenisation against sentences as people write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.text.detokenize import detokenize
from dialog_cvae.text.token_words import token_words

WRITTEN = (
    "i'm fine.",
    "uh-huh",
    "don't you?",
    "we've said you'd be there, and they'll come.",
    "what's up?! (nothing)",
    '"hi," he said. "bye."',
    '("so they say")',
    "it's 3.5 or 1,000 at 7:30, ok?",
    "in 1990, 20 people came: 5 of them late.",
    "get 'em 'cause i said so",
    "the kids' toys are goin' to the '80s",
    "o'clock, ma'am, y'all and rock'n'roll",
    "i live in the u.s. i like it at 7 a.m. or later",
    "plan b. i know",
    "$5 and 10% off; e-mail me: a/b",
    "wait... what",
    "well, --",
    "so she wor-, you know, goes in",
    "hello :) how are you? bad ;-( why",
    "at 3:30pm, or 10:15am",
    "das sind 3,5 km und 12,5%, oder 12, 13 und 14.",
    "rooms 3, 4, 5 and 6,5 h.",
    "on day 3: 10mg, chapter 3: 16th",
    "كيف حالك؟ جيد، شكرا",
    "你好：（好）",
    "नमस्ते।",
    "<unk>'s house is a <unk>-house, <unk>.",
    "",
)


@pytest.mark.parametrize("text", WRITTEN)
def test_tokens_of_a_written_sentence_give_the_sentence(text: str) -> None:
    assert detokenize(token_words(text)) == text


@pytest.mark.parametrize("space", ["  ", " \t "])
@pytest.mark.parametrize("text", WRITTEN)
def test_spaces_between_tokens_do_not_matter(text: str, space: str) -> None:
    assert detokenize(token_words(space.join(token_words(text)))) in {text, detokenize(token_words(text))}


WORDS = ("i", "m", "s", "re", "the", "dogs", "in", "o", "5", "30", "<unk>")
tokens = st.sampled_from([*WORDS, *"'\"-.,:?!()$%", "...", '."', ":)"])


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(tokens, max_size=12))
def test_any_tokens_give_one_trimmed_line_with_every_character(sequence: list[str]) -> None:
    text = detokenize(sequence)
    assert text == text.strip()
    assert "  " not in text
    assert text.replace(" ", "") == "".join(sequence)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(tokens, max_size=12))
def test_two_words_never_run_together(sequence: list[str]) -> None:
    only_words = [token for token in sequence if token.isalnum()]
    assert detokenize(only_words) == " ".join(only_words)
