"""The threads of a mailbox: which mails belong together.

Open this to change that. All headers are read before the first text. Memory is about 200 bytes a mail, because only
short hashes of ids are kept.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from dialog_cvae.imports.mail_head import Head


class Threads:
    """Finds the thread of each mail from the links between mails.

    A mail belongs to the mails that it names as those before it, also if these are missing. A reply that names none
    belongs to the latest mail before it in the file with the same subject between two of the same people, else to such
    a mail after it.
    """

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}  # by the hash of a name
        self._above = array("q")  # for each name an earlier one of its thread, or itself
        self._latest: dict[int, int] = {}  # the latest mail of a subject between two people
        self._unlinked: list[tuple[int, list[int]]] = []
        self._names: dict[str, str] = {}  # the first name of each address

    def add(self, head: Head, own: str) -> None:
        """Note the links of a mail.

        Args:
            head: its headers.
            own: its id, or another unique name.
        """
        number = self._number(own)
        for name in (*head.parents, *head.threads):
            self._join(number, self._number(name))
        keys = list(_keys(head))
        if head.is_reply and not head.parents and not head.threads:
            found = next((self._latest[key] for key in keys if key in self._latest), None)
            if found is None:
                self._unlinked.append((number, keys))
            else:
                self._join(number, found)
        for key in keys:
            self._latest[key] = number
        if head.name and head.address:
            self._names.setdefault(head.address, head.name)

    def finish(self) -> None:
        """Join replies to mails that come later in the file."""
        for number, keys in self._unlinked:
            for key in keys:
                if self._latest.get(key, number) != number:
                    self._join(number, self._latest[key])
                    break
        self._unlinked.clear()
        self._latest.clear()

    def thread(self, own: str) -> int:
        """The number of the thread that a mail belongs to."""
        return self._first(self._numbers[hash(own)])

    def name(self, head: Head) -> str:
        """The name of the sender: the one in the mail, else the first one known for the address, else the address."""
        return head.name or self._names.get(head.address, head.address)

    def _number(self, name: str) -> int:
        number = self._numbers.setdefault(hash(name), len(self._above))
        if number == len(self._above):
            self._above.append(number)
        return number

    def _first(self, number: int) -> int:
        """The first name of a thread; shortens the way to it."""
        while self._above[number] != number:
            self._above[number] = self._above[self._above[number]]
            number = self._above[number]
        return number

    def _join(self, one: int, other: int) -> None:
        first, second = sorted((self._first(one), self._first(other)))
        self._above[second] = first


def _keys(head: Head) -> Iterator[int]:
    """Hashes of the subject with each pair of sender and recipient; none without a subject."""
    if head.subject:
        for recipient in head.recipients:
            yield hash((head.subject.lower(), *sorted((head.address, recipient))))
