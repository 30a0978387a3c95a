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

from dialog_cvae.engines.base import Floats, Ints, Step

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
        sharpness: (R,) of `sharpness`.
        forbids: (R, F + 1) which of the tokens that may be forbidden are; the last column is false.
    """

    temperature: Doubles
    top_p: Doubles
    uniforms: Floats
    sharpness: Floats
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
    every = np.arange(len(step.ids))
    values = np.where(ways.forbids[every[:, None], forbidden.column[step.ids]], -np.inf, step.values)  # (R, K)
    whole = step.ids.shape[1] == step.logits.shape[1]
    known = values > (-np.inf if whole else step.values[:, -1:])  # an equal of the last one may have been left out
    places = values.argmax(axis=1)
    decided = known[every, places]
    samples = ways.temperature > 0
    if samples.any():
        drawn, sure = _drawn(step, values, known, ways, forbidden)
        places, decided = np.where(samples, drawn, places), np.where(samples, sure, decided)
    tokens: Ints = step.ids[every, places]
    if not decided.all():
        for row in np.flatnonzero(~decided):
            logits = step.logits[row]
            logits[forbidden.tokens[ways.forbids[row, :-1]]] = -np.inf
            tokens[row] = exactly(logits, ways.temperature[row], ways.top_p[row], ways.uniforms[row])
    return tokens


def _drawn(
    step: Step, values: Floats, known: Flags, ways: Ways, forbidden: Forbidden
) -> tuple[NDArray[np.intp], Flags]:
    """Where each row's drawn token is among the K, (R,), and whether that is sure; greedy rows hold anything."""
    every = np.arange(len(values))
    peak, sharp = step.values[:, :1].astype(np.float64), ways.sharpness[:, None]
    weights = np.where(known, np.exp((values - peak) * sharp), 0.0)
    without = np.exp((step.logits[:, forbidden.tokens] - peak) * sharp)
    total = step.tempered - np.where(ways.forbids[:, :-1], without, 0.0).sum(axis=1)
    cumulative = weights.cumsum(axis=1)
    reached = (cumulative >= (ways.top_p * total)[:, None]) & (cumulative > 0)
    border = reached.argmax(axis=1)
    everything = ways.top_p >= 1
    target = ways.uniforms * np.where(everything, total, cumulative[every, border])
    places = np.minimum((cumulative <= target[:, None]).sum(axis=1), values.shape[1] - 1)
    inside = np.where(everything, target < cumulative[:, -1], reached[every, border])
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
