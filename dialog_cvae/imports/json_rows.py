"""Messages in JSON, an object each: one a line, a list of them, or a list for each conversation.

Open this if such a file is not recognised or is read wrongly. The keys of a message are read as the columns of a table;
a key within another one has both names, as in `author.name`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.column_names import HOLDER_IDS, NAMES, SURE_CONVERSATIONS, looks_like_messages, spelling
from dialog_cvae.imports.json_stream import JsonStream, kind_of, records
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.row_transcripts import COLUMNS, transcript_column
from dialog_cvae.imports.source import File, Source
from dialog_cvae.imports.tables import SAMPLE, messages_of_table

Row = tuple[str, dict[str, Any]]  # the place in the file, such as "line 3", and the fields of a message
_FEW: Final = 20  # objects from which a text with whole conversations is recognised
_DEEPEST: Final = 3  # levels of keys within a message
_LIST: Final = "(list)"  # the column that holds the name of the list, where each list is a conversation
_TYPED: Final = re.compile(r"(?:\.\$\w+)+$")  # the end of the path of a value with its type


def recognise(source: Source) -> bool:
    """Whether there are objects with a speaker and a text, or with a whole conversation in a text."""
    return _lists_around(source.file) is not None or _has_transcripts(source.file)


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """All messages.

    Raises:
        DataError: the file is malformed, keys are missing, or a value is not text.
    """
    file = source.file
    rows = _rows(file, options.encoding, log)
    first = list(islice(rows, SAMPLE))
    header = _header([row for _, row in first])
    if _LIST in header and not any(spelling(key) in SURE_CONVERSATIONS for key in header):
        options = replace(options, columns={"conversation": _LIST, **options.columns})
        log.notes.append("each list of messages is a conversation")
    cells = ((place, [row.get(key) for key in header]) for place, row in chain(first, rows))
    yield from messages_of_table(file.name, header, cells, options, log)


def _header(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys of the first messages, without those that are null where other messages have an object."""
    filled = {key for row in rows for key, value in row.items() if value is not None}
    of_objects = {key[:place] for key in filled for place, sign in enumerate(key) if sign == "."}
    return sorted({key for row in rows for key in row if key in filled or key not in of_objects})


def _lists_around(file: File) -> list[str] | None:
    """The keys of the lists around a message, at most two, the outermost first; a list without a key has an empty one.

    The first has the keys of two objects, joined by a dot, if the file is an object of objects. None if there are no
    messages, or only deeper ones.
    """
    prefixes = {path[: path.rfind("[].") + 3] if "[]." in path else "" for path in file.paths}
    for prefix in sorted(prefixes, key=lambda each: (each.count("[]"), each)):
        names = {_TYPED.sub("", path.removeprefix(prefix)) for path in file.paths if path.startswith(prefix)}
        lists = prefix.replace("[][].", "[].[].").split("[].")[:-1]
        most_dots = 1 if len(lists) == 1 else 0
        is_read = len(lists) == prefix.count("[]") <= 2 and "".join(lists).count(".") <= most_dots
        if is_read and looks_like_messages(_with_values(names)):
            return lists
    return None


def _has_transcripts(file: File) -> bool:
    keys = {path.removeprefix("[].") for path in file.paths}
    if not any(spelling(key) in (*COLUMNS, *NAMES["text"]) for key in keys):
        return False
    try:
        first = [record for _, record in islice(records(file, None), _FEW)]
    except DataError:
        return False
    header = sorted({key for record in first for key in record})
    return transcript_column(file.name, header, Options(), lambda name: (each.get(name) for each in first)) is not None


def _with_values(names: set[str]) -> set[str]:
    """The keys that hold neither an object nor a list of objects."""
    return {name for name in names if not any(each.startswith((f"{name}.", f"{name}[]")) for each in names)}


def _rows(file: File, encoding: str | None, log: Log) -> Iterator[Row]:
    """The fields of each message.

    A single object with one list of messages is like a table, in which several conversations may alternate. Of other
    objects and lists with messages, each has one conversation. If an object has two lists of messages, only one is
    read, because the other one may be another form of it; this is noted.

    Raises:
        DataError: the file is malformed.
    """
    lists = _lists_around(file) or []
    only = _only_list(file, encoding) if len(lists) == 1 and lists[0] else None
    if only is not None or lists in ([], [""]):
        for place, record in records(file, encoding, only):
            yield place, _flat(record)
        return
    key = lists[-1].rpartition(".")[2]
    for number, (place, name, holder) in enumerate(_holders(file, encoding, lists), 1):
        held = holder if isinstance(holder, list) else holder.get(key)
        if not isinstance(held, list | None):
            raise DataError(file.name, f"{place}: {key!r} must be a list, is {kind_of(held)}")
        if number == 1 and isinstance(holder, dict) and (others := sorted(_names_of_lists(holder) - {key})):
            log.notes.append(f"of the lists of messages in an object only {key!r} is read, not {', '.join(others)}")
        common = _common(holder, number, name)
        for index, message in enumerate(held or (), 1):
            where = f"{place}, message {index}"
            if not isinstance(message, dict):
                raise DataError(file.name, f"{where} must be an object, is {kind_of(message)}")
            yield where, {**_flat(message), **common}


def _only_list(file: File, encoding: str | None) -> str | None:
    """The key of the one list of messages in a file that is one object; None for any other file."""
    stream, found = JsonStream(file, encoding), []
    for key in stream.members():
        if stream.peek() != "[":
            stream.skip()
            continue
        first = [value for number in stream.items() if (value := stream.value()) and number <= SAMPLE]
        if _are_messages(first):
            found.append(key)
    return found[0] if len(found) == 1 and not stream.peek() else None


def _holders(file: File, encoding: str | None, lists: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
    """The objects and lists that have the messages of a conversation, each with its place and its key if it has one."""
    stream = JsonStream(file, encoding)
    if lists == ["", ""]:
        for number in stream.items():
            yield f"element {number}", "", stream.value()
        stream.end()
    elif len(lists) == 2 and lists[0]:
        yield from _in_lists(stream, *lists)
    elif len(lists) == 2 or _has_several_objects(file, encoding):
        if "." in lists[-1]:
            raise DataError(
                file.name, f"its lists of messages {lists[-1]!r} are too deep: move each into its outer object"
            )
        for place, record in records(file, encoding):
            yield place, "", record
    else:
        yield from _in_members(stream, lists[0].rpartition(".")[2])


def _in_lists(stream: JsonStream, known: str, key: str) -> Iterator[tuple[str, str, Any]]:
    """The holders in the lists of one object or more, such as `train` and `test`.

    Args:
        stream: the file.
        known: the list that is known to have them; in any other list, what has no messages is skipped.
        key: key of the messages in a holder; empty if it is a list.
    """
    number = 0
    while stream.peek():
        number += 1
        is_held = False
        for name in stream.members():
            if stream.peek() != "[":
                stream.skip()
                continue
            is_held = is_held or name == known
            above = name if number == 1 else f"object {number}, {name}"
            for place, holder in _in_list(stream, above, key, is_known=name == known):
                is_held = True
                yield place, "", holder
        if not is_held:
            raise stream.error(f"object {number} has no list {known!r}: remove it, or put it into another file")


def _in_list(stream: JsonStream, above: str, key: str, *, is_known: bool) -> Iterator[tuple[str, Any]]:
    for index in stream.items():
        holder, place = stream.value(), f"{above}, element {index}"
        if is_known and not isinstance(holder, dict if key else list):
            raise stream.error(f"{place} must be {'an object' if key else 'a list'}, is {kind_of(holder)}")
        held = holder.get(key) if isinstance(holder, dict) else holder
        if is_known or (isinstance(holder, dict) == bool(key) and _are_messages(held)):
            yield place, holder


def _in_members(stream: JsonStream, key: str) -> Iterator[tuple[str, str, Any]]:
    """The holders in an object: its lists of messages, and its objects with one; of several in an object, each list."""
    for name in stream.members():
        value = stream.value()
        inner = _names_of_lists(value) if isinstance(value, dict) else set()
        if _are_messages(value) or inner == {key}:
            yield f"key {name!r}", name, value
            continue
        for each in (each for each in value if each in inner) if inner else ():
            yield f"key {name!r}, {each!r}", f"{name}, {each}", value[each]


def _has_several_objects(file: File, encoding: str | None) -> bool:
    stream = JsonStream(file, encoding)
    for _ in stream.members():
        stream.skip()
    return bool(stream.peek())


def _names_of_lists(holder: Mapping[str, Any]) -> set[str]:
    """The keys of the lists of messages in an object."""
    return {key for key, value in holder.items() if _are_messages(value)}


def _are_messages(value: object) -> bool:
    """Whether a value is a list whose first objects, together, have a speaker and a text."""
    objects = [each for each in value[:SAMPLE] if isinstance(each, dict)] if isinstance(value, list) else []
    return looks_like_messages({key for each in objects for key in _flat(each)})


def _common(holder: Mapping[str, Any] | Sequence[Any], number: int, name: str) -> dict[str, Any]:
    """What all messages of a conversation share: its name, and its topic if it has one."""
    fields = holder if isinstance(holder, Mapping) else {}
    spelt = {spelling(key): value for key, value in fields.items() if isinstance(value, str | int)}
    name = name or str(next((spelt[each] for each in HOLDER_IDS if each in spelt), ""))
    topic = next((spelt[each] for each in NAMES["topic"] if each in spelt), None)
    return {_LIST: f"{number}\0{name}"} | ({} if topic is None else {"topic": topic})


def _flat(message: Mapping[str, Any], above: str = "", depth: int = 1) -> dict[str, Any]:
    """The fields of an object and of the objects within it, whose keys have the outer key and a dot before them.

    A value with its type, as MongoDB writes it in `{"$date": ...}`, is that value.
    """
    found: dict[str, Any] = {}
    for key, value in message.items():
        while isinstance(value, dict) and len(value) == 1 and (name := next(iter(value))).startswith("$"):
            value = value[name]
        if isinstance(value, dict) and depth < _DEEPEST:
            found |= _flat(value, f"{above}{key}.", depth + 1)
        else:
            found[f"{above}{key}"] = value
    return found


FORMAT = Format("messages", "messages in JSON, an object each", recognise, read, interleaved=True)
