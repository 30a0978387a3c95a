"""Lines of transcripts: what may be a speaker before a colon, and which of these are speakers.

Open this to change which lines begin with a speaker. Only the whole file tells which names are speakers, so lines are
counted first and read afterwards.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Set
from typing import Final, Literal, NamedTuple

TIMES: Final = "times removed from the beginning of messages"

_LETTERS: Final = r"[^\W_][^:：?!,;\"<>={}\[\]/\\@|]{0,39}?"
_MARKED: Final = r"#[^\W_]\w{0,38}#"  # as in DialogSum's #Person1#
_CLOCK: Final = r"\d{1,3}:\d{2}(?::\d{2})?(?:[.,]\d{1,3})?(?:\s?(?:[ap]\.?m|[AP]\.?M)\b\.?)?"
_SPAN: Final = rf"{_CLOCK}(?:\s?(?:-|–|—|-->)\s?{_CLOCK})?"
_TIME: Final = rf"(?:\[{_SPAN}\]|\({_SPAN}\))"
_BEFORE: Final = rf"(?P<before>(?:{_TIME}\s*|{_CLOCK}\s+)(?:[-–—]\s+)?)?"
_SAID: Final = re.compile(
    rf"{_BEFORE}(?P<name>{_MARKED}|{_LETTERS}(?:, {_LETTERS})?)\s{{0,3}}(?P<after>{_TIME}\s?)?"
    rf"(?:：|:(?=\s|$)|(?<=\S)(?P<tight>:))\s*(?P<inside>{_TIME}\s*)?(?P<text>.*)",
    re.DOTALL,
)
# A name in bold letters, as in Markdown; the colon, and a time before it, stand within or behind.
_BOLD: Final = re.compile(
    rf"{_BEFORE}\*\*(?P<name>[^*]{{1,60}})\*\*(?P<rest>(?:(?<=[:：]\*\*)|\s?(?:{_TIME}\s?)?[:：]).*)", re.DOTALL
)
# A line of its own above the text, as in `Ann Lee  0:03`.
_ABOVE: Final = re.compile(rf"(?P<name>{_LETTERS}(?:, {_LETTERS})?)(?:\t\s*|\s{{2,}}){_CLOCK}")
_FIRST: Final = re.compile(rf"{_TIME}\s*")
# What may follow a colon without a space: no emoticon, no link, no other sign.
_TIGHT: Final = re.compile(r"(?![DPpOo3xXsS](?:\s|$))(?:[^\s!-/:-@\[-`{-~]|[\"'¿¡(\[*]\w|\.\.\.)")
_MOST: Final = {"bold": 1 / 2, "timed": 2 / 3}  # least share of lines with a form that makes its names speakers
_MAX_WORDS: Final = 3  # most words of a name that begins only one line


class Key(NamedTuple):
    """What decides whether lines begin with a speaker.

    Attributes:
        name: the text before the colon.
        tight: whether no space follows the colon; such lines count only if others of the speaker have one.
        form: `timed` with a time before, behind or below the name, `bold` as in Markdown. Lines of these forms count
            only if most lines of the file have them, or if the name has others.
    """

    name: str
    tight: bool = False
    form: Literal["plain", "bold", "timed"] = "plain"


class Said(NamedTuple):
    """A line that may begin with a speaker.

    Attributes:
        key: the speaker, and how the line is written.
        text: what follows the colon, without a time.
        whole: the same with a time in brackets at its beginning.
        timed: whether there is a time anywhere.
    """

    key: Key
    text: str
    whole: str
    timed: bool

    @property
    def name(self) -> str:
        """The text before the colon."""
        return self.key.name


class Speakers(NamedTuple):
    """The speakers of a file.

    Attributes:
        lines: number of lines of each.
        often: those who begin two lines or more with a colon and a space.
        plain: those of them who do so in the plain form.
        forms: the forms that most lines have; plain is always one.
    """

    lines: Counter[str]
    often: frozenset[str]
    plain: frozenset[str]
    forms: frozenset[str]

    def said(self, text: str) -> Said | None:
        """The parts of a line that begins with one of the speakers; None for any other.

        A time at the beginning of what is said stays, unless most lines of the file have times.
        """
        found = parted(text)
        if found is None or not self.have(found.key):
            return None
        if found.key.form != "timed" and "timed" not in self.forms:
            return found._replace(text=found.whole, timed=False)
        return found

    def have(self, key: Key) -> bool:
        """Whether a line of this name, colon and form is a speaker's."""
        if key.form not in self.forms and key.name not in self.plain:
            return False
        return key.name in (self.often if key.tight else self.lines)


def parted(text: str) -> Said | None:
    """The parts of a line without spaces around it, or None if it does not look as if it began with a speaker."""
    above = _ABOVE.fullmatch(text)
    if above is not None:
        return Said(Key(above["name"], form="timed"), "", "", timed=True)
    bold = _BOLD.match(text)
    match = _SAID.match(text if bold is None else f"{bold['before'] or ''}{bold['name']} {bold['rest']}")
    if match is None:
        return None
    name, said, tight = match["name"], match["text"], match["tight"] is not None
    if tight and (not _TIGHT.match(said) or (name[-1].isdigit() and said[0].isdigit())):  # as in 10:30
        return None
    beside = bool(match["before"] or match["after"])
    key = Key(name, tight, "bold" if bold is not None else "timed" if beside else "plain")
    inside = match["inside"] or ""
    return Said(key, said, f"{inside}{said}".strip(), beside or bool(inside))


def without_time(text: str) -> str:
    """The text without a time in brackets at its beginning."""
    match = _FIRST.match(text)
    return text if match is None else text[match.end() :]


class Counts:
    """Counts lines, to find the speakers of a file."""

    def __init__(self, lines: Iterable[Said] = ()) -> None:
        self._found: Counter[Key] = Counter()
        self._timed = 0
        for line in lines:
            self.add(line)

    def add(self, line: Said) -> None:
        """Count a line."""
        self._found[line.key] += 1
        self._timed += line.timed and not line.key.tight

    def speakers(self) -> Speakers:
        """The names that begin two lines or more, or that look like the name of a person."""
        total = sum(count for key, count in self._found.items() if not key.tight)
        bold = sum(count for key, count in self._found.items() if key.form == "bold" and not key.tight)
        shares = {"bold": bold, "timed": self._timed}
        forms = frozenset({"plain", *(form for form, count in shares.items() if count >= _MOST[form] * total > 0)})
        plain = self._often({"plain"})
        often = frozenset(self._often(forms) | plain)
        lines: Counter[str] = Counter()
        for key, count in self._found.items():
            if (key.form in forms or key.name in plain) and (
                key.name in often or (not key.tight and _is_name(key.name))
            ):
                lines[key.name] += count
        return Speakers(lines, often, frozenset(plain), forms)

    def _often(self, forms: Set[str]) -> set[str]:
        """The names of two lines or more with a space, in these forms."""
        counts: Counter[str] = Counter()
        for key, count in self._found.items():
            if key.form in forms and not key.tight:
                counts[key.name] += count
        return {name for name, count in counts.items() if count > 1}


def _is_name(name: str) -> bool:
    return not name[0].islower() and "," not in name and len(name.split()) <= _MAX_WORDS
