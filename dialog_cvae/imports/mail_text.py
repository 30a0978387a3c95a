"""What the sender of a mail wrote: its text without earlier mails and without the signature.

Open this if an earlier mail or a signature stays in a text, or if words of the sender are removed. `mail_words` has
what mail programs write in each language.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from dialog_cvae.imports.mail_words import (
    BEGINNINGS,
    BELOW,
    OPENERS,
    ORIGINALS,
    PHONES,
    SENDERS,
    SUBJECTS,
    WROTE,
    WROTE_WITHOUT_SPACES,
    longest_first,
)

_QUOTED: Final = re.compile(r" ?>")
_ORIGINAL: Final = re.compile(
    rf"[-_]{{2,}} *(?:{longest_first(ORIGINALS)}) *:? *[-_]{{2,}}|(?:{longest_first(BEGINNINGS)}) ?:"
)
_STARS: Final = r"[*_]{0,2}"  # Outlook's plain text has bold labels
_LABEL: Final = re.compile(
    rf"{_STARS}(?:(?P<sender>{longest_first(SENDERS)})|(?P<subject>{longest_first(SUBJECTS)})|{longest_first(BELOW)})"
    rf" ?[:：]"
)
_BLOCK: Final = 6  # lines in which the labels of an earlier mail are
_RULE: Final = re.compile(r"[-_=*]{3,}")
# A date, a clock or an address, without which a line is rather part of what the sender wrote.
_DATED: Final = re.compile(r"\d{1,4}[./-]\d{1,2}|\b\d{4}\b|\d{1,2}[:.h]\d{2}|\S@\S|\d{4}年")
_SURE: Final = re.compile(r"(?<![\d.])\d{1,2}[:.h]\d{2}(?![\d.])|\S@\S")  # a clock, not part of a date, or an address
_WROTE: Final = re.compile(rf".*?(?:\b(?:{WROTE})\b.{{0,80}}|(?:{WROTE_WITHOUT_SPACES})) ?[:：]")
_WROTE_BY: Final = re.compile(r"\d{4}年.*<[^<>\s]+@[^<>\s]+>[:：]")  # without a verb, as Gmail writes in Japanese
_OPENS: Final = re.compile(rf"(?:{longest_first(OPENERS)})\b.*\d")
_MOST_LINES, _MOST_CHARS = 3, 300  # of the head above quoted lines
_SIGNATURE: Final = "-- "
_MOST_SIGNED: Final = 12  # lines below two dashes without a space that may be a signature
_PHONE: Final = re.compile(rf"(?:{PHONES})")
_LIST_FOOT: Final = re.compile(r"_{20,}")  # above what a mailing list adds
_PICTURE: Final = re.compile(r"\[(?:image|cid|Bild|Image): ?[^\[\]]{1,200}\]")


def own_text(text: str) -> str:
    """The text of a mail without earlier mails, signature and pictures; empty if nothing is left."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = _without_quoted(lines[: _end(lines)])
    lines = _without_signature(lines)
    found = "\n".join("" if _PICTURE.fullmatch(line.strip()) else line.rstrip() for line in lines)
    return re.sub(r"\n{3,}", "\n\n", found).strip()


def _end(lines: Sequence[str]) -> int:
    """The number of lines above an earlier mail that is not quoted line by line."""
    for place in range(len(lines)):
        if _is_original(lines, place) or _is_block(lines, place):
            above = place
            while above and (not lines[above - 1].strip() or _RULE.fullmatch(lines[above - 1].strip())):
                above -= 1
            return above
    return len(lines)


def _is_original(lines: Sequence[str], place: int) -> bool:
    """Whether a line between dashes begins an earlier mail; below quoted lines, an answer may follow."""
    if not _ORIGINAL.fullmatch(lines[place].strip()):
        return False
    below = next((lines[index] for index in range(place + 1, len(lines)) if lines[index].strip()), "")
    return not _QUOTED.match(below)


def _is_block(lines: Sequence[str], place: int) -> bool:
    """Whether the labels of an earlier mail begin here: those of its sender and subject, and of time or recipient."""
    if not _LABEL.match(lines[place].strip()):
        return False
    held = [line.strip() for line in lines[place : place + 2 * _BLOCK] if line.strip()][:_BLOCK]
    labels = [found for line in held if (found := _LABEL.match(line)) is not None]
    return len(labels) > 2 and all(any(found[name] for found in labels) for name in ("sender", "subject"))


def _without_quoted(lines: Sequence[str]) -> list[str]:
    """The lines that are not quoted, without the heads above quoted ones.

    After a head whose mail is not quoted line by line, all that follows is the earlier mail.
    """
    found: list[str] = []
    place = 0
    while place < len(lines):
        if _QUOTED.match(lines[place]):
            place += 1
            continue
        count = 1 if _ORIGINAL.fullmatch(lines[place].strip()) else _head_lines(lines, place)
        if not count:
            found.append(lines[place])
            place += 1
            continue
        rest = next((line for line in lines[place + count :] if line.strip()), "")
        if rest and not _QUOTED.match(rest):
            if _SURE.search(" ".join(lines[place : place + count])):
                break
            found += lines[place : place + count]
        place += count
    return found


def _head_lines(lines: Sequence[str], place: int) -> int:
    """The number of lines of a head such as "On ... Ann wrote:" that begins here; 0 if none does."""
    for count in range(1, _MOST_LINES + 1):
        held = [line.strip() for line in lines[place : place + count]]
        if len(held) < count or not held[-1] or (count == 2 and not _OPENS.match(held[0])):
            return 0
        whole = " ".join(held)
        if len(whole) > _MOST_CHARS:
            return 0
        if _DATED.search(whole) and (_WROTE.fullmatch(whole) or _WROTE_BY.fullmatch(whole)):
            return count
    return 0


def _without_signature(lines: Sequence[str]) -> list[str]:
    """The lines above a signature, and without the line that a phone adds."""
    end = len(lines)
    for place, line in enumerate(lines):
        is_short = len(lines) - place <= _MOST_SIGNED
        is_sign = line.rstrip("\r") == _SIGNATURE or (is_short and line.strip() in {"--", "—", "–"})
        if is_sign or (_LIST_FOOT.fullmatch(line.strip()) and "list" in " ".join(lines[place + 1 : place + 4])):
            end = place
            break
    found = list(lines[:end])
    while found and (not found[-1].strip() or _PHONE.fullmatch(found[-1].strip())):
        found.pop()
    return found
