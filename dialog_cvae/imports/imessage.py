"""Chats of Apple's Messages in text, as the program imessage-exporter writes them, a file for each chat.

Open this if an export is not recognised or is read wrongly. A message is a line with its time, a line with its sender,
lines of text and a blank line. The program adds reactions, effects and paths of files as lines of the message, and
repeats each answer, indented, below the message that it answers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import dropwhile
from typing import Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports.message import HOUR, MEDIA, SYSTEM, Format, Log, Message, Options
from dialog_cvae.imports.people import listed
from dialog_cvae.imports.source import Source

_TIME: Final = r"[A-Z][a-z]{2} \d{2}, \d{4} [ \d]\d:\d{2}:\d{2} [AP]M"
_READ: Final = r" \(Read by [^\n]*\)"
_HEAD: Final = re.compile(rf"(?P<time>{_TIME})(?:{_READ})?(?P<event> [^\s(][^\n]*)?")
_REPEATED: Final = re.compile(rf" {{4}}{_TIME}(?:{_READ})?")
_FORM: Final = "%b %d, %Y %I:%M:%S %p"
_EDITS: Final = re.compile(rf"{_TIME} ")
_LAST_EDIT: Final = re.compile(r"\A(?:.*\n)?Edited [^\n:]{1,60} later: ", re.DOTALL)
_REACTIONS: Final = "Tapbacks:"
_DELETED: Final = "This message was deleted from the conversation!"
# Lines that the program adds to a message.
_ADDED: Final = re.compile(
    r"This message responded to an earlier message\.|(?:You|They|Me) unsent this message part[^\n]*!"
    r"|Sent with (?:Confetti|Echo|Fireworks|Balloons|Heart|Lasers|Shooting Star|Sparkles|Spotlight"
    r"|Slam|Loud|Gentle|Invisible Ink)|(?:Started sharing|Stopped sharing|Shared) location!"
    r"|Attachment missing!|(?:[~/.][^\n]*/)?attachments/[^\n]+|(?:\w+ )?Sticker from [^\n:]+: [^\n]*/[^\n]+",
    re.IGNORECASE,
)


class _Entry(NamedTuple):
    """A line with a time, and the lines below it."""

    line: int
    match: re.Match[str]
    more: list[str]


def recognise(source: Source) -> bool:
    """Whether the first line is a time, in the form of the program, and nothing else or what happened then."""
    lines = source.file.head_text.lstrip("\ufeff").splitlines()
    first = next((line for line in lines if line.strip()), "")
    return _HEAD.fullmatch(first) is not None


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a chat.

    Raises:
        DataError: there is no message, or a time does not exist.
    """
    said: Counter[str] = Counter()
    for entry in _entries(source, options):
        speaker, *lines = entry.more or [""]
        text = _text(lines)
        if entry.match["event"] or not speaker.strip():
            log.left_out[SYSTEM] += 1
        elif not text:
            log.left_out[MEDIA] += 1
        else:
            said[speaker] += 1
            yield Message("", speaker, text, _time(source.file.name, entry))
    log.notes.append(listed(said, anonymous=options.anonymous))


def _entries(source: Source, options: Options) -> Iterator[_Entry]:
    """The messages and events. Lines below the first repeated answer are left out: they may belong to it.

    Raises:
        DataError: the first line has no time.
    """
    entry: _Entry | None = None
    is_blank, is_repeated = True, False
    for number, line in enumerate(source.file.lines(options.encoding), 1):
        line = line.rstrip("\r\n").lstrip("\ufeff")
        match = _HEAD.fullmatch(line) if is_blank else None
        is_blank = not line.strip()
        if match is not None:
            if entry is not None:
                yield entry
            entry, is_repeated = _Entry(number, match, []), False
        elif entry is not None:
            is_repeated = is_repeated or _REPEATED.fullmatch(line) is not None
            if not is_repeated:
                entry.more.append(line)
        elif not is_blank:
            raise DataError(source.file.name, "the line has no time, as in 'Jan 15, 2024 10:05:00 AM'", number)
    if entry is None:
        raise DataError(source.file.name, "has no message of imessage-exporter")
    yield entry


def _text(lines: Sequence[str]) -> str:
    """The text of a message: empty for files and deleted messages; of one that was edited, the last text."""
    if _DELETED in lines[:1]:
        return ""
    kept: list[str] = []
    rest = iter(lines)
    for line in rest:
        if line.strip() == _REACTIONS:  # until the next blank line
            rest = dropwhile(str.strip, rest)
            next(rest, None)
        elif not _ADDED.fullmatch(line.strip()):
            kept.append(line)
    text = "\n".join(kept).strip()
    if _EDITS.match(text):
        text = _LAST_EDIT.sub("", _EDITS.sub("", text, count=1), count=1)
    return text


def _time(name: str, entry: _Entry) -> float:
    """The seconds of a message.

    Raises:
        DataError: there is no such date or time.
    """
    text = " ".join(entry.match["time"].split())
    try:
        return datetime.strptime(text, _FORM).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise DataError(name, f"there is no time {text!r}", entry.line) from None


FORMAT = Format("imessage", "a chat of imessage-exporter", recognise, read, merge=True, gap=6 * HOUR)
