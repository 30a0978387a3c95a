"""Precision and recall of a set of sampled replies against a set of reference replies.

Open it to see how scores of pairs become precision and recall.

Source: Zhao, Zhao and Eskenazi (2017), "Learning Discourse-level Diversity for Neural Dialog Models using Conditional
Variational Autoencoders", section 5.2: precision measures how good the samples are, recall how many of the
possible replies they cover.

Shape legend: H hypotheses (sampled replies) and R references of one context.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.metrics.tokens import Tokens

Context = tuple[Sequence[Tokens], Sequence[Tokens]]
"""The hypotheses and the references of one context."""


class PrecisionRecall(NamedTuple):
    """Precision and recall of one context, or their means over contexts, in the units of the score."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Harmonic mean of the two; 0 when both are 0."""
        total = self.precision + self.recall
        return 2.0 * self.precision * self.recall / total if total > 0.0 else 0.0


def require_pairs(hypotheses: int, references: int) -> None:
    """Refuse a context that has nothing to compare.

    Raises:
        ValueError: there is no hypothesis or no reference.
    """
    if not hypotheses or not references:
        raise ValueError(
            f"a context needs at least 1 hypothesis and 1 reference, got {hypotheses} hypotheses "
            f"and {references} references"
        )


def best_matches(scores: NDArray[np.float64]) -> PrecisionRecall:
    """Reduce the scores of all pairs of one context.

    Args:
        scores: (H, R), the score of hypothesis h against reference r.

    Returns:
        precision: the mean over hypotheses of their best reference; recall: the mean over references of their best
        hypothesis.

    Raises:
        ValueError: there is no hypothesis or no reference.
    """
    require_pairs(*scores.shape)
    return PrecisionRecall(float(scores.max(axis=1).mean()), float(scores.max(axis=0).mean()))


def mean_over_contexts(scores: Iterable[PrecisionRecall]) -> PrecisionRecall:
    """The corpus value: precision and recall each averaged over contexts; its F1 comes from the two means.

    Raises:
        ValueError: there are no contexts.
    """
    rows = np.array(list(scores), dtype=np.float64)  # (contexts, 2)
    if rows.size == 0:
        raise ValueError("precision and recall need at least 1 context, got 0")
    precision, recall = rows.mean(axis=0)
    return PrecisionRecall(float(precision), float(recall))
