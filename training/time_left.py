"""How long a run still takes, from the durations of its latest updates and validations.

Open this to change how time is estimated or written.
"""

from __future__ import annotations

import time
from collections.abc import Callable

HALF_LIFE = 300.0  # seconds after which a duration counts half, because the load of the machine changes


class TimeLeft:
    """Measures a run, saving included, and estimates how long the rest takes.

    Args:
        total: steps of the run.
        interval: steps between validations; there is also one at the end.
        stops_early: whether the run may end before that.
        clock: gives the time in seconds.
    """

    def __init__(
        self, total: int, interval: int, stops_early: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._interval, self._stops_early, self._clock = total, interval, stops_early, clock
        self._last = clock()
        self._seconds = self._updates = 0.0
        self._validation: float | None = None

    def updated(self, updates: int) -> None:
        """Record that so many updates have ended now."""
        seconds = self._passed()
        kept = 0.5 ** (seconds / HALF_LIFE)
        self._seconds = kept * self._seconds + seconds
        self._updates = kept * self._updates + updates

    def validated(self) -> None:
        """Record that a validation has ended now."""
        self._validation = self._passed()

    def text(self, step: int) -> str:
        """The estimate after an update, before its validation; empty where there is none or nothing is left."""
        if not self._updates:
            return ""
        left = (self._total - step) * self._seconds / self._updates
        validations = 1 + -(-self._total // self._interval) - -(-step // self._interval)  # one at this step included
        if self._validation is not None:
            left += validations * self._validation
        elif step == self._total:
            return ""
        limit = "at most" if self._stops_early else "about"
        return f"{limit} {duration(left)} left{'' if self._validation is not None else ', without validations'}"

    def _passed(self) -> float:
        last, self._last = self._last, self._clock()
        return self._last - last


def duration(seconds: float) -> str:
    """A duration in words, in the two largest units: "40 s", "12 min", "2 h 5 min", "3 days 4 h"."""
    if seconds < 99.5:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if hours else f"{days} days"
