"""The corpus of a run; its text is read only if the cache lacks something that training needs.

Training needs token ids, a tokenizer and a few facts about the corpus. Each is cached under everything that decides it:
the content of the corpus's files, the settings that they are read with, the code that reads them and, for token ids,
the tokenizer and the topics.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydantic
import regex
import sentencepiece
from numpy.typing import NDArray

from dialog_cvae.config import Config, DataConfig, TokenizerConfig
from dialog_cvae.data.cache import Arrays, Cache, Kind
from dialog_cvae.data.code_digest import code_digest
from dialog_cvae.data.common_words import CommonWords, said_in
from dialog_cvae.data.corpora import Split, is_path, load_corpus, source_files
from dialog_cvae.data.encoded_corpus import NO_SPEAKER, EncodedCorpus
from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.data.roles import own_names, recognised_roles
from dialog_cvae.data.turns import EncodedTurns, encode_turns
from dialog_cvae.errors import DataError
from dialog_cvae.text.stored_tokenizer import AnyTokenizer
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import PROFILE_FEATURES, Corpus
from training.vocabulary import Vocabulary

SPLITS: tuple[Split, ...] = ("train", "valid", "test")
BLOCK = 2**16  # rows that are hashed at a time
T = TypeVar("T")


class Size(Config):
    """The size of a split."""

    conversations: int
    utterances: int


class Summary(Config):
    """Facts about a corpus, without its text.

    Attributes:
        name, notes, licence: see `dialog_cvae.types.Corpus`.
        sizes: of its splits.
        topics: of the training conversations, in alphabetical order.
        respond_as: the speakers whose utterances are replies, one name for each role; empty: all speakers.
        roles: of the speakers of the training conversations, if these are a user's own; see `recognised_roles`. The
            speakers of published corpora, such as A and B, are no roles.
    """

    name: str
    notes: tuple[str, ...]
    licence: str | None
    sizes: dict[Split, Size]
    topics: tuple[str, ...]
    respond_as: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


class TrainingCorpus:
    """The corpus as training needs it.

    Args:
        config: names the corpus; not `auto`.
        cache: of earlier results.
        log: called with a line when the text must be read.
        setting: the user's setting of the cache, for the converted copy of a chat or table.

    Raises:
        DataError: here and in what it gives: the corpus is missing or malformed.
    """

    def __init__(
        self, config: DataConfig, cache: Cache, log: Callable[[str], object], setting: str | None = None
    ) -> None:
        self._config, self._log, self._setting = config, log, setting
        self._files = source_files(config)
        self._version: tuple[tuple[int, int, int], ...] = ()
        self._origin: dict[str, Any] = {}
        self._cache = Cache(None, log)
        with suppress(OSError):  # reading the text will raise the error
            if self._files and all(path.is_file() for path in self._files):
                self._version = _version(self._files)
                self._origin, self._cache = _origin(config, self._files), cache

    @cached_property
    def summary(self) -> Summary:
        """Facts about the corpus."""
        return self._get(_SUMMARY, {}, lambda: summarised(self._text, has_roles=is_path(self._config.name)))

    @cached_property
    def common_words(self) -> CommonWords:
        """What many training conversations have; see `CommonWords`."""
        return self._get(_COMMON, {"what": "common words"}, lambda: CommonWords.of(said_in(self._text.train)))

    def tokenizer(self, config: TokenizerConfig) -> Tokenizer:
        """A tokenizer trained on the training conversations."""

        def train() -> Tokenizer:
            return Tokenizer.train(
                (u.text for conversation in self._text.train for u in conversation.utterances), config
            )

        return self._get(_TOKENIZER, {"tokenizer": config.model_dump(mode="json")}, train)

    def encoded(self, split: Split, vocabulary: Vocabulary, max_tokens: int) -> EncodedCorpus:
        """The token ids of a split; see `encode_corpus`."""
        tokenizer, topics = vocabulary.word_tokenizer, vocabulary.topics
        kind = Kind("ids", EncodedCorpus._asdict, partial(_fitting, vocabulary=vocabulary))
        decided_by = {
            "split": split,
            "tokenizer": hashlib.sha256(tokenizer.to_bytes()).hexdigest(),
            "topics": list(topics),
            "max_tokens": max_tokens,
            "roles": list(vocabulary.roles),
        }
        # Sentences are cut as in the released code: they have no context.
        reading = 1 if self._config.of_sentences else self._config.reading

        def encode() -> EncodedCorpus:
            return encode_corpus(getattr(self._text, split), tokenizer, topics, max_tokens, reading, vocabulary.roles)

        return self._get(kind, decided_by, encode)

    def turns(self, split: Split, tokenizer: AnyTokenizer, max_reply_tokens: int) -> EncodedTurns:
        """The token ids of a split as a language model reads it; see `encode_turns`."""
        kind = Kind("turns", EncodedTurns._asdict, partial(_fitting_turns, words=len(tokenizer)))
        decided_by = {
            "split": split,
            "tokenizer": hashlib.sha256(tokenizer.to_bytes()).hexdigest(),
            "max_reply_tokens": max_reply_tokens,
        }
        return self._get(
            kind,
            decided_by,
            lambda: encode_turns(getattr(self._text, split), tokenizer, max_reply_tokens, self._config.reading),
        )

    @cached_property
    def _text(self) -> Corpus:
        self._log(f"reading the text of {self._config.name}")
        return load_corpus(self._config, self._setting)

    def _get(self, kind: Kind[T], decided_by: Mapping[str, Any], make: Callable[[], T]) -> T:
        def made() -> T:
            value = make()
            if self._origin and _version(self._files) != self._version:
                raise DataError(self._files[0], "was changed while it was being read")
            return value

        return self._cache.get(kind, self._origin | dict(decided_by), made)


def summarised(corpus: Corpus, *, has_roles: bool = False) -> Summary:
    """The facts about a corpus that was read; `has_roles` says whether its speakers' names may be roles."""
    sizes, topics, respond_as = {}, set[str](), ()
    said, present = Counter[str](), Counter[str]()
    for split in SPLITS:
        conversations = utterances = 0
        for conversation in getattr(corpus, split):
            conversations += 1
            utterances += len(conversation.utterances)
            respond_as = conversation.respond_as
            if split != "train":
                continue
            if conversation.topic is not None:
                topics.add(conversation.topic)
            speakers = [utterance.speaker for utterance in conversation.utterances]
            said.update(speakers)
            present.update(set(speakers))
        sizes[split] = Size(conversations=conversations, utterances=utterances)
    return Summary(
        name=corpus.name,
        notes=corpus.notes,
        licence=corpus.licence,
        sizes=sizes,
        topics=tuple(sorted(topics)),
        respond_as=own_names(respond_as),
        roles=tuple(recognised_roles(said, present, sizes["train"].conversations)) if has_roles else (),
    )


def fingerprint(*corpora: EncodedCorpus | EncodedTurns) -> str:
    """Changes with the conversations, their order and split, the tokenizer and the topics.

    It covers the content of each utterance, independently of the arrays' types and layout.
    """
    digest = hashlib.sha256()
    for corpus in corpora:
        for name, kind, shape, blocks in _columns(corpus) if isinstance(corpus, EncodedCorpus) else _lines(corpus):
            digest.update(f"{name} {np.dtype(kind)} {shape}".encode())
            for block in blocks:
                digest.update(np.ascontiguousarray(block, dtype=kind).data)
    return digest.hexdigest()


def _columns(corpus: EncodedCorpus) -> Iterator[tuple[str, type, tuple[int, ...], Iterator[NDArray[Any]]]]:
    """Names, types, shapes and values of all columns of tokens and utterances, the values in blocks of rows."""
    count = len(corpus.speaker)

    def stored(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        return (values[begin : begin + BLOCK] for begin in range(0, len(values), BLOCK))

    def by_conversation(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        utterances = (np.arange(begin, min(begin + BLOCK, count)) for begin in range(0, count, BLOCK))
        return (values[corpus.places(block)[0]] for block in utterances)

    if len(corpus.long):  # so that the fingerprint of a corpus without long utterances is that of earlier versions
        yield "long", np.int64, corpus.long.shape, stored(corpus.long)
    if len(corpus.role):  # for the same reason
        yield "role", np.int32, corpus.role.shape, stored(corpus.role)
    if len(corpus.context_only):  # for the same reason
        yield "context_only", np.int64, corpus.context_only.shape, stored(corpus.context_only)
    profiles = (count, 2, corpus.profiles.shape[1])
    yield "tokens", np.int32, corpus.tokens.shape, stored(corpus.tokens)
    yield "offsets", np.int64, corpus.offsets.shape, stored(corpus.offsets)
    yield "start", np.int64, (count,), by_conversation(corpus.starts)
    yield "speaker", np.int32, (count,), stored(corpus.speaker)
    yield "topic", np.int32, (count,), by_conversation(corpus.topic)
    yield "profiles", np.float32, profiles, (corpus.profiles[block] for block in stored(corpus.parties))
    yield "known", np.float32, profiles, (corpus.known[block] for block in stored(corpus.parties))
    yield "conversation", np.int32, (count,), by_conversation(np.arange(len(corpus.topic)))


def _lines(turns: EncodedTurns) -> Iterator[tuple[str, type, tuple[int, ...], Iterator[NDArray[Any]]]]:
    """The same of lines of text."""
    for name, array in turns._asdict().items():
        if name == "context_only" and not len(array):  # as in `_columns`
            continue
        yield name, np.int64, array.shape, (array[begin : begin + BLOCK] for begin in range(0, len(array), BLOCK))


def _fitting_turns(arrays: Arrays, words: int) -> EncodedTurns:
    """Arrays as lines of text, if every index in them points to something.

    Raises:
        TypeError, ValueError: they are no lines of this vocabulary.
    """
    turns = EncodedTurns(**arrays)
    lines, lengths = len(turns.header), np.diff(turns.offsets)
    if not (
        all(array.dtype.kind == "i" and array.ndim == 1 for array in arrays.values())
        and len(turns.offsets) == lines + 1
        and len(turns.targets) == lines
        and turns.offsets[0] == 0
        and turns.offsets[-1] == len(turns.tokens)
        and (lengths >= 0).all()
        and turns.tokens.min(initial=0) >= 0
        and turns.tokens.max(initial=0) < words
        and (turns.targets >= 0).all()
        and (turns.header + turns.targets <= lengths).all()
        and turns.starts[-1] == lines
        and (np.diff(turns.starts) > 0).all()
        and (np.diff(turns.context_only, prepend=-1, append=lines) > 0).all()
        and not np.isin(turns.context_only, turns.starts).any()
    ):
        raise ValueError("an index is out of its range")
    return turns


def _fitting(arrays: Arrays, vocabulary: Vocabulary) -> EncodedCorpus:
    """A corpus from arrays, after a check that all indices are valid.

    Raises:
        TypeError, ValueError: they are no corpus of this vocabulary.
    """
    corpus = EncodedCorpus(**arrays)
    utterances, conversations, profiles = len(corpus.speaker), len(corpus.topic), len(corpus.profiles)
    long = len(corpus.long)
    expected = {
        "tokens": ("u", (int(corpus.offsets[-1]),)),
        "offsets": ("u", (utterances + long + 1,)),
        "long": ("i8", (long,)),
        "speaker": ("i", (utterances,)),
        "parties": ("u", (utterances, 2)),
        "starts": ("i8", (conversations + 1,)),
        "topic": ("i4", (conversations,)),
        "profiles": ("f4", (profiles, PROFILE_FEATURES)),
        "known": ("f4", (profiles, PROFILE_FEATURES)),
        "context_only": ("i8", (len(corpus.context_only),)),
        "role": ("u", (utterances if vocabulary.roles else 0,)),
    }
    for name, (kind, shape) in expected.items():
        array = arrays[name]
        if not f"{array.dtype.kind}{array.dtype.itemsize}".startswith(kind) or array.shape != shape:
            raise ValueError(f"{name} is {array.dtype} {array.shape}, not {kind} {shape}")
    openings = np.flatnonzero(corpus.speaker == NO_SPEAKER)
    if not (
        (corpus.offsets[1:] >= corpus.offsets[:-1]).all()
        and (np.diff(corpus.long, prepend=-1, append=utterances) > 0).all()
        and corpus.tokens.max(initial=0) < len(vocabulary.tokenizer)
        and corpus.speaker.min(initial=NO_SPEAKER) == NO_SPEAKER
        and corpus.parties.max(initial=0) < profiles
        and corpus.role.max(initial=0) <= len(vocabulary.roles)
        and 0 <= corpus.topic.min(initial=0) <= corpus.topic.max(initial=0) <= len(vocabulary.topics)
        and np.array_equal(corpus.starts, [*openings, utterances])
        and (np.diff(corpus.context_only, prepend=-1, append=utterances) > 0).all()
        and not np.isin(corpus.context_only, openings).any()
    ):
        raise ValueError("an index is out of its range")
    return corpus


def _bytes(data: bytes) -> Arrays:
    return {"data": np.frombuffer(data, dtype=np.uint8)}


_SUMMARY = Kind(
    "summary",
    lambda summary: _bytes(summary.model_dump_json().encode()),
    lambda arrays: Summary.model_validate_json(arrays["data"].tobytes()),
)
_COMMON = Kind(
    "common",
    lambda common: _bytes(common.to_bytes()),
    lambda arrays: CommonWords.from_bytes(arrays["data"].tobytes()),
)
_TOKENIZER = Kind(
    "tokenizer",
    lambda tokenizer: _bytes(tokenizer.to_bytes()),
    lambda arrays: Tokenizer.from_bytes(arrays["data"].tobytes()),
)


def _origin(config: DataConfig, files: Sequence[Path]) -> dict[str, Any]:
    """All that affects the result of reading a corpus.

    Raises:
        OSError: a file cannot be read.
    """
    settings = config.model_dump(mode="json", exclude={"dir"}) | {"name": Path(config.name).stem}
    return {"settings": settings, "files": _sha256(files), "code": _code()}


@cache
def _code() -> str:
    """Changes with the code that turns text into ids, and with what it depends on."""
    libraries = sentencepiece.__version__, regex.__version__, pydantic.VERSION, unicodedata.unidata_version
    return " ".join((code_digest(__name__), *libraries))


def _sha256(files: Sequence[Path]) -> str:
    """A digest of the files' names and contents."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _version(files: Sequence[Path]) -> tuple[tuple[int, int, int], ...]:
    """A version of the files, from their sizes and times."""
    found = (path.stat() for path in files)
    return tuple((status.st_ino, status.st_size, status.st_mtime_ns) for status in found)
