"""Conversations in JSON as lists of texts, whose speakers take turns, or as lists of pairs of a speaker and a text.

Open this if such a file is not recognised or is read wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports.column_names import HOLDER_IDS, NAMES, looks_like_messages
from dialog_cvae.imports.html_text import without_html
from dialog_cvae.imports.json_stream import JsonStream, kind_of, records
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.source import File, Source
from dialog_cvae.imports.turns import LISTS, PREFIXES

_SPEAKERS: Final = ("A", "B")  # of lists of texts
_FEW: Final = 20  # conversations from which the format is recognised
_MOST_WORDS: Final = 3  # of a name with which the rows of a table begin


class _List(NamedTuple):
    """A conversation: its place in the file, its name, its topic, and its turns, which may be anything."""

    place: str
    name: str
    topic: str | None
    turns: Sequence[Any]


def recognise(source: Source) -> bool:
    """Whether the first conversations are such lists."""
    try:
        first = list(islice(_lists(source.file, None), _FEW))
    except DataError:
        return False
    turns = [turn for each in first for turn in each.turns]
    found = [said for turn in turns if (said := _said(turn, 0)) is not None]
    is_said = any(" " in text or not text.isascii() for _, text in found)  # else single words, such as tags
    is_table = not source.file.paths and _is_table([each.turns for each in first])
    return len(turns) > len(first) and len(found) == len(turns) and is_said and not is_table


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of all lists.

    Raises:
        DataError: the file is malformed, or holds something else.
    """
    alternate = 0
    for number, each in enumerate(_lists(source.file, options.encoding), 1):
        for index, turn in enumerate(each.turns):
            said = _said(turn, index)
            if said is None:
                reason = f"{each.place}: turn {index + 1} must be text, or a speaker and a text, is {kind_of(turn)}"
                raise DataError(source.file.name, reason)
            alternate += isinstance(turn, str)
            if alternate == 1 and isinstance(turn, str):
                log.notes.append("the texts of a conversation are by A and B in turn")
            yield Message(f"{number}\0{each.name}", said[0], without_html(said[1], log), topic=each.topic)


def _is_table(rows: Sequence[Sequence[Any]]) -> bool:
    """Whether lists are rows of a table: the first names its columns, or they begin with few different short names."""
    if not all(row and len(row) == len(rows[0]) and isinstance(row[0], str) for row in rows):
        return False
    names = {row[0] for row in rows}
    has_names = 2 * len(names) <= len(rows) and all(len(name.split()) <= _MOST_WORDS for name in names)
    return has_names or looks_like_messages(map(str, rows[0]))


def _lists(file: File, encoding: str | None) -> Iterator[_List]:
    """The lists of a file: its elements, or a list in each of its objects.

    Raises:
        DataError: the file has another form.
    """
    if file.head_text.lstrip("\ufeff \t\r\n").startswith("["):
        stream = JsonStream(file, encoding)
        if not file.paths:
            for number in stream.items():
                turns = stream.value()
                if not isinstance(turns, list):
                    raise stream.error(f"element {number} must be a list, is {kind_of(turns)}")
                yield _List(f"element {number}", "", None, turns)
            stream.end()
            return
    found = ((prefix, key) for prefix in PREFIXES for key in LISTS if _holds_values(file, f"{prefix}{key}"))
    prefix, key = next(found, (None, ""))
    if prefix is None:
        raise DataError(file.name, f"has no list of texts, such as {LISTS[0]}")
    for place, record in records(file, encoding, PREFIXES[prefix]):
        turns = record.get(key)
        if not isinstance(turns, list):
            raise DataError(file.name, f"{place}: {key} must be a list, is {kind_of(turns)}")
        name = next((record[each] for each in HOLDER_IDS if isinstance(record.get(each), str | int)), "")
        topic = next((record[each] for each in NAMES["topic"] if isinstance(record.get(each), str)), None)
        yield _List(place, str(name), topic, turns)


def _holds_values(file: File, path: str) -> bool:
    """Whether there is such a key, which holds no objects."""
    return path in file.paths and not any(each.startswith((f"{path}.", f"{path}[]")) for each in file.paths)


def _said(turn: object, index: int) -> tuple[str, str] | None:
    """The speaker and the text of a turn; None if it is neither a text nor a pair of both."""
    if isinstance(turn, str):
        return _SPEAKERS[index % len(_SPEAKERS)], turn
    if isinstance(turn, list) and len(turn) == 2 and isinstance(turn[0], str | int) and isinstance(turn[1], str):
        return str(turn[0]), turn[1]
    return None


FORMAT = Format("texts", "lists of texts, or of speakers and texts", recognise, read)
