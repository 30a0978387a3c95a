"""Intervals of shares, and tests of differences, with conversations as the unit.

Open it to see where an interval or a p-value of a tally comes from. A share is a mean over contexts of equal weight.
Contexts of one conversation resemble each other, so whole conversations are resampled. If each conversation has one
context, and that is a yes or a no, the interval is Wilson's (1927). Equal values, which say nothing of their spread,
have no interval, unless they are all 0 or all 1: then it is Wilson's of as many answers as there are conversations.
With fewer than FEW conversations there is no interval: it would be too narrow.

Shape legend: C contexts, D conversations.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.metrics.significance import paired_bootstrap
from eval.score_thresholds import FEW

Array = NDArray[np.float64]

RESAMPLES = 10_000
EXACT = 14  # most differences other than 0 for which all signs are tried
_Z = 1.959963984540054  # the 97.5% quantile of the normal distribution


class Share(NamedTuple):
    """A mean over contexts with its 95% interval.

    Attributes:
        mean: None without any context.
        low: where the interval begins; None with fewer than FEW conversations, or with equal values other than 0 and 1.
        high: where it ends.
        contexts: with a value.
    """

    mean: float | None
    low: float | None
    high: float | None
    contexts: int


class PairedDifference(NamedTuple):
    """The mean difference of two sources over the same contexts, with its 95% interval.

    Attributes:
        mean: None without any context.
        low: where the interval begins; None with fewer than FEW conversations, or if all their differences are equal.
        high: where it ends.
        p: two-sided, of the sign-flip test; None with the mean.
        contexts: in which both have a value.
    """

    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    contexts: int


def share(values: Array, conversations: Sequence[Hashable], seed: int = 0) -> Share:
    """The mean of values (C,) from 0 to 1, with its interval; NaN is left out.

    Args:
        values: of the contexts.
        conversations: (C,) of the contexts.
        seed: of the bootstrap.
    """
    known, groups = _known(values, conversations)
    if len(known) == 0:
        return Share(None, None, None, 0)
    mean, count = float(known.mean()), len(set(groups))
    if count < FEW:
        return Share(mean, None, None, len(known))
    if mean in (0.0, 1.0) or (count == len(known) and np.isin(known, (0.0, 1.0)).all()):
        return Share(mean, *wilson(float(known.sum()) * count / len(known), count), len(known))
    return Share(mean, *_bootstrap(known, groups, seed), len(known))


def wilson(yes: float, n: int) -> tuple[float, float]:
    """The 95% interval of a share by Wilson (1927).

    Args:
        yes: how many of n.
        n: at least 1.
    """
    p, square = yes / n, _Z * _Z / n
    middle = (p + square / 2) / (1 + square)
    half = _Z * math.sqrt(p * (1 - p) / n + square / (4 * n)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_difference(
    first: Array, second: Array, conversations: Sequence[Hashable], seed: int = 0
) -> PairedDifference:
    """The mean of first minus second, (C,) each; contexts in which one is NaN are left out.

    Args:
        first: values of one source.
        second: of the other.
        conversations: (C,) of the contexts; in the test, the differences of one have the same sign.
        seed: of everything drawn.
    """
    known, groups = _known(first - second, conversations)
    if len(known) == 0:
        return PairedDifference(None, None, None, None, 0)
    low, high = _bootstrap(known, groups, seed) if len(set(groups)) >= FEW else (None, None)
    return PairedDifference(float(known.mean()), low, high, sign_flip(_totals(known, groups), seed), len(known))


def _known(values: Array, conversations: Sequence[Hashable]) -> tuple[Array, list[Hashable]]:
    """The values that are not NaN, and their conversations."""
    known = np.flatnonzero(~np.isnan(values))
    return values[known], [conversations[index] for index in known.tolist()]


def _totals(values: Array, groups: Sequence[Hashable]) -> Array:
    """(D,) the sum of each conversation's values, in the order of the first ones."""
    order = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    return np.bincount([order[group] for group in groups], weights=values).astype(np.float64)


def _bootstrap(values: Array, groups: Sequence[Hashable], seed: int) -> tuple[float | None, float | None]:
    """The 95% interval of the mean; none if the means of all conversations are equal."""
    means = _totals(values, groups) / _totals(np.ones(len(values)), groups)
    if np.ptp(means) <= 1e-12:  # equal means may differ by rounding
        return None, None
    found = paired_bootstrap(values, groups, resamples=RESAMPLES, seed=seed)
    return float(found.low), float(found.high)


def sign_flip(differences: Array, seed: int = 0) -> float:
    """The two-sided p-value of a permutation test in which each difference (D,) may have either sign.

    If at most EXACT differences are not 0, all signs are tried. Otherwise RESAMPLES random signs are tried. Then p is
    (t + 1) / (RESAMPLES + 1), where t of them give a mean at least as far from 0 as the real one.
    """
    rest = differences[differences != 0]
    limit = abs(rest.sum()) - 1e-9 * np.abs(rest).sum()  # equal sums may differ by rounding
    if len(rest) <= EXACT:
        signs = 1.0 - 2.0 * (np.arange(2 ** len(rest))[:, None] >> np.arange(len(rest)) & 1)
        return float((np.abs(signs @ rest) >= limit).mean())
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), (RESAMPLES, len(rest)))
    return float(((np.abs(signs @ rest) >= limit).sum() + 1) / (RESAMPLES + 1))
