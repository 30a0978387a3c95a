"""The released code's rule of when to keep a checkpoint and when to stop early: a pure function of the losses.

Open this to change the rule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

IMPROVEMENT = 0.996  # a validation is progress if its loss is at most this share of the loss at the last progress
STRETCH = 2  # progress after n validations extends the patience to 2 n


@dataclass(frozen=True, slots=True)
class Stopping:
    """The state of the rule.

    Attributes:
        patience: number of validations after which to stop.
        done: validations so far that count.
        best: lowest validation loss (negative ELBO at beta 1, nats) so far.
        threshold: the loss of the last progress.
    """

    patience: int
    done: int = 0
    best: float = inf
    threshold: float = inf

    def after(self, loss: float, counts: bool = True) -> Stopping:
        """The state after one more validation; one that does not count can only be the best."""
        if not counts:
            return replace(self, best=min(self.best, loss))
        done, patience, threshold = self.done + 1, self.patience, self.threshold
        if loss <= IMPROVEMENT * threshold:
            patience, threshold = max(patience, STRETCH * done), loss
        return replace(self, patience=patience, done=done, best=min(self.best, loss), threshold=threshold)

    @property
    def exhausted(self) -> bool:
        """Whether to stop."""
        return self.patience <= self.done
