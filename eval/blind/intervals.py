"""Intervals of shares, and tests of differences, with contexts as the unit.

Open it to see where an interval or a p-value of a tally comes from. A share is a mean over contexts of equal weight. If
each context is a yes or a no, its interval is Wilson's (1927); otherwise it comes from a bootstrap over contexts. Equal
values, which say nothing of their spread, have no interval, unless they are all 0 or all 1.

Shape legend: C contexts.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.metrics.significance import paired_bootstrap

Array = NDArray[np.float64]

RESAMPLES = 10_000
EXACT = 14  # most differences other than 0 for which all signs are tried
_Z = 1.959963984540054  # the 97.5% quantile of the normal distribution


class Share(NamedTuple):
    """A mean over contexts with its 95% interval.

    Attributes:
        mean: None without any context.
        low: where the interval begins; None with fewer than 2 contexts, or with equal values other than 0 and 1.
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
        low: where the interval begins; None with fewer than 2 contexts, or if all differences are equal.
        high: where it ends.
        p: two-sided, of the sign-flip test; None with the mean.
        contexts: in which both have a value.
    """

    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    contexts: int


def share(values: Array, seed: int = 0) -> Share:
    """The mean of values (C,) from 0 to 1, with its interval; NaN is left out."""
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return Share(None, None, None, 0)
    mean = float(known.mean())
    if len(known) > 1 and np.isin(known, (0.0, 1.0)).all():
        return Share(mean, *wilson(float(known.sum()), len(known)), len(known))
    if np.ptp(known) == 0:
        return Share(mean, None, None, len(known))
    found = paired_bootstrap(known, range(len(known)), resamples=RESAMPLES, seed=seed)
    return Share(mean, float(found.low), float(found.high), len(known))


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


def paired_difference(first: Array, second: Array, seed: int = 0) -> PairedDifference:
    """The mean of first minus second, (C,) each; contexts in which one is NaN are left out."""
    differences = first - second
    known = differences[~np.isnan(differences)]
    if len(known) == 0:
        return PairedDifference(None, None, None, None, 0)
    low = high = None
    if np.ptp(known) > 0:
        found = paired_bootstrap(known, range(len(known)), resamples=RESAMPLES, seed=seed)
        low, high = float(found.low), float(found.high)
    return PairedDifference(float(known.mean()), low, high, sign_flip(known, seed), len(known))


def sign_flip(differences: Array, seed: int = 0) -> float:
    """The two-sided p-value of a permutation test in which each difference (C,) may have either sign.

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
