"""Interfaces between the loop and its surroundings: receiving figures, keeping the best model, stopping.

Open this to add an event of a run.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from types import FrameType
from typing import Any, Protocol, Self

from dialog_cvae.model.elbo import ElboReport
from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.types import Gaussian


class Observer(Protocol):
    """Receives the events of a run."""

    def trained(self, step: int, figures: Mapping[str, float], beta: float, learning_rate: float) -> None:
        """After each update: its loss, the parts of the loss, and the gradient's norm before clipping."""
        ...

    def paced(self, step: int, seconds: float, waited: float) -> None:
        """After updates up to `step`: the seconds they took, and how many of them were spent waiting for batches."""
        ...

    def validated(self, step: int, report: ElboReport, best: bool) -> None:
        """After each validation; `best` says whether its loss is the lowest so far."""
        ...

    def placed(self, step: int, posterior: Gaussian) -> None:
        """After a validation that records posteriors: those of the first validation examples, (N, Z)."""
        ...

    @property
    def unlogged(self) -> Mapping[str, float]:
        """Sums over the steps since the last record; a resumed run continues its next record from them."""
        ...


class NullObserver:
    """Ignores all events: the observer of every rank except 0."""

    def trained(self, step: int, figures: Mapping[str, float], beta: float, learning_rate: float) -> None:
        """Ignored."""

    def paced(self, step: int, seconds: float, waited: float) -> None:
        """Ignored."""

    def validated(self, step: int, report: ElboReport, best: bool) -> None:
        """Ignored."""

    def placed(self, step: int, posterior: Gaussian) -> None:
        """Ignored."""

    @property
    def unlogged(self) -> Mapping[str, float]:
        """No sums: rank 0 has them."""
        return {}


class BestKeeper(Protocol):
    """Keeps the best model."""

    def __call__(self, model: LatentModel, step: int, report: ElboReport) -> None:
        """Save the model after its best validation so far."""
        ...


class Interruption(Protocol):
    """True after a request to stop."""

    def __bool__(self) -> bool: ...


class StopRequest:
    """True after Ctrl-C or SIGTERM; a second one ends the process at once."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __bool__(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
