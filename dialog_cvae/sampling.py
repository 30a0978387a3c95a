"""The choice of the next token: greedy, or from the nucleus of a tempered distribution.

The nucleus is the smallest set of likeliest tokens that together have the probability asked for; at 1 it is the whole
vocabulary. It is walked through from the likeliest token on, until a uniform number is used up. Almost always the few
likeliest tokens decide that, which the engine has found already; where they do not, all logits of the row are looked
at. Both ways give the same token, but for rounding at the border between two.

Shape legend: R rows, V vocabulary, K likeliest tokens, F tokens that are forbidden in some row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.runtime.base import Floats, Ints, Step

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]

GREEDY_LIKELIEST = 8  # tokens asked of the engine: that many must be forbidden before the rest is looked at
NUCLEUS_LIKELIEST = 64
NUCLEUS_BOUND = 256  # tokens below this part of what a nucleus leaves out are seldom in it
LEAST_SHARE = 1e-3  # of the single-precision sum that permitted tokens must have for it to be accurate enough


class Forbidden(NamedTuple):
    """Tokens that may be forbidden in some row.

    Attributes:
        tokens: (F,) distinct ids.
        column: (V,) where each token of the vocabulary is among them, F for those that never are.
    """

    tokens: Ints
    column: Ints

    @classmethod
    def of(cls, tokens: Iterable[int], vocabulary: int) -> Forbidden:
        """From any order of ids below `vocabulary`."""
        distinct = np.unique(np.fromiter(tokens, dtype=np.int64))
        column = np.full(vocabulary, len(distinct), dtype=np.int64)
        column[distinct] = np.arange(len(distinct))
        return cls(distinct, column)


class Ways(NamedTuple):
    """How the token of each row is drawn.

    Attributes:
        temperature: (R,) 0 is greedy.
        top_p: (R,).
        uniforms: (R,) in [0, 1).
        forbids: (R, F) which of the tokens that may be forbidden are.
    """

    temperature: Doubles
    top_p: Doubles
    uniforms: Floats
    forbids: Flags


def sharpness(temperature: Doubles) -> Floats:
    """What logits are multiplied by, (R,): 1 where the choice is greedy."""
    return np.divide(1.0, temperature, out=np.ones_like(temperature), where=temperature > 0).astype(np.float32)


def choose(step: Step, ways: Ways, forbidden: Forbidden) -> Ints:
    """The next tokens (R,).

    Args:
        step: what the engine says; its logits may be changed.
        ways: of each row.
        forbidden: tokens that may be forbidden.
    """
    values = _permitted(step, ways.forbids, forbidden)
    whole = step.ids.shape[1] == step.logits.shape[1]
    known = values > (-np.inf if whole else step.values[:, -1:])  # an equal of the last one may have been left out
    places, decided = _likeliest(values, known)
    samples = ways.temperature > 0
    if samples.any():
        drawn, sure = _drawn(step, values, known, ways, forbidden)
        places, decided = np.where(samples, drawn, places), np.where(samples, sure, decided)
    tokens: Ints = np.take_along_axis(step.ids, places[:, None], axis=1)[:, 0]
    for row in np.flatnonzero(~decided):
        logits = step.logits[row]
        logits[forbidden.tokens[ways.forbids[row]]] = -np.inf
        tokens[row] = exactly(logits, ways.temperature[row], ways.top_p[row], ways.uniforms[row])
    return tokens


def _permitted(step: Step, forbids: Flags, forbidden: Forbidden) -> Doubles:
    """The likeliest logits (R, K), -inf where the token is forbidden."""
    padded = np.pad(forbids, ((0, 0), (0, 1)))
    return np.where(np.take_along_axis(padded, forbidden.column[step.ids], axis=1), -np.inf, step.values)


def _likeliest(values: Doubles, known: Flags) -> tuple[NDArray[np.intp], Flags]:
    """Where each row's likeliest permitted token is among the K, (R,), and whether that is sure."""
    places = values.argmax(axis=1)
    return places, np.take_along_axis(known, places[:, None], axis=1)[:, 0]


def _drawn(
    step: Step, values: Doubles, known: Flags, ways: Ways, forbidden: Forbidden
) -> tuple[NDArray[np.intp], Flags]:
    """Where each row's drawn token is among the K, (R,), and whether that is sure; greedy rows hold anything."""
    peak = step.values[:, :1].astype(np.float64)
    sharp = sharpness(ways.temperature).astype(np.float64)[:, None]
    weights = np.where(known, np.exp((values - peak) * sharp), 0.0)
    without = np.exp((step.logits[:, forbidden.tokens].astype(np.float64) - peak) * sharp)
    total = step.tempered - np.where(ways.forbids, without, 0.0).sum(axis=1)
    cumulative = weights.cumsum(axis=1)
    reached = (cumulative >= (ways.top_p * total)[:, None]) & (cumulative > 0)
    border = np.take_along_axis(cumulative, reached.argmax(axis=1)[:, None], axis=1)[:, 0]
    everything = ways.top_p >= 1
    target = ways.uniforms * np.where(everything, total, border)
    places = np.minimum((cumulative <= target[:, None]).sum(axis=1), values.shape[1] - 1)
    inside = np.where(everything, target < cumulative[:, -1], reached.any(axis=1))
    return places, inside & (total > LEAST_SHARE * step.tempered)


def exactly(logits: Floats, temperature: float, top_p: float, uniform: float) -> int:
    """The token of one row from all its logits (V,), -inf where it may not be drawn."""
    if temperature == 0:
        return int(logits.argmax())
    weights = logits.astype(np.float64)
    weights -= weights.max()
    weights /= temperature
    np.exp(weights, out=weights)
    candidates = _candidates(weights, top_p)
    order = candidates[np.argsort(-weights[candidates], kind="stable")]
    cumulative = weights[order].cumsum()
    if top_p < 1:
        cumulative = cumulative[: int(cumulative.searchsorted(top_p * weights.sum())) + 1]
    return int(order[cumulative.searchsorted(uniform * cumulative[-1], side="right")])


def _candidates(weights: Doubles, top_p: float) -> NDArray[np.intp]:
    """Tokens among which the nucleus is: all above a weight, so few that sorting them is cheap.

    The V tokens below (1 - top_p) / V hold less than what a nucleus leaves out; mostly a higher bound will do.
    """
    total, bound = weights.sum(), NUCLEUS_BOUND
    while True:
        candidates = np.flatnonzero(weights >= (1 - top_p) * total / bound)
        if bound >= len(weights) or weights[candidates].sum() >= top_p * total:
            return candidates
        bound *= 4
