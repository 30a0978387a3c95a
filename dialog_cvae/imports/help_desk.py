"""Exports of help desks in JSON, a ticket in each object: what their readers share.

Open this to change which file is such an export. `intercom`, `freshdesk`, `zendesk`, `help_scout`, `livechat`,
`chatwoot` and `crisp` say what a ticket holds. The speakers are `customer` and `agent`, because a model learns roles
better than persons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports.html_text import without_html
from dialog_cvae.imports.json_stream import kind_of, records
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.source import Source
from dialog_cvae.imports.times import seconds

CUSTOMER: Final = "customer"
AGENT: Final = "agent"
BOT: Final = "bot"  # the speaker of automatic messages, if they are kept


class Said(NamedTuple):
    """A message of a ticket.

    Attributes:
        speaker: who wrote it.
        text: what it says, which may be HTML.
        time: when, as in the file.
    """

    speaker: str
    text: str
    time: object


class Ticket(NamedTuple):
    """A conversation of a help desk.

    Attributes:
        name: its id or number.
        topic: its subject; empty if it has none.
        said: its messages, in any order.
    """

    name: object
    topic: str
    said: Iterator[Said]


def objects(holder: Mapping[str, Any], key: str, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a list, each with its place, such as "comments[2]"; none if the list is missing.

    Args:
        holder: the object that has the list.
        key: the key of the list.
        where: the place of the holder, with a dot at its end; empty for the ticket itself.

    Raises:
        ValueError: it is not a list of objects.
    """
    held = holder.get(key)
    if not isinstance(held, list | None):
        raise ValueError(f"{where}{key} must be a list, is {kind_of(held)}")
    for index, each in enumerate(held or ()):
        place = f"{where}{key}[{index}]"
        if not isinstance(each, Mapping):
            raise ValueError(f"{place} must be an object, is {kind_of(each)}")
        yield place, each


def text_of(holder: Mapping[str, Any], keys: Sequence[str], where: str) -> str:
    """The first text that is not blank among some fields; empty if there is none.

    Raises:
        ValueError: a field is not text.
    """
    for key in keys:
        value = holder.get(key)
        if not isinstance(value, str | None):
            raise ValueError(f"{where}.{key} must be text, is {kind_of(value)}")
        if value and value.strip():
            return value
    return ""


def inner(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object in a field; an empty one if the field holds anything else."""
    value = holder.get(key)
    return value if isinstance(value, Mapping) else {}


def shown(value: object) -> str:
    """A name or number as text; empty for anything else."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def desk_format(
    name: str,
    title: str,
    marks: Sequence[Sequence[str]],
    ticket: Callable[[Mapping[str, Any], Options, Log], Ticket],
    word: str = "",
) -> Format:
    """The format of a help desk's export: a ticket, a list of tickets, one a line, or a list of them in an object.

    Args:
        name: value of `--format`.
        title: the format's name in a sentence.
        marks: paths of keys in a ticket; a file is recognised if it has all paths of one of the groups.
        ticket: reads a ticket; it, or its messages, raise ValueError if the ticket is malformed.
        word: what the beginning of the file must have, too, if other exports have the same keys.
    """

    def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
        file, prefix = source.file, _prefix(source, marks)
        if prefix is None:
            raise DataError(file.name, f"has no tickets with {' or '.join(', '.join(group) for group in marks)}")
        log.notes.append(f"speakers are {CUSTOMER} and {AGENT}")
        for number, (place, record) in enumerate(records(file, options.encoding, _list_of(prefix)), 1):
            try:
                found = ticket(record, options, log)
                topic = without_html(found.topic, Log()) or None
                for speaker, text, time in found.said:
                    conversation = f"{number}\0{shown(found.name)}"
                    yield Message(conversation, speaker, without_html(text, log), seconds(time), topic)
            except ValueError as error:
                raise DataError(file.name, f"{place}: {error}") from None

    def recognise(source: Source) -> bool:
        return _prefix(source, marks) is not None and word in source.file.head_text

    return Format(name, title, recognise, read, interleaved=True)


def _prefix(source: Source, marks: Sequence[Sequence[str]]) -> str | None:
    """What comes before the keys of a ticket in the paths of a file, such as "tickets[]."; None without tickets."""
    paths = source.file.paths
    for group in marks:
        for path in sorted(paths):
            prefix = path.removesuffix(group[0])
            is_one = prefix in ("", "[].") or (prefix.endswith("[].") and prefix.count("[]") == 1)
            if path.endswith(group[0]) and is_one and all(prefix + mark in paths for mark in group):
                return prefix
    return None


def _list_of(prefix: str) -> str | None:
    """The keys of the list of tickets, joined by dots; None if the tickets are the file, or its elements."""
    return prefix.removesuffix("[].") or None
