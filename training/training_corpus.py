"""The corpus of a run; its text is read only if the cache lacks something that training needs.

Open this to change what is cached. Training needs token ids, a tokenizer and a few facts about the corpus. The key of
each entry covers everything that it depends on: the content of the corpus's files, the settings and the code that read
them and, for token ids, the tokenizer and the topics.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import regex
import sentencepiece

from dialog_cvae.config import DataConfig, TokenizerConfig
from dialog_cvae.data.cache import Cache, Kind
from dialog_cvae.data.code_digest import code_digest
from dialog_cvae.data.common_words import CommonWords, said_in
from dialog_cvae.data.corpora import Split, is_path, load_corpus, source_files
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.data.trained_conversations import TrainedConversations
from dialog_cvae.data.turns import EncodedTurns, encode_turns
from dialog_cvae.errors import DataError
from dialog_cvae.text.stored_tokenizer import AnyTokenizer
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import Corpus
from training.corpus_kinds import COMMON_WORDS, COUNT, SUMMARY, TOKENIZER, TRAINED, ids_kind, turns_kind
from training.corpus_summary import Summary, summarised
from training.vocabulary import Vocabulary

T = TypeVar("T")


class TrainingCorpus:
    """The corpus as training needs it.

    Args:
        config: names the corpus; not `auto`.
        cache: of earlier results.
        log: called with a line when the text must be read.
        setting: the user's setting of the cache, for the converted copy of a chat or table.

    Raises:
        DataError: here and from all methods: the corpus is missing or malformed.
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
        return self._get(SUMMARY, {}, lambda: summarised(self._text, has_roles=is_path(self._config.name)))

    @cached_property
    def common_words(self) -> CommonWords:
        """Words and numbers that many training conversations have; see `CommonWords`."""
        return self._get(COMMON_WORDS, {"what": "common words"}, lambda: CommonWords.of(said_in(self._text.train)))

    @cached_property
    def trained_conversations(self) -> TrainedConversations | None:
        """The training conversations if the splits were drawn; None for fixed splits."""
        if not is_path(self._config.name):
            return None

        def made() -> TrainedConversations:
            return TrainedConversations.of(self._text.train if self._text.drawn else ())

        found = self._get(TRAINED, {"what": "trained"}, made)
        return found or None

    def trained_in_validation(self, before: TrainedConversations) -> int:
        """The number of validation conversations that are among those of an earlier fit."""
        decided_by = {"what": "trained", "before": hashlib.sha256(before.to_bytes()).hexdigest()}
        return self._get(COUNT, decided_by, lambda: int(before.contain(list(self._text.valid)).sum()))

    def tokenizer(self, config: TokenizerConfig) -> Tokenizer:
        """A tokenizer trained on the training conversations."""

        def train() -> Tokenizer:
            return Tokenizer.train(
                (u.text for conversation in self._text.train for u in conversation.utterances), config
            )

        return self._get(TOKENIZER, {"tokenizer": config.model_dump(mode="json")}, train)

    def encoded(self, split: Split, vocabulary: Vocabulary, max_tokens: int) -> EncodedCorpus:
        """The token ids of a split; see `encode_corpus`."""
        tokenizer, topics = vocabulary.word_tokenizer, vocabulary.topics
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

        return self._get(ids_kind(vocabulary), decided_by, encode)

    def turns(self, split: Split, tokenizer: AnyTokenizer, max_reply_tokens: int) -> EncodedTurns:
        """The token ids of a split as a language model reads it; see `encode_turns`."""
        decided_by = {
            "split": split,
            "tokenizer": hashlib.sha256(tokenizer.to_bytes()).hexdigest(),
            "max_reply_tokens": max_reply_tokens,
        }
        return self._get(
            turns_kind(len(tokenizer)),
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


def _origin(config: DataConfig, files: Sequence[Path]) -> dict[str, Any]:
    """Everything that affects the result of reading a corpus.

    Raises:
        OSError: a file cannot be read.
    """
    settings = config.model_dump(mode="json", exclude={"dir"}) | {"name": Path(config.name).stem}
    return {"settings": settings, "files": _sha256(files, Path(config.name)), "code": _code()}


@cache
def _code() -> str:
    """A digest that changes with the code that turns text into ids, and with what this code depends on."""
    libraries = sentencepiece.__version__, regex.__version__, pydantic.VERSION, unicodedata.unidata_version
    return " ".join((code_digest(__name__), *libraries))


def _sha256(files: Sequence[Path], source: Path) -> str:
    """A digest of the files' contents and names; in a folder of chats, names of folders may be topics."""
    digest = hashlib.sha256()
    for path in files:
        name = path.relative_to(source) if source in path.parents else path.name
        with path.open("rb") as file:
            digest.update(os.fsencode(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n"))
    return digest.hexdigest()


def _version(files: Sequence[Path]) -> tuple[tuple[int, int, int], ...]:
    """A version of the files, from their sizes and times."""
    found = (path.stat() for path in files)
    return tuple((status.st_ino, status.st_size, status.st_mtime_ns) for status in found)
