"""Messages in JSON, an object each: one a line, a list of them, or a list within each conversation.

Open this if such a file is not recognised or is read wrongly. The keys of a message are read as the columns of a table;
a key within another one has both names, as in `author.name`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports.columns import NAMES, chosen_columns, looks_like_messages, spelling
from dialog_cvae.imports.json_stream import JsonStream, kind_of, records
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.source import File, Source
from dialog_cvae.imports.table_rows import TableRows

Row = tuple[str, dict[str, Any]]  # its place in the file, such as "line 3", and its fields
_SAMPLE: Final = 200  # messages whose values help to choose the columns
_DEEPEST: Final = 3  # levels of keys within a message
_TOPIC: Final = "topic"
_IDS: Final = ("id", *NAMES["conversation"])  # names of a conversation's name, in the object that has its messages


class Shape(NamedTuple):
    """Where the messages are.

    Attributes:
        within: key of the list of records in the object that is the whole file; None if they are one a line, or a list.
        messages: key of the list of messages in each record, which is a conversation; None if records are messages.
    """

    within: str | None
    messages: str | None


def recognise(source: Source) -> bool:
    """Whether there are objects with a speaker and a text."""
    return _prefix(source.file) is not None


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """All messages.

    Raises:
        DataError: the file is malformed, keys are missing, or a value is not text.
    """
    file = source.file
    shape = _shape(file, options.encoding)
    if shape.messages is not None:  # the list names the conversation, unless the user says otherwise
        options = replace(options, columns={"conversation": shape.messages, **options.columns})
        log.notes.append(f"each list {shape.messages!r} is a conversation")
    rows = _rows(file, options.encoding, shape)
    first = list(islice(rows, _SAMPLE))
    header = sorted({key for _, row in first for key in row})
    chosen = chosen_columns(file.name, header, options, log, lambda column: (row.get(column) for _, row in first))
    cells = ((place, [row.get(key) for key in header]) for place, row in chain(first, rows))
    yield from TableRows(file.name, header, chosen, options, log).messages(cells)


def _prefix(file: File) -> str | None:
    """What comes before the keys of the messages in the paths of a file, such as "[]." for a list; the shortest."""
    prefixes = {path[: path.rfind("[].") + 3] if "[]." in path else "" for path in file.paths}
    for prefix in sorted(prefixes, key=lambda each: (each.count("[]."), each)):
        keys = {path.removeprefix(prefix) for path in file.paths if path.startswith(prefix)}
        single = {key for key in keys if not any(each.startswith((f"{key}.", f"{key}[]")) for each in keys)}
        lists = prefix.split("[].")[:-1]
        is_reached = len(lists) <= 2 and all(lists[1:]) and not re.search(r"[.\[]", "".join(lists))
        if is_reached and looks_like_messages(single):
            return prefix
    return None


def _shape(file: File, encoding: str | None) -> Shape:
    """Where the messages of a file are.

    A list within an object holds the messages of a conversation if the file has several such objects. A single object
    is like a table, in which several conversations may alternate.
    """
    lists = (_prefix(file) or "").split("[].")[:-1]
    if len(lists) == 2:
        return Shape(lists[0] or None, lists[1])
    if lists and lists[0]:
        return Shape(None, lists[0]) if _has_several_objects(file, encoding) else Shape(lists[0], None)
    return Shape(None, None)


def _has_several_objects(file: File, encoding: str | None) -> bool:
    stream = JsonStream(file, encoding)
    for _ in stream.members():
        stream.skip()
    return bool(stream.peek())


def _rows(file: File, encoding: str | None, shape: Shape) -> Iterator[Row]:
    """The fields of each message.

    Raises:
        DataError: the file is malformed.
    """
    for number, (place, record) in enumerate(records(file, encoding, shape.within), 1):
        if shape.messages is None:
            yield place, _flat(record)
            continue
        held = record.get(shape.messages)
        if not isinstance(held, list | None):
            raise DataError(file.name, f"{place}: {shape.messages!r} must be a list, is {kind_of(held)}")
        common = _common(record, shape.messages, number)
        for index, message in enumerate(held or (), 1):
            where = f"{place}, {shape.messages}, element {index}"
            if not isinstance(message, dict):
                raise DataError(file.name, f"{where} must be an object, is {kind_of(message)}")
            yield where, {**_flat(message), **common}


def _common(record: Mapping[str, Any], messages: str, number: int) -> dict[str, Any]:
    """What all messages of a record share: the conversation, under the key of the list, and the topic if it has one."""
    spelt = {spelling(key): value for key, value in record.items() if isinstance(value, str | int)}
    name = next((spelt[each] for each in _IDS if each in spelt), "")
    topic = next((spelt[each] for each in NAMES[_TOPIC] if each in spelt), None)
    return {messages: f"{number}\0{name}"} | ({} if topic is None else {_TOPIC: topic})


def _flat(message: Mapping[str, Any], above: str = "", depth: int = 1) -> dict[str, Any]:
    """The fields of an object and of the objects within it, whose keys have the outer key and a dot before them."""
    found: dict[str, Any] = {}
    for key, value in message.items():
        if isinstance(value, dict) and depth < _DEEPEST:
            found |= _flat(value, f"{above}{key}.", depth + 1)
        else:
            found[f"{above}{key}"] = value
    return found


FORMAT = Format("messages", "messages in JSON, an object each", recognise, read, interleaved=True)
