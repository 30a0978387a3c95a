"""How much of a context a dialog model reads."""

from __future__ import annotations

import pytest

from dialog_cvae.generate.codec import DialogCodec, Seen
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import Conversation, Utterance
from tests.conftest import TOPICS

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
