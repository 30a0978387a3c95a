"""Thresholds on a score: which ones to try, and whether the items that one keeps are better than those it leaves out.

Open it to change how thresholds are chosen, or how the two sides of one are compared. The items of a group (the replies
to the contexts of a conversation) resemble each other, so intervals come from resampled groups.

Shape legend: N items, T thresholds.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from eval.metrics.significance import Interval, cluster_bootstrap

Array = NDArray[np.float64]

DIGITS = 3  # significant digits of a threshold, so that it is easy to type
OF_ALL = (0.25, 0.5, 0.75)  # quantiles of all scores
OF_BEST = (0.1, 0.25, 0.5, 0.75)  # quantiles of the contexts' best scores, above which they keep nothing


def thresholds(scores: Iterable[Sequence[float]]) -> list[float]:
    """Thresholds for these scores, rising: 0, and quantiles of all scores and of the best ones.

    Args:
        scores: of the items of each context, at least 0; contexts without any are ignored.
    """
    rows = [row for row in scores if len(row)]
    if not rows:
        return [0.0]
    every, best = [score for row in rows for score in row], [max(row) for row in rows]
    found = [*np.quantile(every, OF_ALL), *np.quantile(best, OF_BEST)]
    return sorted({0.0, *(float(f"{value:.{DIGITS}g}") for value in found)})


def differences(
    scores: Array, quality: Array, groups: Sequence[Hashable], limits: Sequence[float]
) -> list[Interval | None]:
    """The mean quality of the items that each threshold keeps, minus that of the items it leaves out.

    Args:
        scores: (N,) of the items.
        quality: (N,) of the items, finite.
        groups: (N,) at least 2 different ones.
        limits: the T thresholds; an item is kept if its score is at least the threshold.

    Returns:
        T differences with their intervals; None if a threshold keeps all items, or none.
    """
    columns: dict[int, list[Array]] = {}
    for index, limit in enumerate(limits):
        left = (scores >= limit).astype(np.float64)
        if 0 < left.sum() < len(left):
            columns[index] = [left, left * quality, 1 - left, (1 - left) * quality]
    if not columns:
        return [None] * len(limits)
    values = np.stack([column for four in columns.values() for column in four], axis=1)
    known = dict(zip(columns, cluster_bootstrap(values, groups, _differences), strict=True))
    return [known.get(index) for index in range(len(limits))]


def _differences(sums: Array) -> Array:
    """Differences of two means, from the number and the sum of each, (..., 4 T) to (..., T).

    A resample in which one side has no items counts as no difference.
    """
    count, total, others, rest = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 4), -1, 0)
    difference: Array = total / np.maximum(count, 1) - rest / np.maximum(others, 1)
    return np.where((count > 0) & (others > 0), difference, 0.0)
