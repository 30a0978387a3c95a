"""Names of people whom an export knows by an id: two people with one name stay two speakers."""

from __future__ import annotations

from typing import Final

from dialog_cvae.imports.message import Log

SHARED: Final = "names of people numbered, because another has the same"


class People:
    """The people of an export.

    Args:
        log: counts names that had to change.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._found: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()

    def name(self, identity: object, name: str) -> str:
        """The name of a person: the given one, with a number if an earlier person has it.

        An id that writes under several names, as bridges between networks do, is several people.

        Args:
            identity: the person's id; without one, all of a name are one person.
            name: as the export has it.
        """
        if not isinstance(identity, str | int):
            self._taken.add(name)
            return name
        key = (str(identity), name)
        if key not in self._found:
            free, number = name, 1
            while free in self._taken:
                number += 1
                free = f"{name} {number}"
            self._log.changed[SHARED] += number > 1
            self._taken.add(free)
            self._found[key] = free
        return self._found[key]
