"""The columns of a table that say when a message was written: one with day and clock, or one for each.

Open this to change how the two are recognised, by their first values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.column_names import NAMES, spelling
from dialog_cvae.imports.message import Log

_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s?[ap]\.?m\.?)?", re.IGNORECASE)
# Digits and separators, or a month's name among them: no clock, and no number of seconds.
_DAY: Final = re.compile(
    r"\d{8}|\d{1,4}[-./ ]+(?:\d{1,2}|[^\W\d]{3,10}\.?)[-./, ]+\d{1,4}\.?|[^\W\d]{3,10}\.? \d{1,2},? \d{4}"
)
# Parts of the names of columns that may hold times.
_TIMELIKE: Final = ("time", "date", "timestamp", "datetime")
Values = Callable[[str], Iterable[object]]


def choose_times(
    name: str, header: Sequence[str], spelt: Mapping[str, str], chosen: dict[str, str], values: Values, log: Log
) -> list[str]:
    """Choose the column of times, and that of days if the times are a clock's; returns what was guessed.

    Args:
        name: name of the file, for messages.
        header: names of the columns.
        spelt: the columns by their spelling.
        chosen: the columns chosen so far, by what they hold; receives `time` and `date`.
        values: gives the first values of a column.
        log: receives a note if times without a day are not read.

    Raises:
        DataError: the user named only a column of clocks, or only one of days beside times that are no clock's.
    """
    named = set(chosen)
    known = [spelt[each] for each in NAMES["time"] if each in spelt and spelt[each] not in chosen.values()]
    unique = [column for column in known if header.count(column) == 1]
    clocks, days = ([column for column in unique if _all_are(form, values(column))] for form in (_CLOCK, _DAY))
    if "time" not in chosen and "date" in chosen:
        if not clocks:
            raise DataError(name, f"column {chosen['date']!r} (date) has no use without --column time=NAME")
        chosen["time"] = clocks[0]
    elif "time" in chosen and "date" not in chosen:
        _add_day(name, header, chosen, days, values)
    elif "time" not in chosen:
        _guess(chosen, known, clocks, days, log)
    return [what for what in ("time", "date") if what in chosen and what not in named]


def note_unread_times(header: Sequence[str], chosen: Mapping[str, str], values: Values, log: Log) -> None:
    """Note columns that may hold times, if none is read as the time."""
    if "time" in chosen:
        return
    found = [
        column
        for column in header
        if column not in chosen.values() and header.count(column) == 1 and spelling(column).endswith(_TIMELIKE)
        if any(re.search(r"\d", str(value)) for value in values(column))
    ]
    if found:
        names = ", ".join(map(repr, found))
        log.notes.append(f"no times are read, but there may be some in {names}: --column time=NAME")


def _add_day(name: str, header: Sequence[str], chosen: dict[str, str], days: Sequence[str], values: Values) -> None:
    """Add the column of days to one of times that the user named, if these are a clock's.

    Raises:
        DataError: there is none.
    """
    time = chosen["time"]
    if header.count(time) > 1 or not _all_are(_CLOCK, values(time)):
        return
    if not days:
        raise DataError(
            name, f"the times in column {time!r} have no day: name its column too, as in --column date=NAME"
        )
    chosen["date"] = days[0]


def _guess(chosen: dict[str, str], known: Sequence[str], clocks: Sequence[str], days: Sequence[str], log: Log) -> None:
    """Choose the first known column; together with the first of the other kind if it is of clocks or days alone."""
    if clocks and days and known[0] in {*clocks, *days}:
        chosen["time"], chosen["date"] = clocks[0], days[0]
        return
    with_day = [column for column in known if column not in clocks]
    if with_day:
        chosen["time"] = with_day[0]
    elif clocks:
        log.notes.append(
            f"the times in column {clocks[0]!r} have no day, and are not read: --column date=NAME names it"
        )


def _all_are(form: re.Pattern[str], values: Iterable[object]) -> bool:
    """Whether all values that are not blank, of which there is one or more, have this form."""
    found = [str(value).strip() for value in values if value is not None and str(value).strip()]
    return bool(found) and all(form.fullmatch(each) for each in found)
