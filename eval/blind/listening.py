"""Which replies are listening noises: words that show attention and say nothing of their own.

Open it to change the list. "No." is not on it, because it mostly answers a question.
"""

from __future__ import annotations

from dialog_cvae.text.words import normalised

MOST_WORDS = 4

_WORDS = frozenset(
    "uh huh um hum hm mm hmm mhm oh ah yeah yep yes right okay ok sure well really wow gosh goodness exactly definitely "
    "absolutely true good great nice interesting i know see agree understand that s is it".split()
)
_FILLERS = frozenset("i that s is it well".split())  # say nothing alone, so a noise needs another word


def is_listening_noise(text: str) -> bool:
    """Whether a reply is at most MOST_WORDS words that only show attention.

    >>> [is_listening_noise(text) for text in ("Uh-huh.", "That's true.", "I know, yeah.", "I know him.", "No.")]
    [True, True, True, False, False]
    """
    words = normalised(text).split()
    return len(words) <= MOST_WORDS and set(words) <= _WORDS and not set(words) <= _FILLERS
