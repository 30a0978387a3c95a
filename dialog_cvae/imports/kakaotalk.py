"""KakaoTalk's exports: text of telephones and of Windows, in Korean and English, and CSV of macOS.

Open this if an export is not recognised or is read wrongly; `kakaotalk_words` has the program's own words. Windows
writes `[Ann] [10:05 AM] text` below a line with the date between dashes. Telephones write `Ann : text` behind a time,
which has the date or only the clock; the program's own lines have a time, too, but no name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.imports import delimited
from dialog_cvae.imports import kakaotalk_words as words
from dialog_cvae.imports.clocks import HALF, hour_of_day
from dialog_cvae.imports.message import HOUR, MEDIA, SYSTEM, Format, Log, Message, Options
from dialog_cvae.imports.people import listed
from dialog_cvae.imports.source import Source
from dialog_cvae.imports.times import seconds

_HEAD: Final = 60  # lines from which the format is recognised
_COLUMNS: Final = ["Date", "User", "Message"]
_CSV_TIME: Final = re.compile(r'"?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"?,')
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE: Final = (
    r"(?:(?P<year>\d{4})(?:년|\.) ?(?P<month>\d{1,2})(?:월|\.) ?(?P<day>\d{1,2})(?:일|\.)?"
    rf"|(?P<name>(?:{'|'.join(_MONTHS)})[a-z]{{0,6}})\.? (?P<day2>\d{{1,2}}), (?P<year2>\d{{4}}))"
)
# A space before a half of the day may be an unusual one.
_CLOCK: Final = rf"(?:(?P<before>{HALF})\s?)?(?P<hour>\d{{1,2}}):(?P<minute>\d{{2}})(?:\s?(?P<after>{HALF}))?"
# A line with nothing but a date and its weekday, or a date between dashes.
_DAY: Final = re.compile(
    rf"(?:(?P<dashes>-{{3,}} )(?:[a-z]{{3,9}}, )?|(?P<weekday>[a-z]{{3,9}}, ))?{_DATE}"
    r"(?P<last> \S요일)?(?(dashes) -{3,}|(?(weekday)|(?(last)|(?!))))",
    re.IGNORECASE,
)
_WINDOWS: Final = re.compile(rf"\[(?P<who>[^\n]+?)\] \[{_CLOCK}\](?: (?P<text>.*))?", re.IGNORECASE | re.DOTALL)
_TELEPHONE: Final = re.compile(
    rf"(?P<date>{_DATE}(?:,? at|,)? )?{_CLOCK}(?:, (?P<who>[^\n]*?) : (?P<text>.*)|(?P<event>[,:] .*)|$)",
    re.IGNORECASE | re.DOTALL,
)


class _Entry(NamedTuple):
    """A message, or a line of the program that has a time.

    Attributes:
        line: its number.
        day: a line or the part of one that has the date.
        match: the line with the time.
        more: the lines that continue it.
    """

    line: int
    day: re.Match[str]
    match: re.Match[str]
    more: list[str]


def recognise(source: Source) -> bool:
    """Whether one of the first lines is a message with its date, or one of those above it has a date."""
    is_dated = False
    for line in source.file.head_text.lstrip("\ufeff").splitlines()[:_HEAD]:
        match = _timed(line)
        if match is not None and match["who"] and (is_dated or _has_date(match)):
            return True
        is_dated = is_dated or _DAY.fullmatch(line.strip()) is not None
    return False


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a chat in a text.

    Raises:
        DataError: there is no message, a message has no date, or a date does not exist.
    """
    said: Counter[str] = Counter()
    for entry in _entries(source, options, log):
        speaker = entry.match["who"]
        text = "\n".join([entry.match["text"] or "", *entry.more]).strip()
        if speaker and not _is_left_out(text, log):
            said[speaker] += 1
            yield Message("", speaker, text, _time(source.file.name, entry))
        log.left_out[SYSTEM] += not speaker
    log.notes.append(listed(said, anonymous=options.anonymous))


def read_csv(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a chat in CSV.

    Raises:
        DataError: the columns are others, or a row is malformed.
    """
    table = delimited.rows(source, options, log)
    _, header = next(table, (0, []))
    if header != _COLUMNS:
        listed_columns = ", ".join(_COLUMNS)
        raise DataError(source.file.name, f"a CSV of KakaoTalk has the columns {listed_columns}", 1)
    for line, (date, user, text) in table:
        try:
            time = seconds(date, options.time_format)
        except ValueError as error:
            raise DataError(source.file.name, str(error), line) from None
        if words.is_event(text, has_speaker=True):
            log.left_out[SYSTEM] += 1
        elif not _is_left_out(text, log):
            yield Message("", user, text, time)


def _is_left_out(text: str, log: Log) -> bool:
    """Whether a message is left out, which is counted."""
    reason = SYSTEM if words.is_call(text) else MEDIA if not text.strip() or words.is_file(text) else None
    if reason is not None:
        log.left_out[reason] += 1
    return reason is not None


def _entries(source: Source, options: Options, log: Log) -> Iterator[_Entry]:
    """The messages and lines of the program that have a time. What stands above the first date is the title.

    Args:
        source: the chat.
        options: have the encoding.
        log: counts lines of the program without a time.

    Raises:
        DataError: there is no message, or one has no date.
    """
    entry: _Entry | None = None
    day: re.Match[str] | None = None
    first: re.Match[str] | None = None
    for number, line in enumerate(source.file.lines(options.encoding), 1):
        line = line.rstrip("\r\n").lstrip("\ufeff")
        match = _timed(line)
        if match is not None and (first is None or _is_alike(match, first)):
            day = match if _has_date(match) else day
            if match["who"] is None and not match["event"]:
                continue  # the date of the messages below
            if day is None:
                raise DataError(source.file.name, "no line with a date is above the message", number)
            if entry is not None:
                yield entry
            entry, first = _Entry(number, day, match, []), first or match
        elif (found := _DAY.fullmatch(line.strip())) is not None:
            day = found
        elif day is not None and line.strip() and (entry is None or _is_unmarked_event(line, entry)):
            log.left_out[SYSTEM] += 1
        elif entry is not None:
            entry.more.append(line)
    if entry is None:
        raise DataError(source.file.name, "has no message of KakaoTalk")
    yield entry


def _timed(line: str) -> re.Match[str] | None:
    """A line with a time at its beginning; one with a clock alone must have a name or the words of the program."""
    match = _WINDOWS.fullmatch(line) or _TELEPHONE.fullmatch(line)
    if match is None or match["who"] is not None or match["date"]:
        return match
    event = (match["event"] or "")[2:]
    return match if event and (_half(match) or words.is_event(event, has_speaker=False)) else None


def _is_alike(match: re.Match[str], other: re.Match[str]) -> bool:
    """Whether two lines have the same form, as in one export."""
    first, second = ((one.re, _has_date(one), _half(one) is None) for one in (match, other))
    return first == second


def _is_unmarked_event(line: str, entry: _Entry) -> bool:
    return entry.match.re is _WINDOWS and words.is_event(line, has_speaker=False)


def _has_date(match: re.Match[str]) -> bool:
    return match.re is _TELEPHONE and match["date"] is not None


def _half(match: re.Match[str]) -> str | None:
    return match["before"] or match["after"]


def _time(name: str, entry: _Entry) -> float:
    """The seconds of a message.

    Raises:
        DataError: there is no such date or time.
    """
    day, match = entry.day, entry.match
    month = int(day["month"]) if day["month"] else _MONTHS.index(day["name"][:3].lower()) + 1
    date = (int(day["year"] or day["year2"]), month, int(day["day"] or day["day2"]))
    hour, minute = hour_of_day(int(match["hour"]), _half(match)), int(match["minute"])
    try:
        return datetime(*date, hour, minute, tzinfo=UTC).timestamp()
    except ValueError as error:
        shown = f"{date[0]}-{date[1]:02}-{date[2]:02} {match['hour']}:{match['minute']}"
        raise DataError(name, f"there is no time {shown} ({error})", entry.line) from None


def _is_csv(source: Source) -> bool:
    """Whether the columns are those of KakaoTalk, and the first time has seconds; other tables have such columns."""
    first, below = [*source.file.head_text.lstrip("\ufeff").splitlines()[:2], "", ""][:2]
    is_headed = [name.strip('" ') for name in first.split(",")] == _COLUMNS
    return is_headed and (not below or _CSV_TIME.match(below) is not None)


FORMAT = Format("kakaotalk", "a KakaoTalk chat", recognise, read, merge=True, gap=6 * HOUR)
CSV_FORMAT = Format(
    "kakaotalk-csv", "a KakaoTalk chat (CSV)", _is_csv, read_csv, interleaved=True, merge=True, gap=6 * HOUR
)
