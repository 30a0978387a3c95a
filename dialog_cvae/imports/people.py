"""Distinct names for people in exports that have ids: two people with the same name get different names.

Open this to change how names are made distinct.
"""

from __future__ import annotations

from typing import Final

from dialog_cvae.imports.message import Log

SHARED: Final = "names of people numbered, because another has the same"


class People:
    """The people of an export.

    Args:
        log: counts changed names.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._found: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()

    def name(self, identity: object, name: str) -> str:
        """The name of a person: the given one, with a number if an earlier person has it.

        An id with several names, such as that of a bridge between networks, counts as several people.

        Args:
            identity: the person's id; without an id, equal names are one person.
            name: the name in the export.
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
