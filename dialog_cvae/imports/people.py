"""The people of an export: two with the same name get different names, if they have ids; the report lists them.

Open this to change how names are made distinct, or which people the report shows.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from dialog_cvae.imports.message import Log
from dialog_cvae.limits import MAX_SPEAKER_CHARS

_SHOWN: Final = 6  # speakers in the report
ME: Final = "Me"  # the owner of a telephone or account, where an export does not name this person
SHARED: Final = "names of people numbered, because another has the same"


class DistinctNames:
    """Gives each name only once: a name that was given before gets a number."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._latest: dict[str, int] = {}  # the last number tried, by wanted name

    def take(self, name: str) -> None:
        """Mark a name as given, again or for the first time."""
        self._taken.add(name)

    def free(self, wanted: str, most: int) -> str:
        """The wanted name, or the first of it with a number (2, 3, ...) that was not given before.

        Args:
            wanted: the name.
            most: characters that the given one may have.
        """
        number = self._latest.get(wanted, 0)
        while True:
            number += 1
            end = f" {number}" if number > 1 else ""
            found = f"{wanted[: most - len(end)].strip()}{end}"
            if found not in self._taken:
                break
        self._latest[wanted] = number
        self._taken.add(found)
        return found


class People:
    """The people of an export.

    Args:
        log: counts changed names.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._found: dict[tuple[str, str], str] = {}
        self._names = DistinctNames()

    def name(self, identity: object, name: str) -> str:
        """The name of a person: the given one, with a number if an earlier person has it.

        An id with several names, such as that of a bridge between networks, counts as several people.

        Args:
            identity: the person's id; without an id, equal names are one person.
            name: the name in the export.
        """
        if not isinstance(identity, str | int):
            self._names.take(name)
            return name
        key = (str(identity), name)
        if key not in self._found:
            self._found[key] = self._names.free(name, MAX_SPEAKER_CHARS)
            self._log.changed[SHARED] += self._found[key] != name[:MAX_SPEAKER_CHARS].strip()
        return self._found[key]


def listed(lines: Counter[str], *, anonymous: bool) -> str:
    """The speakers with most lines, as a line of the report; only their number if they are anonymous."""
    if anonymous:
        return f"{len(lines):,} speakers"
    shown = [f"{name} ({count:,})" for name, count in lines.most_common(_SHOWN)]
    more = [f"{len(lines) - _SHOWN:,} more"] if len(lines) > _SHOWN else []
    return f"speakers, with their lines: {', '.join([*shown, *more])}"
