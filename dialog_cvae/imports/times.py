"""Reads times of tables and exports as seconds.

Open this to add a form of times.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from dialog_cvae.imports.message import Log

_MILLISECONDS_FROM: Final = 1e11  # in seconds, the year 5138; larger numbers are milliseconds, microseconds, ...
_UNIX_FROM: Final = 1e8  # in seconds, the year 1973; no message is older, so smaller numbers have another origin
# Forms of dates in digits alone, by number of digits; Unix times since 1977 have another number of digits.
_DATES: Final = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
# Forms that can be read in one way: of tweets, mails, Google Chat and LinkedIn.
_WRITTEN: Final = (
    *("%a %b %d %H:%M:%S %z %Y", "%a, %d %b %Y %H:%M:%S %z", "%A, %B %d, %Y at %I:%M:%S %p %Z"),
    *("%Y-%m-%d %H:%M:%S %Z", "%Y-%m-%d %H:%M:%S %z"),
)
_YEARS: Final = range(1900, 2100)
_EXCEL_DAYS: Final = range(30_000, 60_000)  # numbers of days since 1900, for the years 1982 to 2064
_DAYS: Final = frozenset("djUWVcx")  # directives of `datetime.strptime` that are, or hold, a day or week
_WANTED: Final = "ISO 8601 or seconds since 1970; name its form, as in --time-format '%d.%m.%Y %H:%M'"


def seconds(value: Any, form: str | None = None) -> float | None:
    """The time of a field; None if the field is empty.

    Args:
        value: a number of seconds (or milli-, micro- or nanoseconds) since 1970, ISO 8601, a form of tweets, mails,
            Google Chat or LinkedIn, a date and time in digits alone such as 20240113 or 20240113100000, or a
            `datetime`.
        form: a format of `datetime.strptime`; None reads all of the above.

    Raises:
        ValueError: it is none of these; the message says what to do.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, datetime):
        return _since_1970(value)
    text = str(value).strip()
    try:
        if form is not None:
            return _since_1970(datetime.strptime(text, form))
        if (date := _date_in_digits(text)) is not None:
            return _since_1970(date)
        if (number := _number(text)) is None:
            return _since_1970(_written(text))
    except ValueError:
        raise ValueError(
            f"the time {text[:40]!r} is not {_WANTED if form is None else f'of the form {form!r}'}"
        ) from None
    while abs(number) >= _MILLISECONDS_FROM:
        number /= 1000
    return number


def has_day(form: str) -> bool:
    """Whether times of a form, as for `datetime.strptime`, have a day of the month or year, or a week."""
    return not _DAYS.isdisjoint(re.findall(r"%(.)", form))


class ColumnTimes:
    """The times in a column of a table. Small numbers are seconds from any origin if the first time is a small number.

    Args:
        form: see `seconds`.
        log: receives a note on small numbers.
    """

    def __init__(self, form: str | None, log: Log) -> None:
        self._form, self._log = form, log
        self._is_relative: bool | None = None  # None until there is a time

    def seconds(self, value: Any) -> float | None:
        """The time of a field; None if the field is empty.

        Raises:
            ValueError: it is no time; the message says what to do.
        """
        text = str(value).strip()
        number = _number(text) if self._form is None else None
        if number is None or abs(number) >= _UNIX_FROM:
            found = seconds(value, self._form)
            if found is not None and self._is_relative is None:
                self._is_relative = False
            return found
        if self._is_relative is None:
            is_day = int(number) in _EXCEL_DAYS and number % 1 != 0
            self._is_relative = not is_day and not _may_be_date(text)
            if self._is_relative:
                self._log.notes.append(f"times such as {text[:40]} are read as seconds from any beginning")
        if self._is_relative:
            return number
        if _date_in_digits(text) is not None:
            return seconds(value)
        days = " (it may be a spreadsheet's number of days)" if int(number) in _EXCEL_DAYS else ""
        raise ValueError(f"the time {text[:40]!r}{days} is not {_WANTED}")


def _written(text: str) -> datetime:
    """A time in ISO 8601, or in one of the forms that programs write.

    Raises:
        ValueError: it has another form.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        plain = " ".join(text.split())  # an unusual space may come before PM
        for form in _WRITTEN:
            try:
                return datetime.strptime(plain, form)
            except ValueError:
                continue
        raise


def _date_in_digits(text: str) -> datetime | None:
    digits = _digits(text)
    if len(digits) not in _DATES:
        return None
    try:
        found = datetime.strptime(digits, _DATES[len(digits)])
    except ValueError:
        return None
    return found if found.year in _YEARS else None


def _may_be_date(text: str) -> bool:
    """Whether digits alone are a date, as in `_DATES` or with the year last; the latter is too ambiguous to read."""
    digits = _digits(text)
    turned = (digits[4:] + digits[2:4] + digits[:2], digits[4:] + digits[:4]) if len(digits) == 8 else ()
    return any(_date_in_digits(each) is not None for each in (digits, *turned))


def _digits(text: str) -> str:
    """The digits of a whole number, which a table may hold as a fraction; empty for any other text."""
    digits = text.removesuffix(".0")
    return digits if digits.isascii() and digits.isdigit() else ""


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 1e20 else None


def _since_1970(time: datetime) -> float:
    """Seconds; a time without a zone counts as UTC, because only differences matter."""
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
