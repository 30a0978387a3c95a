"""What a word is: one definition for replies, filters and metrics.

A word is a run of letters, digits and their marks, as Unicode defines them. In scripts that put no spaces between words
(Chinese, Japanese, Thai, Lao, Khmer, Burmese) finding words takes a dictionary, so there each character with its marks
is a word, as the standard's own rules have it (UAX 29). An emoji is a word, however many code points it has.
"""

from __future__ import annotations

import unicodedata

import regex

# Scripts without spaces between words, as the content of a character class.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Line_Break=SA}"  # SA: the scripts of South East Asia
KATAKANA = r"\p{Katakana}\u30fc\uff70"  # writes mostly loan words, each of which is one run; with its long vowel signs
_EMOJI = r"\p{Extended_Pictographic}\p{Regional_Indicator}"
WORD = rf"(?:[{KATAKANA}]+\p{{M}}*|(?=[{UNSPACED}{_EMOJI}])(?!\d)\X|[\w\p{{N}}--[{UNSPACED}{KATAKANA}]]+)"
"""A word, as a pattern of `regex` with its flag V1."""
_WORD = regex.compile(WORD, regex.V1)


def words(text: str) -> list[str]:
    """The words of a text, without case and punctuation, equal for equal characters however they are composed.

    >>> words("Don't stop! 👍🏽")
    ['don', 't', 'stop', '👍🏽']
    >>> words("我去学校 OK")
    ['我', '去', '学', '校', 'ok']
    """
    found: list[str] = _WORD.findall(unicodedata.normalize("NFC", text.casefold()))
    return found


def normalised(text: str) -> str:
    """The words of a reply: equal for replies that count as the same."""
    return " ".join(words(text)) or text.strip()
