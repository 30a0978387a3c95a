"""What generation asks of an engine. Arrays are NumPy float32 unless a line says otherwise.

Shape legend: B windows, R rows being decoded, C condition, Z latent, D decoder state, V vocabulary, K likeliest tokens,
A what z adds to a step: 3D to the GRU's gates and V to the logits with skip connections, else 0.
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

ROWS = 16  # rows that PyTorch always computes together: a product of another shape may round differently


class Condition(NamedTuple):
    """What a context says of its response: the condition (B, C) and the prior p(z | c), mean and logvar (B, Z)."""

    vector: Floats
    prior_mean: Floats
    prior_logvar: Floats


class Step(NamedTuple):
    """What one step says of the next token of each row. All arrays are the caller's, to change as it likes.

    Attributes:
        logits: (R, V).
        state: (R, D), the next state.
        values: (R, K) the largest logits, falling.
        ids: (R, K) int64, their tokens; of equal logits the lower id comes first, and only beyond the K-th may one of
            its equals be missing.
        mass: (R,) sum over the vocabulary of exp(logit - values[:, 0]).
        tempered: (R,) the same of exp((logit - values[:, 0]) * sharpness).
    """

    logits: Floats
    state: Floats
    values: Floats
    ids: Ints
    mass: Floats
    tempered: Floats


class Engine(Protocol):
    """A loaded model. Deterministic, and every row of a result is a function of its own row of the arguments.

    Attributes:
        name: library, version and device, for logs.
        rows: best number of rows to decode together.
        latent_weight: (D, Z), the weights from z to the decoder's first state.
    """

    name: str
    rows: int
    latent_weight: Floats

    def condition(self, batch: DialogBatch) -> Condition:
        """Encode the contexts of a batch; its responses may be anything and change nothing."""
        ...

    def start(self, condition: Floats, z: Floats) -> Floats:
        """The decoder's first state (R, D) from (R, C) and (R, Z)."""
        ...

    def added(self, z: Floats) -> Floats:
        """What z adds to every step, (R, A) from (R, Z): computed once, since it is the same in all steps of a row."""
        ...

    def step(self, tokens: Ints, state: Floats, sharpness: Floats, likeliest: int, added: Floats | None = None) -> Step:
        """One step of every row.

        Args:
            tokens: (R,) the last tokens.
            state: (R, D).
            sharpness: (R,) one over the temperature, or 1.
            likeliest: K; all of the vocabulary, if that is smaller.
            added: (R, A) of `added`; without skip connections it may be left out.
        """
        ...

    def side_by_side(self) -> AbstractContextManager[Executor]:
        """Threads that may use the engine at once, as many as its cores, each computing on one.

        Tasks that have not started when the block ends are cancelled.
        """
        ...
