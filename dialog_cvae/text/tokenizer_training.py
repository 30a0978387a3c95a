"""Trains a SentencePiece model on texts: counts of words, and the settings of SentencePiece.

Open it to change which words or pieces a vocabulary gets. Vocabularies are trained on word counts instead of lines, so
the result depends neither on the order of the lines nor on SentencePiece's limit on their length.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sentencepiece

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.errors import ConfigError, DialogCvaeError
from dialog_cvae.text.pieces import BOS, BREAK, DIALOG_START, EOS, PAD, SPECIALS, UNK, escaped, without_own_names
from dialog_cvae.text.placeholders import split_at_placeholders
from dialog_cvae.text.token_words import WORDS, with_unknown, writable

_BYTE_PIECES = 256
_MIN_UNIGRAM_SIZE = _BYTE_PIECES + 32
_MAX_WORD_LENGTH = 256  # characters; anything longer is pasted data, and SentencePiece refuses very long pieces


def trained_model(texts: Iterable[str], config: TokenizerConfig) -> bytes:
    """A SentencePiece model of the texts, without the seal of `Tokenizer`; see `Tokenizer.train`.

    Raises:
        ConfigError: `vocab_size` has no room for the byte pieces.
        DialogCvaeError: the texts contain no word.
    """
    symbols: set[str] = set()  # placeholders in the texts, each of which unigram mode makes one piece
    if config.mode == "unigram":
        _check_room(config.vocab_size)
        counts = _unigram_counts(texts, symbols)
    else:
        cut = WORDS[config.mode]
        counts = Counter(word for text in texts for word in cut(text) if len(word) <= _MAX_WORD_LENGTH)
    del counts[UNK]
    if not counts:
        raise DialogCvaeError("tokenizer: the training texts contain no word")
    if config.mode == "unigram":
        return _train_unigram(counts, config.vocab_size, sorted(symbols))
    return _train_word(counts, config.vocab_size)


def _check_room(size: int) -> None:
    if size < _MIN_UNIGRAM_SIZE:
        raise ConfigError(
            f"tokenizer.vocab_size must be at least {_MIN_UNIGRAM_SIZE} in unigram mode "
            f"({_BYTE_PIECES} byte pieces and the commonest characters), is {size}"
        )


def _unigram_counts(texts: Iterable[str], symbols: set[str]) -> Counter[str]:
    """How often each stretch between spaces occurs; placeholders are added to `symbols` instead."""
    parts = (part for text in texts for part in with_unknown(_without_placeholders(writable(text), symbols)))
    return Counter(word[:_MAX_WORD_LENGTH] for part in parts for word in part.split())


def _train_word(counts: Mapping[str, int], size: int) -> bytes:
    kept = [(without_own_names(word, BREAK), count) for word, count in _most_frequent(counts, size)]
    return _train_model(kept, model_type="word", vocab_size=len(kept) + len(SPECIALS))


def _without_placeholders(text: str, found: set[str]) -> str:
    """The text with spaces in their place; those that it has are added to `found`."""
    if "<" not in text:
        return text
    pieces = list(split_at_placeholders(text))
    found.update(pieces[1::2])
    return " ".join(pieces[::2])


def _train_unigram(counts: Mapping[str, int], size: int, symbols: Sequence[str]) -> bytes:
    """Train on words and their counts; each of the symbols becomes a piece."""
    characters: Counter[str] = Counter()
    for word, count in counts.items():
        for character in word:
            characters[character] += count
    # Each covered character needs its own piece: leave half of the size to longer pieces.
    covered = {character for character, _ in _most_frequent(characters, (size - _BYTE_PIECES) // 2)}
    stretches: Counter[str] = Counter()
    for word, count in sorted(counts.items()):
        for stretch in "".join(c if c in covered else " " for c in without_own_names(word, " ")).split():
            stretches[stretch] += count
    return _train_model(
        stretches.items(),
        model_type="unigram",
        vocab_size=size + len(SPECIALS),
        byte_fallback=True,
        user_defined_symbols=list(symbols),
        hard_vocab_limit=False,
    )


def _most_frequent(counts: Mapping[str, int], n: int) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:n]


def _train_model(counts: Iterable[tuple[str, int]], **options: Any) -> bytes:
    """Run SentencePiece on words and their counts; `options` are its own."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(f"{escaped(word)}\t{count}" for word, count in counts),
        input_format="tsv",
        model_writer=model,
        normalization_rule_name="identity",
        character_coverage=1.0,
        max_sentence_length=2**30,
        pad_id=SPECIALS.index(PAD),
        unk_id=SPECIALS.index(UNK),
        bos_id=SPECIALS.index(BOS),
        eos_id=SPECIALS.index(EOS),
        pad_piece=PAD,
        control_symbols=[DIALOG_START],
        num_threads=1,  # with more threads the sums would depend on their number
        minloglevel=2,
        **options,
    )
    return model.getvalue()
