"""WhatsApp's text exports, from Android and iOS, in many languages.

Open `whatsapp_lines` (date and clock) and `whatsapp_words` (the program's own words) to add a language, and
`whatsapp_speakers` if a name is read wrongly.

Android writes `12/31/23, 11:59 PM - Ann: text`, iOS `[31.12.23, 23:59:58] Ann: text`; order, separators and clock
follow the telephone's language. A line without a time continues the message before it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports import whatsapp_lines as lines
from dialog_cvae.imports import whatsapp_words as words
from dialog_cvae.imports.date_order import ORDERS, DateOrders
from dialog_cvae.imports.message import HOUR, MEDIA, SYSTEM, Format, Log, Message, Options
from dialog_cvae.imports.people import listed
from dialog_cvae.imports.privacy import mention_remover
from dialog_cvae.imports.source import Source
from dialog_cvae.imports.whatsapp_speakers import Heads, Speakers

UNKNOWN: Final = "lines that begin with a time in no known form, kept as text"
PASTED: Final = "lines of another chat that someone pasted, kept as text"


class _Entry(NamedTuple):
    """A line with its time, and the lines that continue it."""

    line: int
    match: re.Match[str]
    more: list[str]

    @property
    def continued(self) -> bool:
        """Whether lines continue it."""
        return bool(self.more)


def recognise(source: Source) -> bool:
    """Whether one of the first lines begins with date and time, followed by text."""
    if source.file.paths:
        return False
    first = source.file.head_text.splitlines()[:20]
    found = [match for line in first if (match := lines.stamped(line))]
    return bool(found) and any(match["rest"] for match in found)


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a chat; the file is read twice.

    Raises:
        DataError: there is no message, a date does not exist, dates contradict each other, or the time in a speaker's
            line has an unknown form.
    """
    # Find the order of day and month, from all dates, and the speakers.
    orders = DateOrders(source.file.name)
    heads = Heads()
    unknown: list[tuple[int, str, str]] = []
    for entry in _entries(source, options, Log(), unknown):
        orders.add(entry.line, *(int(entry.match[name]) for name in "abc"), twelve=bool(lines.half(entry.match)))
        heads.add(entry.match["rest"], continued=entry.continued)
    speakers = heads.speakers()
    _check(source.file.name, unknown, speakers, log)
    without_mentions = mention_remover(speakers.names()) if options.anonymous else (lambda text: text)
    order, reason = (options.date_order, "as --date-order says") if options.date_order else orders.decided()
    log.notes.append(f"dates are read {ORDERS[order]} ({reason})")
    # Read the messages.
    said: Counter[str] = Counter()
    for entry in _entries(source, options, log):
        speaker, text = _parted(entry, speakers)
        if speaker is None:
            log.left_out[SYSTEM] += 1
        elif not text:
            log.left_out[MEDIA] += 1
        else:
            said[speaker] += 1
            yield Message("", speaker, without_mentions(text), _time(source.file.name, entry, order))
    log.notes.append(listed(said, anonymous=options.anonymous))


def _check(name: str, unknown: Sequence[tuple[int, str, str]], speakers: Speakers, log: Log) -> None:
    """Count the lines whose time has an unknown form; they stay part of the text.

    Raises:
        DataError: such a line is a speaker's, so it is a message.
    """
    for number, time, rest in unknown:
        if speakers.parted(rest, continued=False)[0] is not None:
            explanation = "is in no known form; put a space before the line if it is text"
            raise DataError(name, f"the time {time!r} {explanation}", number)
    if unknown:
        log.changed[UNKNOWN] += len(unknown)


def _entries(
    source: Source, options: Options, log: Log, unknown: list[tuple[int, str, str]] | None = None
) -> Iterator[_Entry]:
    """The messages with their lines. A line framed in another way than the file's is text: someone pasted a chat.

    Args:
        source: the chat.
        options: have the encoding.
        log: counts pasted lines.
        unknown: receives number, time and rest of lines that begin like a message, with a time of unknown form.

    Raises:
        DataError: there is no message, or there is a line before the first message.
    """
    entry: _Entry | None = None
    for number, line in enumerate(source.file.lines(options.encoding), 1):
        line = line.rstrip("\r\n")
        match = lines.stamped(line)
        if match and (entry is None or lines.is_alike(match, entry.match)):
            if entry is not None:
                yield entry
            entry = _Entry(number, match, [])
        elif entry is not None:
            if unknown is not None and (found := lines.unknown(line, entry.match)):
                unknown.append((number, *found))
            entry.more.append(line)
            log.changed[PASTED] += match is not None
        elif line.strip(words.MARKS + " \t"):
            raise DataError(source.file.name, "not a message of WhatsApp: the line has no time", number)
    if entry is None:
        raise DataError(source.file.name, "has no message of WhatsApp")
    yield entry


def _parted(entry: _Entry, speakers: Speakers) -> tuple[str | None, str]:
    """Speaker and text. The speaker is None in a line of the program; the text is empty for a picture or deletion."""
    speaker, first = speakers.parted(entry.match["rest"], continued=entry.continued)
    if speaker is None:
        return None, ""
    return speaker, words.said("\n".join([first, *entry.more]), is_ios=entry.match["bracket"] is not None)


def _time(name: str, entry: _Entry, order: str) -> float:
    """The seconds of a line.

    Raises:
        DataError: there is no such date or time.
    """
    try:
        return lines.seconds(entry.match, order)
    except ValueError as error:
        raise DataError(name, str(error), entry.line) from None


FORMAT = Format("whatsapp", "a WhatsApp chat", recognise, read, merge=True, gap=6 * HOUR)
