"""The definition of a word, for replies, filters and metrics.

Open it to change what counts as a word, or when two replies count as the same. A word is a run of letters, digits and
their marks, as Unicode defines them. In scripts that put no spaces between words (Chinese, Japanese, Thai, Lao, Khmer,
Burmese) finding words takes a dictionary, so there each character with its marks is a word, as the standard's own rules
have it (UAX 29). An emoji is a word, however many code points it has.
"""

from __future__ import annotations

import regex

from dialog_cvae.limits import normal

# Scripts without spaces between words, as the content of a character class.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Line_Break=SA}"  # SA: the scripts of South East Asia
KATAKANA = r"\p{Katakana}\u30fc\uff70"  # writes mostly loan words, each of which is one run; with its long vowel signs
_EMOJI = r"\p{Extended_Pictographic}\p{Regional_Indicator}"
WORD = rf"(?:[{KATAKANA}]+\p{{M}}*|(?=[{UNSPACED}{_EMOJI}])(?!\d)\X|[\w\p{{N}}--[{UNSPACED}{KATAKANA}]]+)"
"""A word, as a pattern of `regex` with its flag V1."""
_WORD = regex.compile(WORD, regex.V1)
_SIGN = r"[\p{Sc}%]|(?<=\p{L})[+#]+|(?<![\w\p{N}])[-\u2212](?=\p{N})|(?<=\p{N})[.,](?=\p{N})"  # €, C++, -5, 1.5
_WORD_OR_SIGN = regex.compile(rf"{WORD}|{_SIGN}", regex.V1)
_STYLE = regex.compile(r"[\p{Emoji_Modifier}\ufe0e\ufe0f]", regex.V1)  # style of an emoji, such as its skin tone
# Invisible characters, but not the joints of an emoji, and not the letters in a flag such as that of Wales.
_INVISIBLE = regex.compile(
    r"(?<!\p{Extended_Pictographic})(?![\U000E0020-\U000E007F])[\p{Cf}\p{Default_Ignorable_Code_Point}]", regex.V1
)


def words(text: str) -> list[str]:
    """The words of a text, without case and punctuation, equal for equal characters however they are composed.

    >>> words("Don't stop! 👍🏽")
    ['don', 't', 'stop', '👍🏽']
    >>> words("我去学校 OK")
    ['我', '去', '学', '校', 'ok']
    """
    found: list[str] = _WORD.findall(normal(text.casefold()))
    return found


def seen_words(text: str) -> list[str]:
    """The words of a text as a reader sees them: without underscores, invisible marks, full-width forms and skin tones.

    >>> seen_words("_Damn_, ｄａｍｎ! 👍🏽")
    ['damn', 'damn', '👍']
    """
    return words(_seen(text))


def between_words(text: str) -> str:
    """The characters that `seen_words` leaves out of a text, except spaces, underscores and what a reader does not see.

    >>> between_words("C++, not_C!")
    '++,!'
    """
    rest: str = _WORD.sub("", normal(_seen(text).casefold()))
    return "".join(rest.split())


def same_words(text: str) -> tuple[str, ...]:
    """What two replies have in common if they count as the same: `seen_words`, and signs that change what is said.

    >>> same_words("It's _really_ 5%")
    ('it', 's', 'really', '5', '%')
    """
    found: list[str] = _WORD_OR_SIGN.findall(normal(_seen(text).casefold()))
    return tuple(found) or (text.strip(),)


def normalised(text: str) -> str:
    """A reply's `same_words`: equal for replies that count as the same."""
    return " ".join(same_words(text))


def _seen(text: str) -> str:
    """The text in Unicode's compatible form (NFKC), without what a reader does not see as a difference."""
    plain: str = _INVISIBLE.sub("", _STYLE.sub("", normal(text, "NFKC").replace("_", " ")))
    return plain
