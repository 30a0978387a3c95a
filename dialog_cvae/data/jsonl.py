"""A user's own conversations: a UTF-8 text file with one JSON object a line, as `dialog_cvae.data.jsonl_line` has it.

`scan` finds every problem of a file and `assemble` makes a corpus of what is left; `read` and the command line
`training.check` are both made of these two, so that they cannot disagree. Neither holds conversations in memory: a
corpus of a file knows where its lines are and reads them again whenever somebody goes through it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.data.jsonl_line import MAX_LINE_BYTES, SPLITS, LineError, Record, Split, parse_line, show
from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.types import Conversation, Corpus


class Problem(NamedTuple):
    """What is wrong on a 1-based line."""

    line: int
    reason: str


class Lines(Sequence[Conversation]):
    """Conversations of a file, read from it whenever they are asked for.

    Args:
        path: the file.
        version: of the file, as `_version` has it; another one is refused.
        numbers: (C,) 1-based lines.
        offsets: (C,) where in the file they begin.
    """

    def __init__(
        self, path: Path, version: tuple[int, ...], numbers: NDArray[np.int64], offsets: NDArray[np.int64]
    ) -> None:
        self._path, self._version, self._numbers, self._offsets = path, version, numbers, offsets

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
                    record = parse_line(file.readline(MAX_LINE_BYTES + 1), int(number))
                except LineError:  # it was checked, so it is another line now
                    self._check(file)
                    raise
                yield record.conversation
            self._check(file)

    def _check(self, file: BinaryIO) -> None:
        if _version(file) != self._version:
            raise DataError(self._path, "was changed while it was being used")

    def take(self, chosen: NDArray[np.int64]) -> Lines:
        """Some of the conversations, in the order of `chosen`."""
        return Lines(self._path, self._version, self._numbers[chosen], self._offsets[chosen])


class Scan(NamedTuple):
    """What a file holds.

    Attributes:
        conversations: those with something to respond to, in the file's order.
        splits: the split that the line of each asks for.
        keys: what is said in each and the seed of the split, as a hash.
        problems: everything wrong, in the file's order.
        one_utterance: lines with a single utterance, to which nothing responds; left out of `conversations`.
    """

    conversations: Lines
    splits: Sequence[Split | None]
    keys: Sequence[bytes]
    problems: Sequence[Problem]
    one_utterance: Sequence[int]


def read(path: Path, *, valid_share: float, test_share: float, seed: int = 0) -> Corpus:
    """Read and split a file of conversations.

    Args:
        path: the file.
        valid_share: share of the conversations for validation, unless the lines name their splits.
        test_share: the same for testing.
        seed: another seed gives another split.

    Raises:
        DataError: the file cannot be read, a line is malformed, or too few conversations are left.
        ConfigError: the shares leave nothing to train on.
    """
    found = scan(path, seed=seed)
    if found.problems:
        first, count = found.problems[0], len(found.problems)
        which = "the only problem" if count == 1 else f"the first of {count} problems"
        raise DataError(path, f"{first.reason} ({which}; see python -m training.check {path})", first.line)
    return assemble(path, found, valid_share=valid_share, test_share=test_share)


def scan(path: Path, *, seed: int = 0) -> Scan:
    """Validate every line of a file.

    Args:
        path: the file.
        seed: another seed gives another split.

    Raises:
        DataError: the file cannot be read.
    """
    numbers, offsets = array("q"), array("q")
    splits: list[Split | None] = []
    keys: list[bytes] = []
    problems: list[Problem] = []
    one_utterance: list[int] = []
    line_of_id: dict[str, int] = {}
    first: Record | None = None
    with _opened(path) as file:
        version = _version(file)
        for number, offset, raw in _lines(file):
            try:
                record = parse_line(raw, number)
            except LineError as error:
                problems += [Problem(number, reason) for reason in error.reasons]
                continue
            first = first or record
            problems += _conflicts(record, first, line_of_id)
            if len(record.conversation.utterances) == 1:
                one_utterance.append(number)
                continue
            numbers.append(number)
            offsets.append(offset)
            splits.append(record.split)
            keys.append(_key(record.conversation, seed))
    lines = Lines(path, version, np.array(numbers), np.array(offsets))
    return Scan(lines, splits, keys, problems, one_utterance)


def _conflicts(record: Record, first: Record, line_of_id: dict[str, int]) -> Iterator[Problem]:
    """What is wrong with a line beside earlier ones; its id is added to those seen."""
    number, name = record.line, record.conversation.id
    if (earlier := line_of_id.setdefault(name, number)) != number:
        yield Problem(number, f"id {show(name)} is already that of line {earlier}")
    if (record.split is None) != (first.split is None):
        state = ("has none", "has one") if record.split is None else ("has one", "has none")
        yield Problem(number, f"split: this line {state[0]}, but line {first.line} {state[1]}")


def assemble(path: Path, found: Scan, *, valid_share: float, test_share: float) -> Corpus:
    """Split what `scan` found, problems aside.

    The split depends on what is said and on the seed, so that it survives reordering; exact copies of a conversation
    always share a split.

    Raises:
        DataError: a split would be empty.
        ConfigError: the shares leave nothing to train on.
    """
    named = bool(found.splits) and found.splits[0] is not None
    chosen = found.splits if named else _draw_splits(path, found, valid_share, test_share)
    parts = {
        name: found.conversations.take(np.array([i for i, split in enumerate(chosen) if split == name], dtype=np.int64))
        for name in SPLITS
    }
    if missing := [name for name in SPLITS if not len(parts[name])]:
        raise DataError(path, f"no conversation of two or more utterances has split {' or '.join(missing)}")
    count = len(found.one_utterance)
    notes = (f"{count} conversations of one utterance skipped: nothing responds in them",) if count else ()
    return Corpus(path.stem, parts["train"], parts["valid"], parts["test"], notes)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DataError(path, "is no regular file, and conversations are read more than once")
            yield file
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error


def _version(file: BinaryIO) -> tuple[int, ...]:
    """Changes with the file's content."""
    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size, status.st_mtime_ns


def _lines(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Numbers, offsets and bytes of lines that are not blank; of one beyond the limit no more than a byte over it."""
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


def _draw_splits(path: Path, found: Scan, valid_share: float, test_share: float) -> list[Split]:
    """A split for each conversation, by the order of the hashes of what is said."""
    if not (valid_share >= 0 and test_share >= 0 and valid_share + test_share < 1):
        raise ConfigError(
            "corpus.valid_share + corpus.test_share must be below 1 and neither negative, "
            f"are {valid_share} + {test_share}"
        )
    distinct = sorted(set(found.keys))
    n = len(distinct)
    if n < len(SPLITS):
        skipped = f" ({len(found.one_utterance)} with one utterance do not count)" if found.one_utterance else ""
        raise DataError(
            path, f"needs at least {len(SPLITS)} different conversations, one for each split, has {n}{skipped}"
        )
    valid = min(max(1, round(valid_share * n)), n - 2)
    test = min(max(1, round(test_share * n)), n - 1 - valid)
    held_out: dict[bytes, Split] = dict.fromkeys(distinct[:valid], "valid")
    held_out |= dict.fromkeys(distinct[valid : valid + test], "test")
    return [held_out.get(key, "train") for key in found.keys]


def _key(conversation: Conversation, seed: int) -> bytes:
    said = json.dumps([seed, *((u.speaker, u.text) for u in conversation.utterances)])
    return hashlib.blake2b(said.encode(), digest_size=16).digest()
