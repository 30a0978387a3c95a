"""Whether a finding is more than chance: bootstrap over clusters, for paired differences too, and Holm's correction.

Open it to see where intervals and p-values come from. The contexts of a conversation resemble each other, so whole
conversations are resampled. Both models answer the same contexts, so their differences are resampled (Efron and
Tibshirani, 1993, section 8.3; for the use in this field Koehn, 2004, "Statistical Significance Tests for Machine
Translation Evaluation").

Shape legend: N contexts, C clusters (conversations), M columns (metrics), R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_LEVEL = 0.95
_DRAWN_AT_ONCE = 1 << 21  # clusters to draw at once; limits memory


class Difference(NamedTuple):
    """A mean difference, its 95% interval and its p-value: numbers for one column, (M,) for several.

    Attributes:
        mean: over contexts, in the units of the metric.
        low: where the interval begins.
        high: where it ends.
        p: two-sided, for no difference; at least 2 / (R + 1), and below .05 about when the interval excludes 0.
    """

    mean: float | Array
    low: float | Array
    high: float | Array
    p: float | Array


def paired_bootstrap(
    differences: ArrayLike, clusters: Sequence[Hashable], *, resamples: int = 10_000, seed: int = 0
) -> Difference:
    """Test mean differences by resampling clusters with replacement.

    The statistic of a resample is the mean over all contexts of the drawn clusters. The interval comes from the
    percentiles of the resamples. If t of them are at or below 0 and u at or above::

        p = min(1, 2 * (min(t, u) + 1) / (R + 1))

    All columns share the resamples. With few clusters the interval is a little too narrow: with 28 clusters, a 95%
    interval covers about 93%.

    Args:
        differences: (N,) or (N, M), model minus model at each context.
        clusters: (N,), the conversation of each context.
        resamples: R.
        seed: of the resamples.

    Raises:
        ValueError: no contexts or columns, fewer than 2 clusters, no resamples, lengths that differ, or a difference
            that is not finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    _check(values, clusters, resamples)
    columns = values.reshape(len(values), -1)  # (N, M)
    sums, sizes = _cluster_sums(columns, clusters)
    means = _resampled_means(sums, sizes, resamples, seed)  # (R, M)
    # a mean of 0 must count as 0 in spite of rounding
    rounding = len(values) * np.finfo(np.float64).eps * np.abs(columns).max(axis=0)
    means[np.abs(means) <= rounding] = 0.0
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)
    tail = np.minimum((means <= 0.0).sum(axis=0), (means >= 0.0).sum(axis=0))
    p = np.minimum(1.0, 2.0 * (tail + 1) / (resamples + 1))
    figures = (columns.mean(axis=0), low, high, p)
    return Difference(*(float(figure[0]) if values.ndim == 1 else figure for figure in figures))


class Interval(NamedTuple):
    """A statistic with its 95% interval.

    Attributes:
        value: of all the data.
        low: where the interval begins.
        high: where it ends.
    """

    value: float
    low: float
    high: float


def cluster_bootstrap(
    values: ArrayLike,
    clusters: Sequence[Hashable],
    statistic: Callable[[Array], Array],
    *,
    resamples: int = 2_000,
    seed: int = 0,
) -> list[Interval]:
    """Intervals of statistics of sums, such as ratios and correlations, by resampling clusters with replacement.

    They come from the percentiles (Efron and Tibshirani, 1993, section 13.3).

    Args:
        values: (N, M); a statistic needs their sums over all N.
        clusters: (N,), such as the conversation of each row.
        statistic: from sums (..., M) to K statistics (..., K), all finite.
        resamples: R.
        seed: of the resamples.

    Returns:
        K intervals.

    Raises:
        ValueError: no rows or columns, fewer than 2 clusters, no resamples, lengths that differ, or a value that is not
            finite.
    """
    columns = np.asarray(values, dtype=np.float64)
    _check(columns, clusters, resamples)
    sums, _ = _cluster_sums(columns, clusters)
    drawn = np.concatenate([times @ sums for times in _drawn(len(sums), resamples, seed)])  # (R, M)
    low, high = np.quantile(statistic(drawn), [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)
    found = zip(statistic(columns.sum(axis=0)).tolist(), low.tolist(), high.tolist(), strict=True)
    return [Interval(*figures) for figures in found]


def clustered_standard_error(values: ArrayLike, clusters: Sequence[Hashable]) -> float:
    """Standard error of a mean whose values resemble each other within clusters (Cameron and Miller, 2015, section 2).

    With the mean m of N values in C clusters::

        se = sqrt(C / (C - 1) * sum over clusters of (sum over its values of (value - m))^2) / N

    Args:
        values: (N,), all finite.
        clusters: (N,), such as the conversation of each value.

    Raises:
        ValueError: fewer than 2 clusters, lengths that differ, or a value that is not finite.
    """
    column = np.asarray(values, dtype=np.float64)
    _check(column, clusters, 1)
    sums, _ = _cluster_sums((column - column.mean())[:, None], clusters)
    count = len(sums)
    return float(np.sqrt(count / (count - 1) * np.square(sums).sum()) / len(column))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number by Holm's (1979) step-down method, in the order given.

    The i-th smallest of m becomes the largest of (m - j + 1) * p_(j) over j <= i, at most 1. All tests below a level
    may be called significant: the chance of any false one is at most that level, however the tests depend.

    Raises:
        ValueError: a p-value is not in [0, 1].
    """
    for index, p in enumerate(p_values):
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"p-value {index} must be from 0 to 1, but is {p}")
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


def _cluster_sums(columns: Array, clusters: Sequence[Hashable]) -> tuple[Array, NDArray[np.int64]]:
    """The sums (C, M) of the rows (N, M) of each cluster, and the numbers of rows (C,)."""
    order = {cluster: index for index, cluster in enumerate(dict.fromkeys(clusters))}
    members = np.array([order[cluster] for cluster in clusters])
    sums = np.zeros((len(order), columns.shape[1]))
    np.add.at(sums, members, columns)
    return sums, np.bincount(members)


def _resampled_means(sums: Array, sizes: NDArray[np.int64], resamples: int, seed: int) -> Array:
    """The means over contexts of resampled clusters, from each cluster's (C, M) sums and (C,) sizes: (R, M)."""
    parts = [(times @ sums) / (times @ sizes)[:, None] for times in _drawn(len(sizes), resamples, seed)]
    return np.concatenate(parts)


def _drawn(clusters: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each cluster is drawn in each resample, (rows, C) at a time, R rows in all."""
    generator = np.random.default_rng(seed)
    most = max(1, _DRAWN_AT_ONCE // clusters)
    for begin in range(0, resamples, most):
        rows = min(most, resamples - begin)
        drawn = generator.integers(clusters, size=(rows, clusters)) + clusters * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters)


def _check(values: Array, clusters: Sequence[Hashable], resamples: int) -> None:
    if values.ndim not in (1, 2) or values.size == 0:
        raise ValueError(f"differences must be (N,) or (N, M) with at least 1 context and column, got {values.shape}")
    if len(values) != len(clusters):
        raise ValueError(
            f"every difference needs its cluster, got {len(values)} differences and {len(clusters)} clusters"
        )
    if len(set(clusters)) < 2:
        raise ValueError("an error over clusters needs at least 2 of them, got 1")
    if resamples < 1:
        raise ValueError(f"a bootstrap needs at least 1 resample, got {resamples}")
    if not np.isfinite(values).all():
        place = tuple(np.argwhere(~np.isfinite(values))[0].tolist())
        raise ValueError(f"differences must be finite, but {place} is {values[place]}")
