"""Whether a text is English, by its letters and its most frequent small words.

Open this to change what counts as English. It separates English from other languages; it names no other language.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import regex

Language = Literal["English", "mixed", "other", "other script", "unknown"]

ENGLISH = 0.12  # least share of small words in English text; chats have 0.25 and more
FOREIGN = 0.05  # share of small words below which a text is not English
FEWEST_WORDS = 100  # a text with fewer words is not judged
MOST_OTHER_LETTERS = 0.3  # largest share of letters of other scripts than Latin

# Frequent in any English conversation, and hardly words of other European languages, unlike "is", "of"
# and "for".
# fmt: off
SMALL_WORDS = frozenset((
    "the", "and", "you", "it", "that", "this", "what", "are", "not", "with", "your", "but", "can", "would", "how",
    "they", "be", "yes", "please", "there", "when", "from", "just", "like", "know", "think", "want", "need",
    "which", "could", "should", "i'm", "it's", "don't", "that's", "i'll", "thanks", "thank", "about", "been",
    "has", "were", "did", "does", "any", "some", "here", "where", "who", "why", "then", "than", "their", "our",
))
# fmt: on
_WORD = regex.compile(r"\p{L}+(?:['’]\p{L}+)*")
_LATIN = regex.compile(r"\p{Latin}")


def language_of(texts: Iterable[str]) -> Language:
    """Whether texts are English, all together; "unknown" where they are too few words."""
    words = small = letters = latin = 0
    for text in texts:
        for word in _WORD.findall(text.lower()):
            words += 1
            small += word.replace("’", "'") in SMALL_WORDS
            latin += len(_LATIN.findall(word))
            letters += sum(character.isalpha() for character in word)
    if letters and latin < (1 - MOST_OTHER_LETTERS) * letters:
        return "other script"
    if words < FEWEST_WORDS:
        return "unknown"
    share = small / words
    return "English" if share >= ENGLISH else "other" if share < FOREIGN else "mixed"
