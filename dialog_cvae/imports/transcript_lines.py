"""Lines of transcripts: what may be a speaker before a colon, and which of these are speakers.

Open this to change which lines begin with a speaker. Only the whole file tells which names are speakers, so lines are
counted first and read afterwards.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

TIMES: Final = "times removed from the beginning of messages"

_LETTERS: Final = r"[^\W_][^:：?!,;\"<>={}\[\]/\\@|]{0,39}?"
_CLOCK: Final = r"\d{1,3}:\d{2}(?::\d{2})?(?:[.,]\d{1,3})?(?:\s?(?:[ap]\.?m|[AP]\.?M)\b\.?)?"
_SPAN: Final = rf"{_CLOCK}(?:\s?(?:-|–|—|-->)\s?{_CLOCK})?"
_TIME: Final = rf"(?:\[{_SPAN}\]|\({_SPAN}\))"
_BEFORE: Final = rf"(?P<before>(?:{_TIME}\s*|{_CLOCK}\s+)(?:[-–—]\s+)?)?"
_SAID: Final = re.compile(
    rf"{_BEFORE}(?P<name>{_LETTERS}(?:, {_LETTERS})?)\s{{0,3}}(?P<after>{_TIME}\s?)?"
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
_MAX_WORDS: Final = 3  # of a name that begins only one line


class Said(NamedTuple):
    """A line that may begin with a speaker.

    Attributes:
        name: what stands before the colon.
        text: what follows it.
        tight: whether no space follows the colon; such lines count only if others of the speaker have one.
        timed: whether there was a time, which was removed.
    """

    name: str
    text: str
    tight: bool
    timed: bool


class Speakers(NamedTuple):
    """The speakers of a file.

    Attributes:
        lines: number of lines of each.
        often: those who begin two lines or more with a colon and a space.
    """

    lines: Counter[str]
    often: frozenset[str]

    def said(self, text: str) -> Said | None:
        """The parts of a line that begins with one of the speakers; None for any other."""
        found = parted(text)
        return found if found is not None and self.have(found.name, tight=found.tight) else None

    def have(self, name: str, *, tight: bool) -> bool:
        """Whether a line that begins with this name, and with such a colon, is a speaker's."""
        return name in (self.often if tight else self.lines)


def parted(text: str) -> Said | None:
    """The parts of a line without spaces around it, or None if it does not look as if it began with a speaker."""
    above = _ABOVE.fullmatch(text)
    if above is not None:
        return Said(above["name"], "", tight=False, timed=True)
    bold = _BOLD.match(text)
    match = _SAID.match(text if bold is None else f"{bold['before'] or ''}{bold['name']} {bold['rest']}")
    if match is None:
        return None
    name, said, tight = match["name"], match["text"], match["tight"] is not None
    if tight and (not _TIGHT.match(said) or (name[-1].isdigit() and said[0].isdigit())):  # as in 10:30
        return None
    return Said(name, said, tight, any(match[group] for group in ("before", "after", "inside")))


def without_time(text: str) -> str:
    """The text without a time in brackets at its beginning."""
    match = _FIRST.match(text)
    return text if match is None else text[match.end() :]


def speakers_of(lines: Iterable[Said]) -> Speakers:
    """The names that begin two lines or more, or that look like the name of a person."""
    return known(Counter((line.name, line.tight) for line in lines))


def known(found: Counter[tuple[str, bool]]) -> Speakers:
    """The speakers.

    Args:
        found: number of lines by name, and by whether they are tight.
    """
    often = frozenset(name for (name, tight), count in found.items() if count > 1 and not tight)
    lines: Counter[str] = Counter()
    for (name, tight), count in found.items():
        if name in often or (not tight and _is_name(name)):
            lines[name] += count
    return Speakers(lines, often)


def _is_name(name: str) -> bool:
    return not name[0].islower() and "," not in name and len(name.split()) <= _MAX_WORDS
