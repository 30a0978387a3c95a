"""How far readers agree: percent and Cohen's kappa, with intervals over conversations.

Open it to see how kappa and its interval are computed.

    kappa = (p_o - p_e) / (1 - p_e),    p_e = a b + (1 - a) (1 - b)

where p_o is the share of replies on which two readers agree, and a and b are their shares of yes (Cohen, 1960, "A
Coefficient of Agreement for Nominal Scales"). The replies in a conversation resemble each other, so whole
conversations are resampled for the interval. There is none if it would look more certain than it is: with fewer than
FEW conversations, if the readers agree on each reply, or if kappa is unknown in too many resamples, as when almost all
answers are no.

Shape legend: I replies, D conversations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.score_thresholds import FEW

Array = NDArray[np.float64]

RESAMPLES = 10_000
MOST_UNKNOWN = 0.02  # share of resamples without a kappa; with more there is no interval
_LEVEL = 0.95


class Agreement(NamedTuple):
    """How far two readers agree.

    Attributes:
        replies: number of replies judged by both.
        percent: share on which they agree; None without any reply.
        kappa: None where chance alone gives full agreement, as when both always say yes.
        low: where the 95% interval of kappa begins; None where there is none, see the module.
        high: where it ends.
    """

    replies: int
    percent: float | None
    kappa: float | None
    low: float | None
    high: float | None


def agreement(first: Array, second: Array, conversations: NDArray[np.int64], seed: int = 0) -> Agreement:
    """Compare two readers.

    Args:
        first: (I,) answers 0 or 1; NaN where there is none.
        second: (I,) answers of the other reader.
        conversations: (I,) the conversation of each reply, from 0.
        seed: seed of the resamples.
    """
    both = ~np.isnan(first) & ~np.isnan(second)
    if not both.any():
        return Agreement(0, None, None, None, None)
    # how often each pair of answers occurs in each conversation, (D, 4): no no, no yes, yes no, yes yes
    pairs = (2 * first[both] + second[both]).astype(np.int64)
    counts = np.zeros((int(conversations.max()) + 1, 4))
    np.add.at(counts, (conversations[both], pairs), 1)
    counts = counts[counts.sum(axis=1) > 0]
    total = counts.sum(axis=0)
    kappa = _kappa(total[None])[0]
    percent = float((total[0] + total[3]) / total.sum())
    low, high = _interval(counts, seed) if len(counts) >= FEW and percent < 1 else (None, None)
    return Agreement(int(both.sum()), percent, None if np.isnan(kappa) else float(kappa), low, high)


def _interval(counts: Array, seed: int) -> tuple[float | None, float | None]:
    """The 95% interval of kappa from the counts (D, 4) of each conversation."""
    times = np.random.default_rng(seed).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLES)
    resampled = _kappa(times @ counts)
    if np.isnan(resampled).mean() > MOST_UNKNOWN:
        return None, None
    low, high = np.nanquantile(resampled, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def _kappa(counts: Array) -> Array:
    """Kappa from counts of pairs, (..., 4); NaN where chance alone gives full agreement."""
    shares = counts / counts.sum(axis=-1, keepdims=True)
    observed = shares[..., 0] + shares[..., 3]
    first, second = shares[..., 2] + shares[..., 3], shares[..., 1] + shares[..., 3]
    chance = first * second + (1 - first) * (1 - second)
    # full agreement by chance may differ from 1 by rounding
    room = np.where(1 - chance > 1e-12, 1 - chance, np.nan)
    kappa: Array = (observed - chance) / room
    return kappa
