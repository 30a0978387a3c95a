"""Text to token ids and back, over one SentencePiece vocabulary.

Open it to change how text becomes ids and ids become text; `tokenizer_training` makes the vocabulary. Three modes share
the class and the special ids. `word` is the paper's: lower-cased text is split by NLTK's WordPunct expression, each of
the most frequent words is a token, the rest is `<unk>`. `space` splits at spaces only, for corpora that are already
tokenised. `unigram` is SentencePiece's unigram model with byte fallback, which keeps case and can represent any text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import sentencepiece

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.errors import CheckpointError
from dialog_cvae.text.detokenize import REACH, changes_quote, detokenize, spaced
from dialog_cvae.text.pieces import BOS, DIALOG_START, EOS, PAD, SPACE, SPECIALS, UNK, escaped, unescaped
from dialog_cvae.text.placeholders import PLACEHOLDERS
from dialog_cvae.text.token_words import WORDS, plain_words, with_unknown, writable
from dialog_cvae.text.tokenizer_training import trained_model

# Control characters and bytes that never occur in UTF-8: no reply needs them.
_UNWRITTEN_BYTES = frozenset({*range(0x20), 0x7F, 0xC0, 0xC1, *range(0xF5, 0x100)})
# The model file ends in its own SHA-256, as a protocol buffer field (number 1000, 32 bytes) that readers skip, because
# SentencePiece loads without complaint a file that was cut between two fields.
_SEAL = b"\xc2\x3e\x20"
_AT_SPACES = b"\xca\x3e\x05space"  # likewise (number 1001), before it, in space mode


class Tokenizer:
    """A vocabulary with its rules; immutable, and safe to share between threads.

    Attributes:
        mode: "word", "space" or "unigram".
        pieces: the text of each id: a word, or a SentencePiece piece in which `▁` is a space.
        byte_ids: ids of pieces that are single bytes, in unigram mode.
        never_generated: ids that a reply must not contain; a caller that wants the unknown word allows `unk_id`.
    """

    pad_id: ClassVar[int] = SPECIALS.index(PAD)
    unk_id: ClassVar[int] = SPECIALS.index(UNK)
    bos_id: ClassVar[int] = SPECIALS.index(BOS)
    eos_id: ClassVar[int] = SPECIALS.index(EOS)
    dialog_start_id: ClassVar[int] = SPECIALS.index(DIALOG_START)

    mode: Literal["word", "space", "unigram"]
    pieces: tuple[str, ...]
    byte_ids: frozenset[int]
    never_generated: tuple[int, ...]

    def __init__(self, model: bytes, source: str = "tokenizer model") -> None:
        """Open a model that `to_bytes` returned.

        Args:
            model: the SentencePiece model with its seal.
            source: its name in error messages, usually the path.

        Raises:
            CheckpointError: the model is truncated, damaged or from another program.
        """
        sealed = len(_SEAL) + hashlib.sha256().digest_size
        if model[-sealed:] != _SEAL + hashlib.sha256(model[:-sealed]).digest():
            raise CheckpointError(f"{source}: truncated, damaged or not a tokenizer of this package")
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        ids = range(self._processor.vocab_size())
        raw = [self._processor.id_to_piece(i) for i in ids]
        self._bytes: dict[int, int] = {i: int(raw[i][1:-1], 16) for i in ids if self._processor.is_byte(i)}
        at_spaces = model[:-sealed].endswith(_AT_SPACES)
        self.mode = "unigram" if self._bytes else "space" if at_spaces else "word"
        start = 0 if self.mode == "unigram" else len(SPACE)
        first = len(SPECIALS)
        self.pieces = (*SPECIALS, *(unescaped(piece[start:]) for piece in raw[first:]))
        self._raw = raw
        self._ids = {word: i for i, word in enumerate(self.pieces) if i >= first or i == self.unk_id}
        self.byte_ids = frozenset(self._bytes)
        unwritten = (i for i, byte in self._bytes.items() if byte in _UNWRITTEN_BYTES)
        self.never_generated = (self.pad_id, self.unk_id, self.bos_id, self.dialog_start_id, *sorted(unwritten))

    @classmethod
    def train(cls, texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
        """Build a vocabulary; equal texts in any order and on any machine give an equal model.

        In word and space mode the vocabulary consists of the most frequent words, with ties in code-point order; words
        of more than 256 characters are left out. In unigram mode a small corpus gives a smaller vocabulary, and rare
        characters are represented by byte pieces.

        Raises:
            ConfigError: `vocab_size` has no room for the byte pieces.
            DialogCvaeError: the texts contain no word.
        """
        model = trained_model(texts, config)
        model += _AT_SPACES if config.mode == "space" else b""
        return cls(model + _SEAL + hashlib.sha256(model).digest())

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Open a model file.

        Raises:
            CheckpointError: the file is missing, truncated or foreign; the message names the path.
        """
        try:
            model = Path(path).read_bytes()
        except OSError as error:
            raise CheckpointError(f"{path}: cannot read the tokenizer ({error.strerror})") from error
        return cls(model, str(path))

    @classmethod
    def from_bytes(cls, model: bytes) -> Tokenizer:
        """Open a model that `to_bytes` returned; raises CheckpointError as `load` does."""
        return cls(model)

    def to_bytes(self) -> bytes:
        """The SentencePiece model, which `SentencePieceProcessor` also reads."""
        return self._model

    def __len__(self) -> int:
        """Number of ids, special ones included."""
        return len(self.pieces)

    @property
    def whole_words(self) -> dict[int, str]:
        """The ids of whole words, each with the word in lower case, as in word vectors."""
        first = range(len(SPECIALS), len(self.pieces))
        if self.mode != "unigram":
            return {i: self.pieces[i] for i in first}
        begin = ((i, self._raw[i]) for i in first if i not in self._bytes)
        return {i: raw[len(SPACE) :].lower() for i, raw in begin if raw.startswith(SPACE) and len(raw) > len(SPACE)}

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without `<s>` and `</s>`; empty if the text has no word.

        A literal `<unk>` is the unknown word, as corpora use it. Every other special name is ordinary text.
        """
        if self.mode != "unigram":
            lookup, unknown = self._ids.get, self.unk_id
            found = WORDS[self.mode](text)
            if "<" in text and self.mode == "word":
                found = list(self._known_placeholders(found))
            return [lookup(word, unknown) for word in found]
        ids: list[int] = []
        for part in with_unknown(writable(text)):
            ids += [self.unk_id] if part == UNK else self._processor.encode(escaped(" ".join(part.split())))
        return ids

    def _known_placeholders(self, found: Iterable[str]) -> Iterator[str]:
        """The words, with a placeholder that the vocabulary lacks as the words that it had before there were any."""
        for word in found:
            yield from plain_words(word) if word in PLACEHOLDERS and word not in self._ids else (word,)

    def decode(self, ids: Sequence[int]) -> str:
        """Text as a person would write it.

        Args:
            ids: any valid ids. Special ones are left out, except that the unknown word becomes `<unk>`; byte pieces
                that do not form a character are left out too.
        """
        if self.mode != "unigram":
            tokens = self.tokens(ids)
            return detokenize(tokens) if self.mode == "word" else " ".join(tokens)
        parts: list[str] = []
        pending = bytearray()
        for i in ids:
            if i in self._bytes:
                pending.append(self._bytes[i])
                continue
            parts.append(pending.decode("utf-8", "ignore"))
            pending.clear()
            if i == self.unk_id:
                parts.append(f" {UNK} ")
            elif i >= len(SPECIALS):
                parts.append(self._raw[i].replace(SPACE, " "))
        parts.append(pending.decode("utf-8", "ignore"))
        text = "".join(parts).replace("\ufffd", "")
        return " ".join(unescaped(text).split())

    def spelled(self, ids: Sequence[int]) -> list[bytes | None]:
        """What each id adds to the text, as UTF-8, which may be a part of a character; None for special ids.

        Joined they are what `decode` makes tidy.
        """
        if self.mode == "unigram":
            return [self._spelled_piece(i) for i in ids]
        written = [i >= len(SPECIALS) or i == self.unk_id for i in ids]
        tokens = self.tokens(ids)
        parts = spaced(tokens) if self.mode == "word" else [f" {token}" for token in tokens]
        texts = iter(parts)
        return [next(texts).encode() if shown else None for shown in written]

    def spelled_instead(self, ids: Sequence[int], others: Sequence[Sequence[int]]) -> list[list[bytes | None]]:
        """What other ids would add if one of them ended the text in the place of an id.

        Args:
            ids: of a text, (T,).
            others: T sequences, for each place those to spell.
        """
        if self.mode != "word":
            return [self.spelled(each) for each in others]
        found: list[list[bytes | None]] = []
        before: list[str] = []
        quoted = False  # whether a double quote is open before the tokens in `before`
        for own, each in zip(ids, others, strict=True):
            found.append([self._spelled_last(before, quoted, i) for i in each])
            before += self.tokens([own])
            if len(before) > REACH:
                quoted ^= changes_quote(before.pop(0))
        return found

    def _spelled_last(self, before: Sequence[str], quoted: bool, i: int) -> bytes | None:
        token = self.tokens([i])
        return spaced([*before, *token], quoted=quoted)[-1].encode() if token else None

    def name(self, i: int) -> str:
        """The name of a special id."""
        return self.pieces[i]

    def _spelled_piece(self, i: int) -> bytes | None:
        """What an id adds to the text in unigram mode."""
        if i in self._bytes:
            return bytes((self._bytes[i],))
        if i == self.unk_id:
            return f" {UNK} ".encode()
        return unescaped(self._raw[i].replace(SPACE, " ")).encode() if i >= len(SPECIALS) else None

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The words (word mode) or pieces of the ids, for metrics; special ones are left out, except `<unk>`."""
        return [self.pieces[i] for i in ids if i >= len(SPECIALS) or i == self.unk_id]
