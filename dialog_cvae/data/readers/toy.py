"""The toy corpus of section 4 of Fu et al. (2019): ten sequences of ten digits, each with a 1 at another position.

Open it to change how often each sequence is repeated. The sequences are equally likely, so no model of them has a lower
-log p(x) than ln 10 = 2.303 nats on average.
"""

from __future__ import annotations

from pathlib import Path

from dialog_cvae.data.readers.ptb import sentence
from dialog_cvae.types import Conversation, Corpus

SEQUENCES = 10
REPEATS = 50  # copies of each sequence in the validation and test splits, for as many draws of z
SOURCE_FILES = (Path(__file__),)


def read() -> Corpus:
    """The ten sequences: once for training, repeated for validation and test."""
    return Corpus("toy: ten one-hot sequences (synthetic)", _sequences(1), _sequences(REPEATS), _sequences(REPEATS))


def text_of(number: int) -> str:
    """The sequence with a 1 at position `number`."""
    return " ".join("1" if place == number else "0" for place in range(SEQUENCES))


def _sequences(repeats: int) -> list[Conversation]:
    return [
        sentence(f"{number}.{repeat}", text_of(number), str(number))
        for repeat in range(repeats)
        for number in range(SEQUENCES)
    ]
