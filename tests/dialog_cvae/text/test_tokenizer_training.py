"""Vocabularies against a plain counter of NLTK's words."""

import os
import random
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.tokenize import WordPunctTokenizer

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.errors import ConfigError, DialogCvaeError
from dialog_cvae.text.pieces import SPECIALS
from dialog_cvae.text.tokenizer import Tokenizer
from tests.dialog_cvae.text.texts import CHAT

WORD, UNIGRAM = TokenizerConfig(mode="word"), TokenizerConfig(mode="unigram")
derandomized = settings(derandomize=True, deadline=None, max_examples=60)


def counter_top(texts: list[str], size: int) -> list[str]:
    """The reference: NLTK's words, counted; equal counts in code-point order."""
    nltk = WordPunctTokenizer()
    counts = Counter(word for text in texts for word in nltk.tokenize(text.lower()))
    return sorted(counts, key=lambda word: (-counts[word], word))[:size]


@pytest.mark.parametrize("size", [16, 1000, 10_000])
def test_word_vocabulary_of_real_text_is_the_counters_top(switchboard: list[str], size: int) -> None:
    tokenizer = Tokenizer.train(switchboard, TokenizerConfig(vocab_size=size))
    expected = counter_top(switchboard, size)
    assert tokenizer.pieces == (*SPECIALS, *expected)
    assert len(tokenizer) == len(expected) + 5


@derandomized
@given(st.lists(st.text().filter(lambda text: "<unk>" not in text.lower()), min_size=1, max_size=4))
def test_any_text_makes_a_word_vocabulary_equal_to_the_counters(texts: list[str]) -> None:
    expected = counter_top(texts, 10_000)
    if not expected:
        with pytest.raises(DialogCvaeError, match="no word"):
            Tokenizer.train(texts, WORD)
        return
    tokenizer = Tokenizer.train(texts, WORD)
    assert sorted(tokenizer.pieces[5:]) == sorted(expected)
    for text in texts:
        assert tokenizer.tokens(tokenizer.encode(text)) == WordPunctTokenizer().tokenize(text.lower())


@pytest.mark.parametrize(
    "texts", [["a"], ["hi"], ["hi there", "you", "ok"], ["\u0301"], ["▁▁"], ["\0"], ["x" * 100_000]]
)
@pytest.mark.parametrize("mode", ["word", "unigram"])
def test_small_and_odd_corpora_train(texts: list[str], mode: str) -> None:
    config = TokenizerConfig.model_validate({"mode": mode})
    if mode == "word" and len(texts[0]) > 256:
        with pytest.raises(DialogCvaeError, match="no word"):
            Tokenizer.train(texts, config)
    else:
        tokenizer = Tokenizer.train(texts, config)
        assert tokenizer.mode == mode
        assert tokenizer.decode(tokenizer.encode(texts[0])) == texts[0]


@pytest.mark.parametrize("mode", ["word", "space", "unigram"])
def test_stand_ins_for_reserved_characters_are_no_text(mode: str) -> None:
    tokenizer = Tokenizer.train(["▁ \ufdd2 a \ufdd4", "\0 \ufdd0 a"], TokenizerConfig.model_validate({"mode": mode}))
    assert tokenizer.encode("▁\ufdd2 a") == tokenizer.encode("▁ a")


def test_characters_beyond_a_small_unigram_vocabulary_become_bytes() -> None:
    texts = ["".join(chr(0x4E00 + i * j % 3000) for j in range(20)) for i in range(300)]
    tokenizer = Tokenizer.train(texts, TokenizerConfig(mode="unigram", vocab_size=400))
    assert len(tokenizer) <= 405
    assert all(tokenizer.decode(tokenizer.encode(text)) == text for text in texts)


def test_order_of_texts_does_not_matter() -> None:
    shuffled = random.Random(1).sample(CHAT * 3, 3 * len(CHAT))
    for config in (WORD, UNIGRAM):
        assert Tokenizer.train(CHAT * 3, config).to_bytes() == Tokenizer.train(shuffled, config).to_bytes()


def test_training_is_silent_and_equal_in_another_process() -> None:
    code = (
        "import hashlib; from dialog_cvae.config import TokenizerConfig\n"
        "from dialog_cvae.text.tokenizer import Tokenizer\n"
        f"for m in ('word', 'unigram'): print(hashlib.sha256(Tokenizer.train({CHAT!r}, TokenizerConfig(mode=m))"
        ".to_bytes()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "2", "PYTHONIOENCODING": "utf-8"}
    runs = [
        subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        for env in (environment, {**environment, "PYTHONHASHSEED": "8", "OMP_NUM_THREADS": "1"})
    ]
    assert runs[0].stdout == runs[1].stdout
    assert len({*runs[0].stdout.split()}) == 2
    assert runs[0].stderr == ""


def test_impossible_vocabularies_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"vocab_size must be at least 288 in unigram mode .* is 100"):
        Tokenizer.train(CHAT, TokenizerConfig(mode="unigram", vocab_size=100))
    for texts in ([], [""], ["  \n"], ["<unk>"]):
        for config in (WORD, UNIGRAM):
            with pytest.raises(DialogCvaeError, match="no word"):
                Tokenizer.train(texts, config)
