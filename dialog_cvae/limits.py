"""Limits of names and texts, and the form in which names are compared: for files, checkpoints and requests alike.

Open this to change how long a topic may be, or when two spellings of a name are the same name.
"""

from __future__ import annotations

import difflib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import regex

from dialog_cvae.errors import ConfigError

MAX_TOPIC_CHARS = 1000
MAX_SPEAKER_CHARS = 200
MAX_PROFILES = 20  # profiles of speakers in a request
MAX_TEXT_CHARS = 100_000  # characters of an utterance; the model reads far fewer
MAX_UTTERANCES = 100_000  # utterances of a conversation
HINTS = 3  # known names in the message about an unknown one
MOST_COMPARED = 500  # names; if there are more, the closest ones are not searched for
COMPARED_CHARS = 80  # characters of an unknown name that are compared

# Neither controls, format characters, lone surrogates and spaces nor those that fonts leave blank, such as U+3164.
_VISIBLE = regex.compile(r"[^\p{Cc}\p{Cf}\p{Cs}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]")
_ENDLESS_MARKS = regex.compile(r"([\p{M}\uff9e\uff9f]{65,})")  # the letters U+FF9E and U+FF9F are marks in form KC


def visible(text: str) -> bool:
    """Whether a text has at least one visible character."""
    return _VISIBLE.search(text) is not None


def normal(text: str, form: Literal["NFC", "NFKC"] = "NFC") -> str:
    """The text in Unicode's normal form C, in which an accented letter is one character if there is one, or in form KC.

    More than 64 combining marks in a row, which no language has, stay as they are: the time of normalising grows with
    the square of their number, and no other code runs meanwhile.
    """
    pieces = _ENDLESS_MARKS.split(text)
    pieces[::2] = [unicodedata.normalize(form, piece) for piece in pieces[::2]]
    return "".join(pieces)


def folded(name: str) -> str:
    """What equal names share, whatever their case, spacing and normal form.

    Unicode's canonical caseless matching (The Unicode Standard, 3.13, D145). In addition the four Turkish letters I, ı,
    İ and i are equal, because the language of a name is unknown: "İade" is "iade", and "IŞIK" is "ışık".
    """
    spaced = " ".join(name.split())
    if _ENDLESS_MARKS.search(spaced):
        return spaced.casefold()
    letters = unicodedata.normalize("NFD", spaced).casefold()
    return normal(letters.replace("i\u0307", "i").replace("ı", "i"))


def find_name(wanted: str, known: Sequence[str]) -> str | None:
    """The known name that is meant: the same text, else the same in normal form, else the same when `folded`.

    Of several that are alike, it is the first.

    Args:
        wanted: as a user wrote it.
        known: names in their own spelling.

    Returns:
        None if no known name is meant.
    """
    tables = _spellings(tuple(known))
    if wanted in tables.exact:
        return wanted
    name = wanted.strip()
    return tables.normal.get(normal(name)) or tables.folded.get(folded(name))


def known_topic(name: str, topics: Sequence[str]) -> str:
    """The topic in the model's spelling; see `find_name` for what is ignored.

    Raises:
        UnknownTopicError: the model was not fitted on this topic; the message shows the closest names.
    """
    found = find_name(name, topics)
    if found is not None:
        return found
    by_folded = _spellings(tuple(topics)).folded
    if len(by_folded) > MOST_COMPARED:
        close = topics[:HINTS]
        hint = f"some of them are {', '.join(map(repr, close))}"
    elif by_folded:
        keys = difflib.get_close_matches(folded(name[:COMPARED_CHARS]), by_folded, n=HINTS, cutoff=0.0)
        hint = f"the closest are {', '.join(repr(by_folded[key]) for key in keys)}"
    else:
        hint = "leave it out"
    shown = json.dumps(name[: COMPARED_CHARS + 1])
    shown = shown if len(shown) <= COMPARED_CHARS else f"{shown[:COMPARED_CHARS]}…"
    raise UnknownTopicError(f"should be one of the {len(by_folded)} known topics, got {shown}; {hint}")


class UnknownTopicError(ConfigError):
    """A topic that the model was not fitted on.

    Attributes:
        reason: what is wrong, without the name of the field.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"topic: {reason}")
        self.reason = reason


class _Spellings(NamedTuple):
    """The first name of each spelling."""

    exact: frozenset[str]
    normal: Mapping[str, str]
    folded: Mapping[str, str]


@lru_cache(maxsize=8)
def _spellings(known: tuple[str, ...]) -> _Spellings:
    """Tables of the names; kept, because their cost grows with the number of names."""
    last_first = known[::-1]
    return _Spellings(
        frozenset(known), {normal(name): name for name in last_first}, {folded(name): name for name in last_first}
    )
