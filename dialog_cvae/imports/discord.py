"""Discord channels as DiscordChatExporter writes them, in JSON or CSV.

Open this if an export is not recognised or is read wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports import delimited
from dialog_cvae.imports.json_stream import JsonStream, kind_of
from dialog_cvae.imports.message import BOTS, HOUR, MEDIA, SYSTEM, Format, Log, Message, Options
from dialog_cvae.imports.people import People
from dialog_cvae.imports.source import Source
from dialog_cvae.imports.times import seconds

_KEYS: Final = {"channel.id", "messages"}
_COLUMNS: Final = ("AuthorID", "Author", "Date", "Content")
_SAID: Final = {"Default", "Reply", "0", "19"}
# What DiscordChatExporter writes for system messages; CSV has no column for their type. Older versions name no one.
_SYSTEM: Final = re.compile(
    r"Joined the server\.|Pinned a message\.|Left the group\.|A poll has closed\."
    r"|(?:Added|Removed) a recipient\.|Added [^\n]{1,100} to the group\.|Removed [^\n]{1,100} from the group\."
    r"|Started a call that lasted \d[\d.,\s]{0,12} minutes?\.|(?:Started a|Created the) thread\."
    r"|Changed the channel (?:icon\.|name\.|name: [^\n]{1,100})"
)
NO_BOTS: Final = "the CSV does not say which messages are from bots, so they are kept: an export in JSON is better"


def read_json(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a channel in JSON.

    Raises:
        DataError: the file is malformed.
    """
    stream = JsonStream(source.file, options.encoding)
    people = People(log)
    topic: str | None = None
    for key in stream.members():
        if key == "channel":
            channel = stream.value()
            topic = _topic(channel)
        elif key == "messages":
            for number in stream.items():
                try:
                    message = _message(stream.value(), topic, people, options, log)
                except ValueError as error:
                    raise stream.error(f"message {number}: {error}") from None
                if message is not None:
                    yield message
        else:
            stream.skip()


def _topic(channel: object) -> str | None:
    """The name of a channel; None for direct messages, which are named after a person."""
    if not isinstance(channel, dict) or str(channel.get("type")).startswith("Direct"):
        return None
    name = channel.get("name")
    return name if isinstance(name, str) and name else None


def read_csv(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a channel in CSV.

    Raises:
        DataError: a column is missing, or a row is malformed.
    """
    table = delimited.rows(source, options, log)
    _, header = next(table, (0, []))
    if missing := [name for name in _COLUMNS if name not in header]:
        listed = ", ".join(_COLUMNS)
        raise DataError(source.file.name, f"has no column {missing[0]!r}; a CSV of a Discord channel has {listed}")
    people = People(log)
    if not options.bots:
        log.notes.append(NO_BOTS)
    places = [header.index(name) for name in _COLUMNS]
    for line, row in table:
        identity, author, date, content = (row[place] for place in places)
        try:
            time = seconds(date, options.time_format)
        except ValueError as error:
            raise DataError(source.file.name, str(error), line) from None
        if not content.strip():
            log.left_out[MEDIA] += 1
        elif _SYSTEM.fullmatch(content.strip()):
            log.left_out[SYSTEM] += 1
        else:
            yield Message("", people.name(identity, author or identity), content, time)


def _message(message: Any, topic: str | None, people: People, options: Options, log: Log) -> Message | None:
    """A message, or None if it is left out.

    Raises:
        ValueError: it is malformed.
    """
    if not isinstance(message, dict):
        raise ValueError(f"must be an object, is {kind_of(message)}")
    author = message.get("author") or {}
    if not isinstance(author, Mapping):
        raise ValueError(f"author must be an object, is {kind_of(author)}")
    if str(message.get("type", "Default")) not in _SAID:
        log.left_out[SYSTEM] += 1
        return None
    if author.get("isBot") and not options.bots:
        log.left_out[BOTS] += 1
        return None
    name = author.get("nickname") or author.get("name") or author.get("id") or ""
    content = message.get("content") or ""
    if not isinstance(name, str):
        raise ValueError(f"author.name must be text, is {kind_of(name)}")
    if not isinstance(content, str):
        raise ValueError(f"content must be text, is {kind_of(content)}")
    if not content.strip():
        log.left_out[MEDIA] += 1
        return None
    return Message("", people.name(author.get("id"), name), content, seconds(message.get("timestamp")), topic)


def _is_csv(source: Source) -> bool:
    first = next(iter(source.file.head_text.lstrip("\ufeff").splitlines()), "")
    return set(_COLUMNS) <= {name.strip('" ') for name in first.split(",")}


JSON_FORMAT = Format(
    "discord",
    "a Discord channel",
    lambda source: source.file.paths >= _KEYS,
    read_json,
    interleaved=True,
    merge=True,
    gap=6 * HOUR,
)
CSV_FORMAT = Format(
    "discord-csv", "a Discord channel (CSV)", _is_csv, read_csv, interleaved=True, merge=True, gap=6 * HOUR
)
