"""Date and clock at the beginning of a message in WhatsApp's exports, as each language writes them.

Open this to add a language.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from dialog_cvae.imports.clocks import HALF, hour_of_day
from dialog_cvae.imports.date_order import ORDERS, calendar_day
from dialog_cvae.imports.whatsapp_words import MARKS

_M: Final = f"[{MARKS}]{{0,4}}"  # bounded, because the running time of two in a row would be quadratic
_NUMBERS: Final = (
    rf"(?P<a>\d{{1,4}}){_M}[./年년-]\s?{_M}(?P<b>\d{{1,2}}){_M}[./月월-]\s?{_M}(?P<c>\d{{1,4}}){_M}"
    r"(?:[日일]|\.?(?:\s?г\.)?[,،]?)"
)
_LINE: Final = re.compile(
    rf"{_M}(?P<bracket>\[)?{_M}(?:(?P<early>\d{{1,2}}:\d{{2}}(?::\d{{2}})?),?\s)?(?P<date>{_NUMBERS})"
    rf"(?(early)|{_M}(?:\s+|(?<=[日일])){_M}"
    rf"(?:(?:klo|kl\.|plkst\.|um|à|às|alle|u|во|në)\s+)?(?:(?P<before>{HALF})\s*)?"
    r"(?P<hour>\d{1,2})(?:[:.]|\s?h\s?)(?P<minute>\d{2})(?:[:.](?P<second>\d{2}))?"
    rf"{_M}(?:\s*(?P<after>{HALF})|\s?ч\.)?){_M}(?(bracket)\]|\s[-–])\s(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
# A line with a date, a colon, and unknown words around the clock, from a language that is missing here.
_UNKNOWN: Final = re.compile(
    rf"{_M}(?P<bracket>\[)?{_M}(?P<date>{_NUMBERS})(?(bracket)[^\]\n]{{0,40}}\]"
    r"|[^\d\n]{0,20}\d{1,2}[^\d\n-]{1,3}\d{2}(?:[:.]\d{2})?[^\d\n]{0,20}?\s[-–])\s[^\n]*?: "
)
_MAX_REST: Final = 250  # most characters that are kept of such a line: enough for a speaker with colons


def stamped(line: str) -> re.Match[str] | None:
    """A line that begins with date and time; its groups are `a`, `b` and `c` of the date, `early` (a clock before the
    date, as in Vietnamese) and `rest`.
    """
    return _LINE.match(line)


def is_alike(match: re.Match[str], other: re.Match[str]) -> bool:
    """Whether the times of two lines have the same form, as in one export: `[...]` or `... -`, date or clock first, the
    separators of the date, seconds, and a half of the day.
    """
    first, second = (
        (one["bracket"], one["early"] is None, _signs(one["date"]), one["second"] is None, half(one) is None)
        for one in (match, other)
    )
    return first == second


def unknown(line: str, known: re.Match[str]) -> tuple[str, str] | None:
    """Time and rest of a line that begins like the line `known` but has a time of unknown form; else None."""
    match = _UNKNOWN.match(line)
    if match is None or match["bracket"] != known["bracket"] or known["early"] is not None:
        return None
    if _signs(match["date"]) != _signs(known["date"]):
        return None
    time, rest = re.split(r"\]|\s[-–]\s", line[match.start("date") :], maxsplit=1)
    return time, rest[:_MAX_REST]


def half(match: re.Match[str]) -> str | None:
    """The half of the day, such as "pm", in lower case; None with a 24-hour clock."""
    found = match["before"] or match["after"]
    return found.lower() if found else None


def seconds(match: re.Match[str], order: str) -> float:
    """The time of a line, in seconds since 1970.

    Raises:
        ValueError: there is no such date or time.
    """
    year, month, day = calendar_day([int(match[part]) for part in "abc"], order)
    clock = match["early"].split(":") if match["early"] else match.group("hour", "minute", "second")
    hour, minute, second = (int(each or 0) for each in (*clock, 0)[:3])
    try:
        time = datetime(year, month, day, hour_of_day(hour, half(match)), minute, second, tzinfo=UTC)
    except ValueError as error:
        shown = match[0][: match.start("rest")].strip(MARKS + " -–[]")
        raise ValueError(f"{shown!r} is no date, {ORDERS[order]} ({error})") from None
    return time.timestamp()


def _signs(date: str) -> str:
    """The separators between the numbers of a date."""
    return re.sub(rf"[\d\s{MARKS}]", "", date)
