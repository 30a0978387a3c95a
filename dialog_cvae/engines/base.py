"""What generation asks of an engine. Arrays are NumPy float32 unless a line says otherwise.

Open it to write an engine, or to call one. `condition` reads contexts, `start` makes rows of them, and `step` adds one
token to every row. What an engine keeps of a context, and of the rows being decoded, is opaque to its caller.

Shape legend: B contexts, R rows being decoded, Z latent, D what z enters, V vocabulary, K likeliest tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

ROWS = 16  # rows that PyTorch always computes together: a product of another shape may round differently


class Condition(NamedTuple):
    """Encoded contexts, and the prior of z for each.

    Attributes:
        contexts: (B,) what `Engine.start` needs of each context.
        prior_mean, prior_logvar: (B, Z) mean and log variance of the prior p(z | c).
    """

    contexts: Sequence[Any]
    prior_mean: Floats
    prior_logvar: Floats

    def part(self, rows: slice) -> Condition:
        """The same for a slice of the contexts."""
        return Condition(self.contexts[rows], self.prior_mean[rows], self.prior_logvar[rows])


class States(Protocol):
    """The engine's state of R rows that are being decoded.

    Each method, and `Engine.step`, uses up the states that it receives: only the new ones may be used afterwards.
    """

    def joined(self, later: Self) -> Self:
        """These rows, then the later ones."""
        ...

    def kept(self, stay: Flags) -> Self:
        """The rows for which `stay` (R,) is true."""
        ...


class Step(NamedTuple):
    """The logits of the next token of each row, after one step. All arrays are the caller's, to change as it likes.

    Attributes:
        logits: (R, V).
        states: of the R rows, after this step.
        values: (R, K) the largest logits, falling.
        ids: (R, K) int64, their tokens; of equal logits the lower id comes first, and only beyond the K-th may one of
            its equals be missing.
        mass: (R,) sum over the vocabulary of exp(logit - values[:, 0]).
        tempered: (R,) the same of exp((logit - values[:, 0]) * inverse_temperature).
    """

    logits: Floats
    states: Any
    values: Floats
    ids: Ints
    mass: Floats
    tempered: Floats


class Engine(Protocol):
    """A loaded model. Deterministic, and every row of a result is a function of its own row of the arguments.

    Attributes:
        name: library, version and device, for logs.
        rows: best number of rows to decode together.
        latent_weight: (D, Z), the weights by which z enters the decoder; see `latent_map`.
    """

    name: str
    rows: int
    latent_weight: Floats

    def condition(self, batch: Any) -> Condition:
        """Read the contexts of a batch.

        Args:
            batch: `DialogBatch` for a dialog model, whose responses have no effect; `TurnBatch` for a language model,
                whose replies are empty, so that each ends with its header.
        """
        ...

    def start(self, contexts: Sequence[Any], z: Floats) -> tuple[Ints, Any]:
        """Start rows.

        Args:
            contexts: (R,) from `condition`; rows of one context have the same object.
            z: (R, Z).

        Returns:
            (R,) the token that each row begins after, which is not part of its reply, and the `States`.
        """
        ...

    def step(self, tokens: Ints, states: Any, inverse_temperature: Floats, likeliest: int) -> Step:
        """One step of every row.

        Args:
            tokens: (R,) the last tokens.
            states: `States` of the R rows, from `start` or from the last step.
            inverse_temperature: (R,) one over the temperature, or 1.
            likeliest: K; all of the vocabulary, if that is smaller.
        """
        ...

    def side_by_side(self) -> AbstractContextManager[Executor]:
        """Threads that may use the engine at once, as many as its cores, each computing on one.

        Tasks that have not started when the block ends are cancelled.
        """
        ...


@contextmanager
def one_thread() -> Iterator[Executor]:
    """`Engine.side_by_side` of an engine whose products take all cores: tasks run one after the other."""
    pool = ThreadPoolExecutor(1)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
