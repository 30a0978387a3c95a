"""Text to token ids and back, over one SentencePiece vocabulary.

Three modes share the class and the special ids. `word` is the paper's: lower-cased text is split by NLTK's WordPunct
expression, each of the most frequent words is a token, the rest is `<unk>`. `space` splits at spaces only, for corpora
that are already tokenised. `unigram` is SentencePiece's unigram model with byte fallback, which keeps case and can
represent any text.

Vocabularies are trained on word counts instead of lines, so the result depends neither on the order of the lines nor on
SentencePiece's limit on their length.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import regex
import sentencepiece

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.errors import CheckpointError, ConfigError, DialogCvaeError
from dialog_cvae.text.detokenize import detokenize, spaced
from dialog_cvae.text.placeholders import PLACEHOLDERS, split_at_placeholders

PAD, UNK, BOS, EOS, DIALOG_START = SPECIALS = ("<pad>", "<unk>", "<s>", "</s>", "<d>")

# Not `re`: NLTK matches with `regex`, to which combining marks are word characters, so that "हिन्दी" stays whole.
_WORD_PUNCT = regex.compile(r"\w+|[^\w\s]+")
_SPACE = "▁"  # SentencePiece's sign for a space
# Characters that SentencePiece reserves are replaced by noncharacters, which text never contains.
_RESERVED = {"\0": "\ufdd0", "\x1f": "\ufdd1", _SPACE: "\ufdd2", "▅": "\ufdd3"}
_ESCAPE = str.maketrans(_RESERVED)
_BREAK = "\ufdd4"  # likewise: within a name of SentencePiece's own that is ordinary text here
_UNESCAPE = str.maketrans({stand_in: sign for sign, stand_in in _RESERVED.items()} | {_BREAK: None})
# Names of SentencePiece's own pieces: it leaves out words of the training text that contain them.
_OWN_NAMES = regex.compile("|".join((*SPECIALS, "<0x[0-9A-F]{2}>")))

_BYTE_PIECES = 256
_MIN_UNIGRAM_SIZE = _BYTE_PIECES + 32
_MAX_WORD_LENGTH = 256  # characters; anything longer is pasted data, and SentencePiece refuses very long pieces
# Control characters and bytes that never occur in UTF-8: no reply needs them.
_UNWRITTEN_BYTES = frozenset({*range(0x20), 0x7F, 0xC0, 0xC1, *range(0xF5, 0x100)})
# The model file ends in its own SHA-256, as a protocol buffer field (number 1000, 32 bytes) that readers skip, because
# SentencePiece loads without complaint a file that was cut between two fields.
_SEAL = b"\xc2\x3e\x20"
_AT_SPACES = b"\xca\x3e\x05space"  # likewise (number 1001), before it, in space mode


def words(text: str) -> list[str]:
    """The words of word mode: lower-cased, split like NLTK's `WordPunctTokenizer`; `<unk>` and placeholders stay."""
    found: list[str] = []
    for part in split_at_placeholders(_writable(text)):
        found += [part] if part in PLACEHOLDERS else _plain_words(part)
    return found


def _plain_words(text: str) -> list[str]:
    """The words of a text without placeholders."""
    found: list[str] = []
    for part in _with_unknown(text.lower()):
        found += [UNK] if part == UNK else _WORD_PUNCT.findall(part)
    return found


def words_between_spaces(text: str) -> list[str]:
    """The words of space mode, unchanged; a literal `<unk>` is the unknown word."""
    return _writable(text).split()


_WORDS = {"word": words, "space": words_between_spaces}


class Tokenizer:
    """A vocabulary with its rules; immutable, and safe to share between threads.

    Attributes:
        mode: "word", "space" or "unigram".
        pieces: the text of each id: a word, or a SentencePiece piece in which `▁` is a space.
        byte_ids: ids of pieces that are single bytes, in unigram mode.
        never_generated: ids that a reply must not contain; a caller that wants the unknown word allows `unk_id`.
    """

    pad_id: ClassVar[int] = 0
    unk_id: ClassVar[int] = 1
    bos_id: ClassVar[int] = 2
    eos_id: ClassVar[int] = 3
    dialog_start_id: ClassVar[int] = 4

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
        start = 0 if self.mode == "unigram" else len(_SPACE)
        first = len(SPECIALS)
        self.pieces = (*SPECIALS, *(piece[start:].translate(_UNESCAPE) for piece in raw[first:]))
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
        symbols: set[str] = set()  # placeholders in the texts, each of which unigram mode makes one piece
        if config.mode != "unigram":
            cut = _WORDS[config.mode]
            counts = Counter(word for text in texts for word in cut(text) if len(word) <= _MAX_WORD_LENGTH)
        else:
            if config.vocab_size < _MIN_UNIGRAM_SIZE:
                raise ConfigError(
                    f"tokenizer.vocab_size must be at least {_MIN_UNIGRAM_SIZE} in unigram mode "
                    f"({_BYTE_PIECES} byte pieces and the commonest characters), is {config.vocab_size}"
                )
            parts = (part for text in texts for part in _with_unknown(_without_placeholders(_writable(text), symbols)))
            counts = Counter(word[:_MAX_WORD_LENGTH] for part in parts for word in part.split())
        del counts[UNK]
        if not counts:
            raise DialogCvaeError("tokenizer: the training texts contain no word")
        if config.mode == "unigram":
            model = _train_unigram(counts, config.vocab_size, sorted(symbols))
        else:
            model = _train_word(counts, config.vocab_size)
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
        return {i: raw[len(_SPACE) :].lower() for i, raw in begin if raw.startswith(_SPACE) and len(raw) > len(_SPACE)}

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without `<s>` and `</s>`; empty if the text has no word.

        A literal `<unk>` is the unknown word, as corpora use it. Every other special name is ordinary text.
        """
        if self.mode != "unigram":
            lookup, unknown = self._ids.get, self.unk_id
            found = _WORDS[self.mode](text)
            if "<" in text and self.mode == "word":
                found = list(self._known_placeholders(found))
            return [lookup(word, unknown) for word in found]
        ids: list[int] = []
        for part in _with_unknown(_writable(text)):
            ids += [self.unk_id] if part == UNK else self._processor.encode(" ".join(part.split()).translate(_ESCAPE))
        return ids

    def _known_placeholders(self, found: Iterable[str]) -> Iterator[str]:
        """The words, with a placeholder that the vocabulary lacks as the words that it had before there were any."""
        for word in found:
            yield from _plain_words(word) if word in PLACEHOLDERS and word not in self._ids else (word,)

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
                parts.append(self._raw[i].replace(_SPACE, " "))
        parts.append(pending.decode("utf-8", "ignore"))
        text = "".join(parts).replace("\ufffd", "")
        return " ".join(text.translate(_UNESCAPE).split())

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

    def name(self, i: int) -> str:
        """The name of a special id."""
        return self.pieces[i]

    def _spelled_piece(self, i: int) -> bytes | None:
        """What an id adds to the text in unigram mode."""
        if i in self._bytes:
            return bytes((self._bytes[i],))
        if i == self.unk_id:
            return f" {UNK} ".encode()
        return self._raw[i].replace(_SPACE, " ").translate(_UNESCAPE).encode() if i >= len(SPECIALS) else None

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The words (word mode) or pieces of the ids, for metrics; special ones are left out, except `<unk>`."""
        return [self.pieces[i] for i in ids if i >= len(SPECIALS) or i == self.unk_id]


def _writable(text: str) -> str:
    """The text without lone surrogates, which JSON can contain and UTF-8 cannot."""
    return text if text.isascii() else text.encode("utf-8", "ignore").decode("utf-8")


def _with_unknown(text: str) -> Iterator[str]:
    """The parts of a text between literal `<unk>`s, and the `<unk>`s."""
    first, *rest = text.split(UNK)
    yield first
    for part in rest:
        yield UNK
        yield part


def _most_frequent(counts: Mapping[str, int], n: int) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:n]


def _without_own_names(word: str, separator: str) -> str:
    """The word with a separator in every name that SentencePiece would not take as ordinary text."""
    return _OWN_NAMES.sub(lambda name: name[0][0] + separator + name[0][1:], word)


def _train_word(counts: Mapping[str, int], size: int) -> bytes:
    kept = [(_without_own_names(word, _BREAK), count) for word, count in _most_frequent(counts, size)]
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
        for stretch in "".join(c if c in covered else " " for c in _without_own_names(word, " ")).split():
            stretches[stretch] += count
    return _train_model(
        stretches.items(),
        model_type="unigram",
        vocab_size=size + len(SPECIALS),
        byte_fallback=True,
        user_defined_symbols=list(symbols),
        hard_vocab_limit=False,
    )


def _train_model(counts: Iterable[tuple[str, int]], **options: Any) -> bytes:
    """Run SentencePiece on words and their counts; `options` are its own."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(f"{word.translate(_ESCAPE)}\t{count}" for word, count in counts),
        input_format="tsv",
        model_writer=model,
        normalization_rule_name="identity",
        character_coverage=1.0,
        max_sentence_length=2**30,
        pad_id=Tokenizer.pad_id,
        unk_id=Tokenizer.unk_id,
        bos_id=Tokenizer.bos_id,
        eos_id=Tokenizer.eos_id,
        pad_piece=PAD,
        control_symbols=[DIALOG_START],
        num_threads=1,  # with more threads the sums would depend on their number
        minloglevel=2,
        **options,
    )
    return model.getvalue()
