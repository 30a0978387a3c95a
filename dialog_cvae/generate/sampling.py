"""The choice of the next token: greedy, or from the nucleus of a tempered distribution.

Open it to see how a token is drawn. The nucleus is the smallest set of likeliest tokens with a total probability of
`top_p`; at 1 it is the whole vocabulary. A uniform number selects a token by the cumulative probability of the nucleus,
from the likeliest token on. Usually the few likeliest tokens, which the engine has already found, decide this.
Otherwise all logits of the row are used. Both ways give the same token, up to rounding at the border between two.

Shape legend: R rows, V vocabulary, K likeliest tokens, F tokens that are forbidden in some row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.engines.base import Flags, Floats, Ints, Step

Doubles = NDArray[np.float64]

GREEDY_LIKELIEST = 8  # tokens requested from the engine; other tokens are used only if all of these are forbidden
NUCLEUS_LIKELIEST = 64
NUCLEUS_BOUND = 256  # tokens below this fraction of the probability outside a nucleus are seldom in it
LEAST_SHARE = 1e-3  # if permitted tokens have less of a single-precision sum, the sum is not accurate enough


class Forbidden(NamedTuple):
    """Tokens that may be forbidden in some row.

    Attributes:
        tokens: (F,) distinct ids.
        column: (V,) the index of each token in `tokens`, F for tokens that are never forbidden.
    """

    tokens: Ints
    column: Ints

    @classmethod
    def of(cls, tokens: Iterable[int], vocabulary: int) -> Forbidden:
        """The table of these ids, which are below `vocabulary` and in any order."""
        distinct = np.unique(np.fromiter(tokens, dtype=np.int64))
        column = np.full(vocabulary, len(distinct), dtype=np.int64)
        column[distinct] = np.arange(len(distinct))
        return cls(distinct, column)


class SamplingParameters(NamedTuple):
    """Sampling parameters of each row.

    Attributes:
        temperature: (R,) 0 is greedy.
        top_p: (R,).
        uniforms: (R,) in [0, 1).
        inverse_temperature: (R,) factor of the logits; see the function of this name.
        forbids: (R, F + 1) which tokens of `Forbidden` are forbidden; the last column is false.
    """

    temperature: Doubles
    top_p: Doubles
    uniforms: Floats
    inverse_temperature: Floats
    forbids: Flags


def inverse_temperature(temperature: Doubles) -> Floats:
    """The factor of the logits, (R,): 1 if the choice is greedy."""
    return np.divide(1.0, temperature, out=np.ones_like(temperature), where=temperature > 0).astype(np.float32)


def choose(step: Step, parameters: SamplingParameters, forbidden: Forbidden) -> Ints:
    """The next tokens (R,).

    Args:
        step: the engine's result; its logits may be changed.
        parameters: sampling parameters of each row.
        forbidden: tokens that may be forbidden.
    """
    every = np.arange(len(step.ids))
    values = np.where(parameters.forbids[every[:, None], forbidden.column[step.ids]], -np.inf, step.values)  # (R, K)
    whole = step.ids.shape[1] == step.logits.shape[1]
    known = values > (-np.inf if whole else step.values[:, -1:])  # tokens equal to the last one may be missing
    places = values.argmax(axis=1)
    decided = known[every, places]
    samples = parameters.temperature > 0
    if samples.any():
        drawn, sure = _drawn(step, values, known, parameters, forbidden)
        places, decided = np.where(samples, drawn, places), np.where(samples, sure, decided)
    tokens: Ints = step.ids[every, places]
    if not decided.all():
        for row in np.flatnonzero(~decided):
            logits = step.logits[row]
            logits[forbidden.tokens[parameters.forbids[row, :-1]]] = -np.inf
            tokens[row] = exactly(logits, parameters.temperature[row], parameters.top_p[row], parameters.uniforms[row])
    return tokens


def _drawn(
    step: Step, values: Floats, known: Flags, parameters: SamplingParameters, forbidden: Forbidden
) -> tuple[NDArray[np.intp], Flags]:
    """(R,) each row's drawn token, as an index into the K, and whether it is certain; meaningless for greedy rows."""
    every = np.arange(len(values))
    peak, sharp = step.values[:, :1].astype(np.float64), parameters.inverse_temperature[:, None]
    weights = np.where(known, np.exp((values - peak) * sharp), 0.0)
    without = np.exp((step.logits[:, forbidden.tokens] - peak) * sharp)
    total = step.tempered - np.where(parameters.forbids[:, :-1], without, 0.0).sum(axis=1)
    cumulative = weights.cumsum(axis=1)
    reached = (cumulative >= (parameters.top_p * total)[:, None]) & (cumulative > 0)
    border = reached.argmax(axis=1)
    everything = parameters.top_p >= 1
    target = parameters.uniforms * np.where(everything, total, cumulative[every, border])
    places = np.minimum((cumulative <= target[:, None]).sum(axis=1), values.shape[1] - 1)
    inside = np.where(everything, target < cumulative[:, -1], reached[every, border])
    return places, inside & (total > LEAST_SHARE * step.tempered)


def exactly(logits: Floats, temperature: float, top_p: float, uniform: float) -> int:
    """The token of one row, from all its logits (V,); they are -inf for forbidden tokens."""
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
    """A set of tokens that contains the nucleus: all above some weight, few enough to sort cheaply.

    All tokens below (1 - top_p) / V together have less probability than what is outside the nucleus, so none of them
    is needed; usually a higher bound is enough.
    """
    total, bound = weights.sum(), NUCLEUS_BOUND
    while True:
        candidates = np.flatnonzero(weights >= (1 - top_p) * total / bound)
        if bound >= len(weights) or weights[candidates].sum() >= top_p * total:
            return candidates
        bound *= 4
