"""A user's own conversations: a UTF-8 text file with one JSON object a line, as `dialog_cvae.data.jsonl_line` has it.

`scan` finds every problem of a file and `assemble` makes a corpus of what is left; `read` and the command line
`training.check` are both made of these two, so that they cannot disagree.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dialog_cvae.data.jsonl_line import MAX_LINE_BYTES, SPLITS, LineError, Record, Split, parse_line, show
from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.types import Conversation, Corpus


class Problem(NamedTuple):
    """What is wrong on a 1-based line."""

    line: int
    reason: str


class Scan(NamedTuple):
    """What a file holds.

    Attributes:
        records: conversations with something to respond to, in the file's order.
        problems: everything wrong, in the file's order.
        one_utterance: lines with a single utterance, to which nothing responds; left out of `records`.
    """

    records: Sequence[Record]
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
    found = scan(path)
    if found.problems:
        first, count = found.problems[0], len(found.problems)
        which = "the only problem" if count == 1 else f"the first of {count} problems"
        raise DataError(path, f"{first.reason} ({which}; see python -m training.check {path})", first.line)
    return assemble(path, found, valid_share=valid_share, test_share=test_share, seed=seed)


def scan(path: Path) -> Scan:
    """Validate every line of a file.

    Raises:
        DataError: the file cannot be read.
    """
    records: list[Record] = []
    problems: list[Problem] = []
    one_utterance: list[int] = []
    line_of_id: dict[str, int] = {}
    first: Record | None = None
    for number, raw in _lines(path):
        try:
            record = parse_line(raw, number)
        except LineError as error:
            problems += [Problem(number, reason) for reason in error.reasons]
            continue
        first = first or record
        name = record.conversation.id
        if (earlier := line_of_id.setdefault(name, number)) != number:
            problems.append(Problem(number, f"id {show(name)} is already that of line {earlier}"))
        if (record.split is None) != (first.split is None):
            state = ("has none", "has one") if record.split is None else ("has one", "has none")
            problems.append(Problem(number, f"split: this line {state[0]}, but line {first.line} {state[1]}"))
        if len(record.conversation.utterances) == 1:
            one_utterance.append(number)
        else:
            records.append(record)
    return Scan(records, problems, one_utterance)


def assemble(path: Path, found: Scan, *, valid_share: float, test_share: float, seed: int = 0) -> Corpus:
    """Split what `scan` found, problems aside.

    The split depends on what is said and on the seed, so that it survives reordering; exact copies of a conversation
    always share a split.

    Raises:
        DataError: a split would be empty.
        ConfigError: the shares leave nothing to train on.
    """
    splits = [record.split for record in found.records]
    if splits and splits[0] is not None:
        chosen: Sequence[Split | None] = splits
    else:
        chosen = _draw_splits(path, found, valid_share, test_share, seed)
    parts = {
        name: [record.conversation for record, split in zip(found.records, chosen, strict=True) if split == name]
        for name in SPLITS
    }
    if missing := [name for name in SPLITS if not parts[name]]:
        raise DataError(path, f"no conversation of two or more utterances has split {' or '.join(missing)}")
    count = len(found.one_utterance)
    notes = (f"{count} conversations of one utterance skipped: nothing responds in them",) if count else ()
    return Corpus(path.stem, parts["train"], parts["valid"], parts["test"], notes)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that are not blank; of one beyond the limit no more than a byte over it."""
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                rest = raw
                while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
                    rest = file.readline(MAX_LINE_BYTES + 1)
                if raw.strip():
                    yield number, raw
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error


def _draw_splits(path: Path, found: Scan, valid_share: float, test_share: float, seed: int) -> list[Split]:
    """A split for each record, by the order of the hashes of what is said."""
    if not (valid_share >= 0 and test_share >= 0 and valid_share + test_share < 1):
        raise ConfigError(
            "corpus.valid_share + corpus.test_share must be below 1 and neither negative, "
            f"are {valid_share} + {test_share}"
        )
    keys = [_fingerprint(record.conversation, seed) for record in found.records]
    distinct = sorted(set(keys))
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
    return [held_out.get(key, "train") for key in keys]


def _fingerprint(conversation: Conversation, seed: int) -> bytes:
    said = json.dumps([seed, *((u.speaker, u.text) for u in conversation.utterances)])
    return hashlib.blake2b(said.encode(), digest_size=16).digest()
