"""How much of a context a dialog model reads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog_cvae.generate.codec import DialogCodec, Seen
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import Conversation, Profile, Utterance
from tests.conftest import ROLES, TINY, TOPICS

SIX = "we like cats and dogs now"  # with `<s>` and `</s>` exactly 8 tokens


@pytest.mark.parametrize(
    ("texts", "seen"),
    [
        ([], Seen(0, cut=False)),
        (["we hear"], Seen(1, cut=False)),
        (["we hear"] * 4, Seen(4, cut=False)),
        (["we hear"] * 5, Seen(4, cut=True)),
        ([SIX], Seen(1, cut=False)),
        ([f"{SIX} here"], Seen(1, cut=True)),
        ([f"{SIX} here", *["we hear"] * 3], Seen(4, cut=True)),
        (["rain", f"{SIX} here", "sun"], Seen(3, cut=True)),
    ],
)
def test_what_is_read_of_a_context(
    tiny_config: ModelConfig, tokenizer: Tokenizer, texts: list[str], seen: Seen
) -> None:
    """At most 4 utterances of 8 tokens."""
    codec = DialogCodec(tokenizer, TOPICS, tiny_config)
    other = Conversation("o", (Utterance("A", "sun"), Utterance("B", "rain")))
    utterances = [Utterance("AB"[index % 2], text) for index, text in enumerate(texts)]
    conversation = Conversation("c", (*utterances, Utterance("C", "")))
    corpus = codec.encode([other, conversation])
    assert codec.seen(corpus, int(corpus.starts[2]) - 1, conversation) == seen


PROFILES = {"A": Profile("female", 41), "B": Profile(age=20), "C": Profile("male"), "D": Profile(education=2)}


@given(
    speakers=st.lists(st.sampled_from("ABC"), max_size=9),
    respond_as=st.sampled_from("ABCD"),
    known=st.sets(st.sampled_from("ABCD")),
)
def test_what_is_not_read_changes_nothing(tokenizer: Tokenizer, speakers: list[str], respond_as: str, known: set[str]):
    """Also not whom the reply is for, which an early speaker may decide."""
    codec = DialogCodec(tokenizer, TOPICS, TINY, ROLES)
    said = [Utterance(speaker, f"we like {SIX.split()[at % 6]}") for at, speaker in enumerate(speakers)]
    profiles = {name: PROFILES[name] for name in known}
    conversation = Conversation("c", (*said, Utterance(respond_as, "")), "PETS", speakers=profiles)
    whole, asked = codec.encode([conversation]), codec.encode_asked([conversation])
    end = whole.starts[1:] - 1
    for one, other in zip(codec.batch(whole, end), codec.batch(asked, end), strict=True):
        np.testing.assert_array_equal(one, other)
    assert codec.seen(whole, int(end[0]), conversation) == codec.seen(asked, int(end[0]), conversation)
