"""The order of dates in numbers (day, month or year first), decided from all dates of a file.

Open this to change how the order is decided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.message import DateOrder

ORDERS: Final = {"dmy": "day first", "mdy": "month first", "ymd": "year first"}
_LAST_MONTH: Final = 12
_LAST_DAY: Final = 31
_BUDDHIST: Final = 2400  # later years are of the Thai calendar, which is 543 years ahead
_AHEAD: Final = 543


def calendar_day(numbers: Sequence[int], order: str) -> tuple[int, int, int]:
    """Year, month and day of the three numbers of a date; a year of two digits is of this century."""
    found = dict(zip(order, numbers, strict=True))
    year = found["y"] + (2000 if found["y"] < 100 else 0)
    return year - (_AHEAD if year > _BUDDHIST else 0), found["m"], found["d"]


class DateOrders:
    """The evidence of the dates that were added.

    Args:
        name: name of the file, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._surely: dict[DateOrder, int] = {}  # the first line that allows only this order
        self._backwards: Counter[DateOrder] = Counter()  # number of dates that would be before the previous one
        self._latest: dict[DateOrder, tuple[int, int, int]] = {}
        self._twelve = False

    def add(self, line: int, first: int, second: int, third: int, *, twelve: bool) -> None:
        """Add a date: its line, its three numbers, and whether the hours are those of a 12-hour clock."""
        self._twelve |= twelve
        if first > _LAST_DAY:
            self._surely.setdefault("ymd", line)
        elif first > _LAST_MONTH:
            self._surely.setdefault("dmy", line)
        elif second > _LAST_MONTH:
            self._surely.setdefault("mdy", line)
        dates: dict[DateOrder, tuple[int, int, int]] = {"dmy": (third, second, first), "mdy": (third, first, second)}
        for order, date in dates.items():
            self._backwards[order] += date < self._latest.get(order, date)
            self._latest[order] = date

    def decided(self) -> tuple[DateOrder, str]:
        """The order, and why.

        Raises:
            DataError: dates contradict each other.
        """
        if len(self._surely) > 1:
            (one, first), (other, second) = sorted(self._surely.items(), key=lambda item: item[1])[:2]
            raise DataError(
                self._name, f"a date is written {other}, but line {first} {one}; name the order: --date-order", second
            )
        for order, line in self._surely.items():
            return order, f"line {line} allows no other order"
        if self._backwards["dmy"] != self._backwards["mdy"]:
            better: DateOrder = "dmy" if self._backwards["dmy"] < self._backwards["mdy"] else "mdy"
            return better, "so they increase"
        if self._twelve:
            return "mdy", "a guess from the 12-hour clock; --date-order changes it"
        return "dmy", "a guess from the 24-hour clock; --date-order changes it"
