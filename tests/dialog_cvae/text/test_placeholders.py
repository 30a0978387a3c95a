"""Placeholders of personal data stay whole in every tokenizer, and tokenizers of earlier models read them as before."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.text.byte_pairs import BytePairs
from dialog_cvae.text.placeholders import PLACEHOLDERS
from dialog_cvae.text.tokenizer import Tokenizer

TEXTS = [f"please write to {name}, or ({name})." for name in PLACEHOLDERS] * 20


@pytest.mark.parametrize("mode", ["word", "unigram"])
def test_a_placeholder_is_one_token_and_comes_back(mode):
    tokenizer = Tokenizer.train(TEXTS, TokenizerConfig(mode=mode, vocab_size=400))
    for text in TEXTS[: len(PLACEHOLDERS)]:
        ids = tokenizer.encode(text)
        (name,) = {piece for piece in (tokenizer.pieces[i] for i in ids) if piece in PLACEHOLDERS}
        assert [tokenizer.pieces[i] for i in ids].count(name) == 2
        assert tokenizer.decode(ids) == text


def test_byte_pairs_return_a_placeholder():
    inner = HuggingFaceTokenizer(BPE({piece: i for i, piece in enumerate(sorted(ByteLevel.alphabet()))}, []))
    inner.pre_tokenizer, inner.decoder = ByteLevel(add_prefix_space=False), ByteLevelDecoder()
    tokenizer = BytePairs(inner.to_str().encode())
    assert all(tokenizer.decode(tokenizer.encode(text)) == text for text in TEXTS)


def test_a_vocabulary_without_placeholders_reads_them_as_before():
    tokenizer = Tokenizer.train(["my email < > is"], TokenizerConfig(vocab_size=400))
    assert tokenizer.tokens(tokenizer.encode("my <EMAIL> is")) == ["my", "<", "email", ">", "is"]


def test_texts_without_placeholders_give_a_vocabulary_without_them():
    for mode in ("word", "unigram"):
        tokenizer = Tokenizer.train(["my email < > is"] * 9, TokenizerConfig(mode=mode, vocab_size=400))
        assert not set(tokenizer.pieces) & set(PLACEHOLDERS)
