"""Warnings about a tokenizer and limits that do not suit a corpus, at the start of a run."""

from __future__ import annotations

import numpy as np
import pytest

from dialog_cvae.config import DataConfig, TokenizerConfig
from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.data.turns import encode_turns
from dialog_cvae.language_config import LanguageModelConfig
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.text.byte_pairs import BytePairs
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import Conversation, Utterance
from tests.dialog_cvae.storage.tiny_bases import letters
from training.config import FitConfig
from training.coverage import coverage_of_ids, coverage_of_words, run_warnings, warnings_of
from training.vocabulary import Vocabulary

LETTERS = "上周店员拆开了那个手机所以昨天"


def talks(seed: int, unspaced: bool, words: int = 8) -> list[Conversation]:
    rng = np.random.default_rng(seed)
    alphabet = LETTERS if unspaced else ["you", "me", "cats", "dogs", "rain", "sun"]
    said = [("" if unspaced else " ").join(rng.choice(list(alphabet), words)) for _ in range(200)]
    return [Conversation(str(i), tuple(Utterance("AB"[j], said[2 * i + j]) for j in range(2))) for i in range(100)]


def warnings(tokenizer: TokenizerConfig, unspaced: bool, words: int = 8, kept: bool = False) -> list[str]:
    train, valid = talks(0, unspaced, words), talks(1, unspaced, words)
    config = FitConfig(
        corpus=DataConfig(name="own.jsonl"), tokenizer=tokenizer, model=ModelConfig(max_utterance_tokens=16)
    )
    made = Tokenizer.train((u.text for c in train for u in c.utterances), tokenizer)
    encoded = [encode_corpus(part, made, (), 16) for part in (train, valid)]
    return run_warnings(config, Vocabulary(made, ()), encoded[0], encoded[1], kept)


@pytest.mark.parametrize("mode", ["word", "space"])
def test_text_without_spaces(mode: str) -> None:
    found = warnings(TokenizerConfig.model_validate({"mode": mode}), unspaced=True)
    assert len(found) == 2
    assert "script without spaces" in found[0]
    assert found[0].endswith("; take --tokenizer.mode unigram")
    assert "has only 0.0% of the words" in found[1]
    kept = warnings(TokenizerConfig.model_validate({"mode": mode}), unspaced=True, kept=True)
    assert kept[0].endswith("; train without --init and take --tokenizer.mode unigram")


def test_text_that_suits_its_tokenizer_gives_no_warning() -> None:
    assert warnings(TokenizerConfig(), unspaced=False) == []
    assert warnings(TokenizerConfig(mode="unigram", vocab_size=400), unspaced=True) == []


def test_many_long_messages() -> None:
    found = warnings(TokenizerConfig(), unspaced=False, words=20)
    assert len(found) == 1
    assert found[0].startswith("200 of 200 messages (100.0%) have more than the model's 16 tokens and are shortened")


def test_scripts_repeated_word_for_word_are_known_but_still_no_words() -> None:
    coverage = coverage_of_words({"上周店员", "那个手机"}, {"上周店员": 500})
    assert coverage.known == 1
    assert len(warnings_of(coverage, TokenizerConfig())) == 1


def test_long_words_of_a_script_with_spaces() -> None:
    coverage = coverage_of_words({"a" * 40, "b" * 30}, {"a" * 40: 100})
    assert "a word has 35 letters on average" in warnings_of(coverage, TokenizerConfig())[0]


def test_single_bytes_are_unknown() -> None:
    tokenizer = Tokenizer.train(["hello there"] * 9, TokenizerConfig(mode="unigram", vocab_size=300))
    known = coverage_of_ids(
        tokenizer.encode("hello there"), dict.fromkeys(tokenizer.encode("hello there"), 9), tokenizer
    )
    assert known.known == 1
    held_out = dict.fromkeys(tokenizer.encode(LETTERS), 9)
    foreign = coverage_of_ids(tokenizer.encode("hello there"), held_out, tokenizer)
    assert foreign.known < 0.2
    config = TokenizerConfig(mode="unigram", vocab_size=300)
    assert warnings_of(foreign, config)[0].endswith("and a larger --tokenizer.vocab-size than 300")


@pytest.mark.parametrize(("words", "long"), [(4, 0), (40, 200)])
def test_a_language_model(words: int, long: int) -> None:
    tokenizer = BytePairs.from_tables(letters(), ["h e"], "gpt-2")
    config = FitConfig(corpus=DataConfig(name="own.jsonl"), language=LanguageModelConfig(max_reply_tokens=96))
    turns = encode_turns(talks(0, True, words), tokenizer, 96)
    found = run_warnings(config, Vocabulary(tokenizer, ()), turns, turns, kept=False)
    assert "the language model needs 2." in found[0]  # three bytes a letter, and one for other characters
    assert [text.split(" messages")[0] for text in found[1:]] == ([f"{long} of 200"] if long else [])
