"""A user's own conversations: a UTF-8 text file with one JSON object a line (see `jsonl_line`).

Open it to change how a file is scanned, or which problems across lines are found. `scan` finds all problems of a file,
and `assemble` builds a corpus from its valid lines. `read` and the command `training.check` both use these two, so
their results agree. Conversations are not kept in memory: the corpus stores the offsets of its lines and reads the file
again at every iteration.
"""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.config import Reading
from dialog_cvae.data.readers.jsonl_line import MAX_LINE_BYTES, SPLITS, LineError, Record, parse_line, show
from dialog_cvae.data.readers.jsonl_splits import (
    KEY_BYTES,
    SHORT_KEY,
    Beginnings,
    beginning_keys,
    content_keys,
    split_by_conversations,
    split_by_distinct,
)
from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.types import Conversation, Corpus

SUFFIX = ".jsonl"  # extension of a file name, in upper or lower case
NO_SPLIT = -1


class Problem(NamedTuple):
    """A problem and its 1-based line."""

    line: int
    reason: str


class Lines(Sequence[Conversation]):
    """Conversations of a file, read from it at every access.

    Args:
        path: the file.
        version: version of the file, see `_version`; a changed file is refused.
        numbers: (C,) 1-based lines.
        offsets: (C,) byte offsets at which the lines begin.
        reading: see `DataConfig`.
    """

    def __init__(
        self,
        path: Path,
        version: tuple[int, ...],
        numbers: NDArray[np.int64],
        offsets: NDArray[np.int64],
        reading: Reading,
    ) -> None:
        self._path, self._version, self._numbers, self._offsets = path, version, numbers, offsets
        self._reading: Reading = reading

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Conversation: ...
    @overload
    def __getitem__(self, index: slice) -> Lines: ...
    def __getitem__(self, index: int | slice) -> Conversation | Lines:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        (conversation,) = self.take(np.arange(len(self))[[index]])
        return conversation

    def __iter__(self) -> Iterator[Conversation]:
        with _opened(self._path) as file:
            self._check(file)
            for number, offset in zip(self._numbers, self._offsets, strict=True):
                file.seek(offset)
                try:
                    record = parse_line(file.readline(MAX_LINE_BYTES + 1), int(number), self._reading)
                except LineError:  # the line was valid before, so the file has changed
                    self._check(file)
                    raise
                yield record.conversation
            self._check(file)

    def _check(self, file: BinaryIO) -> None:
        if _version(file) != self._version:
            raise DataError(self._path, "has changed since it was first read")

    def take(self, chosen: NDArray[np.int64]) -> Lines:
        """Some of the conversations, in the order of `chosen`."""
        return Lines(self._path, self._version, self._numbers[chosen], self._offsets[chosen], self._reading)


class Scan(NamedTuple):
    """The content of a file.

    Attributes:
        conversations: those with at least two utterances, in the file's order.
        requested: (C,) the split that each line requests, as its index in SPLITS, or NO_SPLIT.
        keys: (C, 3) 16 bytes each, hashes of each conversation's content; see `content_keys`.
        beginnings: of those whose split is drawn.
        problems: all problems, in the file's order.
        one_utterance: lines with a single utterance, which has no response; not part of `conversations`.
    """

    conversations: Lines
    requested: NDArray[np.int8]
    keys: NDArray[np.bytes_]
    beginnings: Beginnings
    problems: Sequence[Problem]
    one_utterance: Sequence[int]


def read(path: Path, *, valid_share: float, test_share: float, seed: int = 0, reading: Reading = 3) -> Corpus:
    """Read and split a file of conversations.

    Args:
        path: the file.
        valid_share: share of the conversations for validation, unless the lines name their splits.
        test_share: the same for testing.
        seed: another seed gives another split.
        reading: see `DataConfig`.

    Raises:
        DataError: the file cannot be read, a line is malformed, or there are too few conversations.
        ConfigError: the shares leave no training data.
    """
    found = scan(path, seed=seed, reading=reading)
    if found.problems:
        first, count = found.problems[0], len(found.problems)
        which = "the only problem" if count == 1 else f"the first of {count} problems"
        raise DataError(path, f"{first.reason} ({which}; see python -m training.check {path})", first.line)
    return assemble(path, found, valid_share=valid_share, test_share=test_share, reading=reading)


def scan(path: Path, *, seed: int = 0, reading: Reading = 3) -> Scan:
    """Validate every line of a file.

    Args:
        path: the file.
        seed: another seed gives another split.
        reading: see `DataConfig`.

    Raises:
        DataError: the file cannot be read.
    """
    every, several = _Places(reading), _Places(reading)  # all conversations, and those with several utterances
    requested, keys = array("b"), bytearray()
    beginnings, counts = bytearray(), array("q")  # keys of all conversations, and how many each one has
    problems: list[Problem] = []
    one_utterance: list[int] = []
    first: Record | None = None
    with _opened(path) as file:
        version = _version(file)
        for number, offset, raw in _lines(file):
            try:
                record = parse_line(raw, number, reading)
            except LineError as error:
                problems += [Problem(number, reason) for reason in error.reasons]
                continue
            first = first or record
            if (record.split is None) != (first.split is None):
                state = ("has none", "has one") if record.split is None else ("has one", "has none")
                problems.append(Problem(number, f"split: this line {state[0]}, but line {first.line} {state[1]}"))
            every.add(record, offset)
            if len(record.conversation.utterances) == 1:
                one_utterance.append(number)
                continue
            several.add(record, offset)
            requested.append(NO_SPLIT if record.split is None else SPLITS.index(record.split))
            keys += content_keys(record.conversation, seed)
            before = len(beginnings)
            if record.split is None:
                beginnings += b"".join(beginning_keys(record.conversation))
            counts.append((len(beginnings) - before) // SHORT_KEY.itemsize)
    problems = sorted([*_repeated_ids(path, version, every), *problems], key=lambda problem: problem.line)
    return Scan(
        several.lines(path, version),
        np.array(requested, dtype=np.int8),
        np.frombuffer(keys, dtype=f"S{KEY_BYTES}").reshape(-1, 3),
        Beginnings(np.repeat(np.arange(len(counts)), counts), np.frombuffer(beginnings, dtype=SHORT_KEY)),
        problems,
        one_utterance,
    )


class _Places:
    """Lines and offsets of conversations, and a hash of each id."""

    def __init__(self, reading: Reading) -> None:
        self._reading: Reading = reading
        self.numbers, self.offsets, self.id_hashes = array("q"), array("q"), array("q")

    def add(self, record: Record, offset: int) -> None:
        self.numbers.append(record.line)
        self.offsets.append(offset)
        self.id_hashes.append(hash(record.conversation.id))

    def lines(self, path: Path, version: tuple[int, ...]) -> Lines:
        return Lines(path, version, np.array(self.numbers), np.array(self.offsets), self._reading)


def _repeated_ids(path: Path, version: tuple[int, ...], places: _Places) -> Iterator[Problem]:
    """Duplicate ids; only lines with equal hashes are read again."""
    _, inverse, counts = np.unique(places.id_hashes, return_inverse=True, return_counts=True)
    suspects = np.flatnonzero(counts[inverse] > 1)
    line_of_id: dict[str, int] = {}
    for index, conversation in zip(suspects, places.lines(path, version).take(suspects), strict=True):
        number = places.numbers[index]
        if (earlier := line_of_id.setdefault(conversation.id, number)) != number:
            yield Problem(number, f"id {show(conversation.id)} is a duplicate of line {earlier}")


def assemble(path: Path, found: Scan, *, valid_share: float, test_share: float, reading: Reading = 3) -> Corpus:
    """Split the conversations that `scan` found; its problems are ignored.

    The split depends only on the content of the conversations and on the seed, not on their order. Copies of a
    conversation are in the same split; see `jsonl_splits`.

    Raises:
        DataError: a split would be empty.
        ConfigError: the shares leave no training data.
    """
    named = len(found.requested) > 0 and found.requested[0] != NO_SPLIT
    chosen = found.requested if named else _draw_splits(path, found, valid_share, test_share, reading)
    parts = {name: found.conversations.take(np.flatnonzero(chosen == i)) for i, name in enumerate(SPLITS)}
    if missing := [name for name in SPLITS if not len(parts[name])]:
        raise DataError(path, f"no conversation of two or more utterances has split {' or '.join(missing)}")
    count = len(found.one_utterance)
    notes = (f"{count} conversations with a single utterance skipped: they have no response",) if count else ()
    return Corpus(path.stem, parts["train"], parts["valid"], parts["test"], notes, drawn=not named)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DataError(path, "is not a regular file; conversations are read more than once")
            yield file
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error


def _version(file: BinaryIO) -> tuple[int, ...]:
    """Inode, size and time of the last change, which together change with the file's content."""
    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size, status.st_mtime_ns


def _lines(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Number, offset and bytes of each line that is not blank; a line over the limit is cut one byte after it."""
    number = offset = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        rest, begin = raw, offset
        offset += len(raw)
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES + 1)
            offset += len(rest)
        if raw.strip():
            yield number, begin, raw


def _draw_splits(path: Path, found: Scan, valid_share: float, test_share: float, reading: Reading) -> NDArray[np.int8]:
    """A split for each conversation, by the order of the hashes of their content."""
    if not (valid_share >= 0 and test_share >= 0 and valid_share + test_share < 1):
        raise ConfigError(
            "corpus.valid_share + corpus.test_share must be below 1 and neither negative, "
            f"are {valid_share} + {test_share}"
        )
    exact, copies, templates = found.keys.T
    n = len(np.unique(copies if reading > 1 else exact))
    if n < len(SPLITS):
        skipped = f" ({len(found.one_utterance)} with one utterance do not count)" if found.one_utterance else ""
        raise DataError(
            path, f"needs at least {len(SPLITS)} different conversations, one for each split, has {n}{skipped}"
        )
    if reading == 1:
        return split_by_distinct(exact, valid_share, test_share)
    beginnings = found.beginnings if reading > 2 else None
    return split_by_conversations(exact, copies, templates, valid_share, test_share, beginnings)
