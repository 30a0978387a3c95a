"""Who speaks in a WhatsApp chat. The whole chat decides it, because names may have colons, quotation marks and tildes.

Open this if the name of a contact is read wrongly.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dialog_cvae.imports import whatsapp_words as words

_MIN_LINES: Final = 3  # fewest lines from which a name with a colon is recognised, if other people speak too
_OFTEN: Final = 2  # least lines for each such name, on average
_UNSAVED: Final = "~"  # before the name of a person who is not in the address book


class Speakers(NamedTuple):
    """The speakers of a chat.

    Attributes:
        shown: the name that is shown, by the name in the file.
        groups: what stands before the colon in names with a colon, such as `Work` in `Work: Ann`.
    """

    shown: dict[str, str]
    groups: frozenset[str]

    def parted(self, rest: str, *, continued: bool) -> tuple[str | None, str]:
        """The speaker and the text of a line; the speaker is None in a line of the program.

        Args:
            rest: what follows the time.
            continued: whether other lines continue the message.
        """
        cut = _cut(rest, continued=continued)
        if cut and cut[0] in self.groups:
            longer = _cut(cut[1], continued=continued)
            cut = longer and (f"{cut[0]}: {longer[0]}", longer[1])
        name, text = cut or ("", "")
        return (self.shown[name], text) if name in self.shown else (None, "")

    def names(self) -> set[str]:
        """The names by which people may be mentioned."""
        return {_bare(name) for name in self.shown if name}


@dataclass
class _Head:
    """Lines with the same text before the first colon.

    Attributes:
        lines: their number.
        longer: the texts before the second colon; None if a line has no second colon.
        closes: whether each line closes a quotation that begins before the colon, as in `Ann created “Trip: Harz”`.
    """

    lines: int = 0
    longer: Counter[str] | None = field(default_factory=Counter)
    closes: bool = True

    def has_names(self, *, alone: bool) -> bool:
        """Whether names have a colon: each line has a second one, and the texts before it are few.

        Args:
            alone: whether no one else speaks. Then several such texts are several people.
        """
        if not self.longer:
            return False
        return (alone and len(self.longer) > 1) or self.lines >= max(_MIN_LINES, _OFTEN * len(self.longer))


class Heads:
    """Counts the texts before colons; `add` each line of the chat before `speakers`."""

    def __init__(self) -> None:
        self._heads: dict[str, _Head] = {}

    def add(self, rest: str, *, continued: bool) -> None:
        """Count a line, of which `rest` follows the time."""
        cut = _cut(rest, continued=continued)
        if cut is None or words.is_system(cut[0]):
            return
        name, text = cut
        head = self._heads.setdefault(name, _Head())
        head.lines += 1
        head.closes = head.closes and words.closes_quotation(name, text)
        longer = _cut(text, continued=continued)
        if longer is None or words.is_system(longer[0]):
            head.longer = None
        elif head.longer is not None:
            head.longer[f"{name}: {longer[0]}"] += 1

    def speakers(self) -> Speakers:
        """The speakers, as all lines together say.

        `~ Max` is shown as `Max`, unless there is another `Max`: then both keep their names.
        """
        heads = {name: head for name, head in self._heads.items() if not head.closes}
        groups = frozenset(name for name, head in heads.items() if head.has_names(alone=len(heads) == 1))
        names: list[str] = []
        for name, head in heads.items():
            names += head.longer if name in groups and head.longer else [name]
        persons = Counter(map(_bare, names))
        return Speakers({name: _bare(name) if persons[_bare(name)] == 1 else name for name in names}, groups)


def _cut(text: str, *, continued: bool) -> tuple[str, str] | None:
    """What stands before and after the first colon; None if there is none."""
    name, colon, said = text.partition(": ")
    if not colon:  # a message may begin with an empty line
        name, colon, said = text.rstrip().partition(":")
        if not colon or said or not continued:
            return None
    return " ".join(name.strip(words.MARKS + " ").split()), said  # an unusual space may follow the tilde


def _bare(name: str) -> str:
    """A name without the mark of people who are not in the address book; the whole name if there is nothing else."""
    return name.removeprefix(_UNSAVED).strip() or name
