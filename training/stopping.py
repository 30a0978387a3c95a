"""When to keep a checkpoint and when to stop early: the released code's rule, a pure function of the losses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

IMPROVEMENT = 0.996  # a validation counts as progress when its loss falls to this share of the last that did
STRETCH = 2  # progress after n validations grants patience until 2 n


@dataclass(frozen=True, slots=True)
class Stopping:
    """The state of the rule.

    Attributes:
        patience: validations after which it stops.
        done: validations so far.
        best: lowest validation loss (negative ELBO at beta 1, nats) so far.
        threshold: the loss of the last progress.
    """

    patience: int
    done: int = 0
    best: float = inf
    threshold: float = inf

    def after(self, loss: float) -> Stopping:
        """The state after one more validation."""
        done, patience, threshold = self.done + 1, self.patience, self.threshold
        if loss <= IMPROVEMENT * threshold:
            patience, threshold = max(patience, STRETCH * done), loss
        return replace(self, patience=patience, done=done, best=min(self.best, loss), threshold=threshold)

    @property
    def exhausted(self) -> bool:
        """Whether to stop."""
        return self.patience <= self.done
