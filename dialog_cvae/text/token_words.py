"""The words that are tokens: of word mode, as NLTK splits them, and of space mode, as they are between spaces.

Open it to change where a text is cut before it is encoded. What a word is for metrics is in `dialog_cvae.text.words`.
"""

from __future__ import annotations

from collections.abc import Iterator

import regex

from dialog_cvae.text.pieces import STAND_INS, UNK
from dialog_cvae.text.placeholders import PLACEHOLDERS, split_at_placeholders

# Not `re`: NLTK matches with `regex`, to which combining marks are word characters, so that "हिन्दी" stays whole.
_WITHOUT_STAND_INS = dict.fromkeys(map(ord, STAND_INS))
_WORD_PUNCT = regex.compile(r"\w+|[^\w\s]+")


def token_words(text: str) -> list[str]:
    """The words of word mode: lower-cased, split like NLTK's `WordPunctTokenizer`; `<unk>` and placeholders stay."""
    found: list[str] = []
    for part in split_at_placeholders(writable(text)):
        found += [part] if part in PLACEHOLDERS else plain_words(part)
    return found


def plain_words(text: str) -> list[str]:
    """The words of a text without placeholders."""
    found: list[str] = []
    for part in with_unknown(text.lower()):
        found += [UNK] if part == UNK else _WORD_PUNCT.findall(part)
    return found


def words_between_spaces(text: str) -> list[str]:
    """The words of space mode, unchanged; a literal `<unk>` is the unknown word."""
    return writable(text).split()


WORDS = {"word": token_words, "space": words_between_spaces}


def writable(text: str) -> str:
    """The text without lone surrogates, which JSON can contain and UTF-8 cannot, and without our stand-ins."""
    return text if text.isascii() else text.encode("utf-8", "ignore").decode("utf-8").translate(_WITHOUT_STAND_INS)


def with_unknown(text: str) -> Iterator[str]:
    """The parts of a text between literal `<unk>`s, and the `<unk>`s."""
    first, *rest = text.split(UNK)
    yield first
    for part in rest:
        yield UNK
        yield part
