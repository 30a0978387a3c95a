"""Limits of names and texts, and the form in which names are compared: for files, checkpoints and requests alike.

Open this to change how long a topic may be, or when two spellings of a name are the same name.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import regex

MAX_TOPIC_CHARS = 1000
MAX_SPEAKER_CHARS = 200
MAX_TEXT_CHARS = 100_000  # of an utterance; what the model reads of it is much less
MAX_UTTERANCES = 100_000  # of a conversation

# Neither controls, format characters, lone surrogates and spaces nor those that fonts leave blank, such as U+3164.
_VISIBLE = regex.compile(r"[^\p{Cc}\p{Cf}\p{Cs}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]")


def visible(text: str) -> bool:
    """Whether a text has at least one visible character."""
    return _VISIBLE.search(text) is not None


def normal(text: str) -> str:
    """The text in Unicode's normal form C, in which an accented letter is one character if there is one."""
    return unicodedata.normalize("NFC", text)


def folded(name: str) -> str:
    """What equal names share, whatever their case, spacing and normal form.

    Unicode's canonical caseless matching (The Unicode Standard, 3.13, D145). In addition the four Turkish letters I, ı,
    İ and i are equal, because the language of a name is unknown: "İade" is "iade", and "IŞIK" is "ışık".
    """
    letters = unicodedata.normalize("NFD", " ".join(name.split())).casefold()
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
    if wanted in known:
        return wanted
    for form in (normal, folded):
        key = form(wanted.strip())
        found = next((name for name in known if form(name) == key), None)
        if found is not None:
            return found
    return None
