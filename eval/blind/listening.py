"""Which replies are listening noises: words that show attention and say nothing of their own.

Open it to change the list. "No." is not on it, because it usually answers a question.
"""

from __future__ import annotations

from dialog_cvae.text.words import normalised

MOST_WORDS = 4

SIGNALS = """
uh huh um hum hm hmm mm mhm oh ah yeah yep yes right okay ok sure really wow gosh goodness
exactly definitely absolutely true good great nice interesting know see agree understand
"""
FILLERS = "i that s is it well"
"""Words that go with a signal, and say nothing alone."""

_SIGNALS, _FILLERS = frozenset(SIGNALS.split()), frozenset(FILLERS.split())


def is_listening_noise(text: str) -> bool:
    """Whether a reply is at most MOST_WORDS words that only show attention.

    >>> [is_listening_noise(text) for text in ("Uh-huh.", "That's true.", "I know, yeah.", "I know him.", "No.")]
    [True, True, True, False, False]
    """
    words = set(normalised(text).split())
    return len(normalised(text).split()) <= MOST_WORDS and words <= _SIGNALS | _FILLERS and not words <= _FILLERS
