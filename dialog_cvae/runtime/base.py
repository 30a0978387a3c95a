"""What generation asks of an engine. Arrays are NumPy float32 unless a line says otherwise.

Shape legend: B windows, R rows being decoded, C condition, Z latent, D decoder state, V vocabulary.
"""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.types import DialogBatch

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

ROWS = 16  # computed together, always: a matrix product of another shape may round differently


class Condition(NamedTuple):
    """What a context says of its response: the condition (B, C) and the prior p(z | c), mean and logvar (B, Z)."""

    vector: Floats
    prior_mean: Floats
    prior_logvar: Floats


class Engine(Protocol):
    """A loaded model. Deterministic, and every row of a result is a function of its own row of the arguments."""

    def condition(self, batch: DialogBatch) -> Condition:
        """Encode the contexts of a batch; its responses may be anything and change nothing."""
        ...

    def start(self, condition: Floats, z: Floats) -> Floats:
        """The decoder's first state (R, D) from (R, C) and (R, Z)."""
        ...

    def step(self, tokens: Ints, state: Floats) -> tuple[Floats, Floats]:
        """Logits (R, V) of the next token and the next state (R, D), from the last tokens (R,) and state.

        Both are the caller's, to change as it likes.
        """
        ...

    def side_by_side(self) -> AbstractContextManager[Executor]:
        """Threads that may use the engine at once, as many as its cores, each computing on one.

        What was not begun when the block is left is not done.
        """
        ...
