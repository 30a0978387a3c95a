"""WhatsApp's text exports, of Android and iOS, in many languages.

Android writes `12/31/23, 11:59 PM - Ann: text`, iOS `[31.12.23, 23:59:58] Ann: text`; order, separators and clock
follow the telephone's language. A line without a time continues the message before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports.date_order import DateOrders
from dialog_cvae.imports.message import HOUR, MEDIA, SYSTEM, Format, Log, Message, Options
from dialog_cvae.imports.privacy import mention_remover
from dialog_cvae.imports.source import Source

MARKS: Final = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
_MORNING: Final = (
    "am",
    "a.m.",
    "a. m.",
    "a.\u00a0m.",
    "上午",
    "午前",
    "오전",
    "ص",
    "öö",
    "πμ",
    "π.μ.",
    "पूर्वाह्न",
    "de.",
    "sa",
)
_EVENING: Final = (
    "pm",
    "p.m.",
    "p. m.",
    "p.\u00a0m.",
    "下午",
    "午後",
    "오후",
    "م",
    "ös",
    "μμ",
    "μ.μ.",
    "अपराह्न",
    "du.",
    "ch",
)
_HALF: Final = "|".join(re.escape(each) for each in sorted((*_MORNING, *_EVENING), key=len, reverse=True))
_LINE: Final = re.compile(
    rf"[{MARKS}]*\[?(?P<a>\d{{1,4}})[./-]\s?(?P<b>\d{{1,2}})[./-]\s?(?P<c>\d{{1,4}})\.?,?\s+"
    rf"(?:(?:klo|kl\.|um|à|às|alle)\s+)?(?:(?P<before>{_HALF})\s*)?"
    r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2}))?"
    rf"(?:\s*(?P<after>{_HALF}))?(?:\]|\s[-–])\s(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
# What an export has in place of a picture or another file.
_OMITTED: Final = re.compile(r"<[^<>\n]+>|null")  # of Android, in every language
_FILE: Final = re.compile(rf"[{MARKS}]*[\w.+()-]+(?: [\w.+()-]+)*\.\w{{2,5}} \([^()\n]+\)(?P<caption>\n.*)?", re.DOTALL)
_DELETED: Final = re.compile(
    "(?:this message was deleted|you deleted this message|diese nachricht wurde gelöscht"
    "|du hast diese nachricht gelöscht|se eliminó este mensaje|eliminaste este mensaje|ce message a été supprimé"
    "|vous avez supprimé ce message|questo messaggio è stato eliminato|hai eliminato questo messaggio|mensagem apagada"
    "|essa mensagem foi apagada|você apagou esta mensagem|dit bericht (?:is|werd) verwijderd|bu mesaj silindi"
    "|данное сообщение удалено|missed (?:group )?(?:voice|video) call|verpasster (?:sprach|video)anruf"
    "|waiting for this message.*)\\.?",
    re.IGNORECASE,
)
_EDITED: Final = re.compile(rf"\s*[{MARKS}]+<[^<>\n]+>$|\s*<this message was edited>$", re.IGNORECASE)
_NO_SPEAKER: Final = re.compile(r"[“”\"«»]")  # a name in quotes: of a group that was renamed
_ORDERS: Final = {"dmy": "day first", "mdy": "month first", "ymd": "year first"}


class _Entry(NamedTuple):
    """A line with its time, and the lines that continue it."""

    line: int
    match: re.Match[str]
    more: list[str]


def recognise(source: Source) -> bool:
    """Whether one of the first lines, and most of those that have a time, is of an export."""
    if source.file.paths:
        return False
    lines = source.file.head_text.splitlines()[:50]
    found = [match for line in lines[:20] if (match := _LINE.match(line))]
    return bool(found) and any(": " in match["rest"] or match["rest"] for match in found)


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a chat; the file is read twice.

    Raises:
        DataError: it has no message, a date does not exist, or dates contradict each other.
    """
    # The order of day and month, from all dates, and the speakers whom a mention may name.
    orders = DateOrders(source.file.name)
    speakers: set[str] = set()
    for entry in _entries(source, options):
        orders.add(entry.line, *(int(entry.match[name]) for name in "abc"), twelve=bool(_half(entry.match)))
        if options.anonymous and (name := _parted(entry)[0]):
            speakers.add(name)
    without_mentions = mention_remover(speakers) if options.anonymous else (lambda text: text)
    order, reason = (options.date_order, "as --date-order says") if options.date_order else orders.decided()
    log.notes.append(f"dates are read {_ORDERS[order]} ({reason})")
    # The messages.
    for entry in _entries(source, options):
        speaker, text = _parted(entry)
        if speaker is None:
            log.left_out[SYSTEM] += 1
        elif not text:
            log.left_out[MEDIA] += 1
        else:
            yield Message("", speaker, without_mentions(text), _time(source.file.name, entry, order))


def _entries(source: Source, options: Options) -> Iterator[_Entry]:
    entry: _Entry | None = None
    for number, line in enumerate(source.file.lines(options.encoding), 1):
        line = line.rstrip("\r\n")
        if match := _LINE.match(line):
            if entry is not None:
                yield entry
            entry = _Entry(number, match, [])
        elif entry is not None:
            entry.more.append(line)
        elif line.strip(MARKS + " \t"):
            raise DataError(source.file.name, "not a message of WhatsApp: the line has no time", number)
    if entry is None:
        raise DataError(source.file.name, "has no message of WhatsApp")
    yield entry


def _parted(entry: _Entry) -> tuple[str | None, str]:
    """Speaker and text; no speaker for a line of the program, no text for a picture or a deleted message."""
    speaker, colon, text = entry.match["rest"].partition(": ")
    if not colon:  # a message that begins with an empty line
        speaker, colon, text = entry.match["rest"].rstrip().partition(":")
        if text or not entry.more:
            return None, ""
    if _NO_SPEAKER.search(speaker) or len(speaker) > 100:
        return None, ""
    marked = text.startswith("\u200e")  # iOS marks what the program wrote itself
    text = "\n".join([text, *entry.more])
    text = _stripped(_EDITED.sub("", text))
    if marked and entry.match[0].lstrip(MARKS).startswith("["):
        return speaker.strip(MARKS + " ~\u202f\xa0"), ""
    if _OMITTED.fullmatch(text) or _DELETED.fullmatch(text):
        text = ""
    elif file := _FILE.fullmatch(text):
        text = (file["caption"] or "").strip()
    return speaker.strip(MARKS + " ~\u202f\xa0"), text


def _stripped(text: str) -> str:
    """The text without marks and spaces around it; the mark that ends a mention, `@\\u2068Ann\\u2069`, stays."""
    found = text.strip(MARKS + " \t\n")
    return found + "\u2069" if found.rfind("@\u2068") > found.rfind("\u2069") else found


def _half(match: re.Match[str]) -> str | None:
    found = match["before"] or match["after"]
    return found.lower() if found else None


def _time(name: str, entry: _Entry, order: str) -> float:
    """The seconds of a line.

    Raises:
        DataError: there is no such date or time.
    """
    match = entry.match
    numbers = dict(zip(order, (int(match[part]) for part in "abc"), strict=True))
    year = numbers["y"] + (2000 if numbers["y"] < 100 else 0)
    hour, half = int(match["hour"]), _half(match)
    if half is not None:
        hour = hour % 12 + (12 if half in _EVENING else 0)
    try:
        time = datetime(
            year, numbers["m"], numbers["d"], hour, int(match["minute"]), int(match["second"] or 0), tzinfo=UTC
        )
    except ValueError as error:
        shown = match[0][: match.start("rest")].strip(MARKS + " -–[]")
        raise DataError(name, f"{shown!r} is no date, {_ORDERS[order]} ({error})", entry.line) from None
    return time.timestamp()


FORMAT = Format("whatsapp", "a WhatsApp chat", recognise, read, merge=True, gap=6 * HOUR)
