"""From latent codes to token sequences: greedy or nucleus decoding in buckets of a fixed number of rows.

A matrix product's rounding depends on its shape. Rows are therefore always decoded `ROWS` at a time: a finished row
makes room for the next, and where there are too few, some stand twice. So a row's draw never depends on what stands
beside it, nor on how much does, as long as the engine treats all places among the `ROWS` alike.

Shape legend: R rows, C condition, Z latent, D decoder state, V vocabulary, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.errors import ConfigError
from dialog_cvae.runtime.base import ROWS, Engine, Floats, Ints

NUCLEUS_BOUND = 256  # tokens below this part of what a nucleus leaves out are seldom in it
MAX_TOKENS = 1000
MAX_CANDIDATES = 256  # selecting among them takes a fraction of the time that drawing them does
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 10.0  # beside 0; outside, sampling is greedy or uniform in all but name


@dataclass(frozen=True, slots=True)
class Decoding:
    """How replies are drawn: z from the prior, then its tokens.

    Attributes:
        temperature: 0 takes the likeliest token, as the paper does; 1 samples from the model's distribution; from 0.01
            to 10 otherwise.
        top_p: nucleus sampling: only the likeliest tokens that together have this probability (Holtzman et al., 2020).
        max_tokens: tokens at most, `</s>` included; up to 1000.
        allow_unknown: whether the unknown word may be generated.
        prior_temperature: what the prior's standard deviations are multiplied by, from 0 (z is its mean, and at
            temperature 0 all replies are equal) to 10; 1 is the model's own prior.
        candidates: draws from which the replies to a context are selected (see `selection`), at most 256, and never
            fewer than the replies wanted; 0 takes the first draws instead.

    Raises:
        ConfigError: a field is out of its range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 40
    allow_unknown: bool = False
    prior_temperature: float = 1.0
    candidates: int = 0

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # where it is read from a file

    def __post_init__(self) -> None:
        if self.temperature != 0 and not MIN_TEMPERATURE <= self.temperature <= MAX_TEMPERATURE:
            raise ConfigError(
                f"temperature must be 0 or from {MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}, but is {self.temperature}"
            )
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be above 0 and at most 1, but is {self.top_p}")
        if not 1 <= self.max_tokens <= MAX_TOKENS:
            raise ConfigError(f"max_tokens must be from 1 to {MAX_TOKENS}, but is {self.max_tokens}")
        if not 0 <= self.prior_temperature <= MAX_TEMPERATURE:
            raise ConfigError(
                f"prior_temperature must be from 0 to {MAX_TEMPERATURE:g}, but is {self.prior_temperature}"
            )
        if not 0 <= self.candidates <= MAX_CANDIDATES:
            raise ConfigError(f"candidates must be from 0 to {MAX_CANDIDATES}, but is {self.candidates}")


class SpecialIds(NamedTuple):
    """Token ids that decoding treats apart: where to begin and end, and which may never be generated."""

    begin: int
    end: int
    forbidden: tuple[int, ...]


class Draw(NamedTuple):
    """A decoded response.

    Attributes:
        tokens: ids without `<s>` and `</s>`.
        log_prob: log p(x | z, c) in nats of these tokens and, if it was reached, `</s>`; always under the model's own
            distribution, whatever temperature, nucleus or forbidden tokens did to the draw.
        length: the tokens that `log_prob` sums over.
    """

    tokens: tuple[int, ...]
    log_prob: float
    length: int

    @property
    def finished(self) -> bool:
        """Whether `</s>` was reached."""
        return self.length > len(self.tokens)


def decode(
    engine: Engine, condition: Floats, z: Floats, uniforms: Floats, decoding: Decoding, special: SpecialIds
) -> list[Draw]:
    """Decode one response per row.

    Args:
        engine: the model.
        condition: (R, C).
        z: (R, Z).
        uniforms: (R, T) numbers in [0, 1), T >= decoding.max_tokens; at a temperature above 0 each step uses one.
        decoding: how to draw.
        special: ids of the tokenizer.

    Returns:
        R draws, each a function of its own row.
    """
    total, limit = len(z), decoding.max_tokens
    if total == 0:
        return []
    starts = np.concatenate([_start(engine, condition[i : i + ROWS], z[i : i + ROWS]) for i in range(0, total, ROWS)])
    written = np.full((total, limit), special.end, dtype=np.int64)
    log_prob, length = np.zeros(total), np.zeros(total, dtype=np.int64)
    waiting = iter(range(ROWS, total))
    row = np.arange(ROWS) % total  # the row in each slot; slots without one of their own follow another's
    running = np.arange(ROWS) < total
    state, tokens = starts[row], np.full(ROWS, special.begin, dtype=np.int64)
    while running.any():
        logits, state = engine.step(tokens, state)
        step = np.minimum(length[row], limit - 1)
        normaliser = log_normaliser(logits)  # before some tokens are ruled out: log_prob is the model's own
        _forbid(logits, step, special)
        tokens = choose(logits, decoding.temperature, decoding.top_p, uniforms[row, step])
        chosen = np.take_along_axis(logits, tokens[:, None], axis=1)[:, 0] - normaliser
        active = row[running]
        written[active, step[running]] = tokens[running]
        log_prob[active] += chosen[running]
        length[active] += 1
        finished = running & ((tokens == special.end) | (length[row] == limit))
        for slot in np.flatnonzero(finished):
            following = next(waiting, None)
            if following is None:
                running[slot] = False
            else:
                row[slot], tokens[slot], state[slot] = following, special.begin, starts[following]
    return [_draw(written[r], log_prob[r], length[r], special.end) for r in range(total)]


def _start(engine: Engine, condition: Floats, z: Floats) -> Floats:
    """The decoder's first states, of `ROWS` rows at a time: fewer are padded with copies of the first."""
    missing = ROWS - len(z)
    padded = (np.concatenate((array, np.repeat(array[:1], missing, axis=0))) for array in (condition, z))
    return engine.start(*padded)[: len(z)]


def _forbid(logits: Floats, step: Ints, special: SpecialIds) -> None:
    """Set logits to -inf where a token may not be drawn; `step` (R,) counts each row's tokens so far."""
    logits[:, special.forbidden] = -np.inf
    logits[step == 0, special.end] = -np.inf  # an empty reply is no reply


def _draw(written: Ints, log_prob: float, length: int, end: int) -> Draw:
    ids = written[:length].tolist()
    return Draw(tuple(ids[:-1] if ids[-1] == end else ids), float(log_prob), int(length))


def log_normaliser(logits: Floats) -> NDArray[np.float64]:
    """Log of the sum of exp(logits), (R, V) -> (R,) nats."""
    peak = logits.max(axis=1)
    shifted = logits - peak[:, None]
    normaliser: NDArray[np.float64] = np.log(np.exp(shifted, out=shifted).sum(axis=1, dtype=np.float64)) + peak
    return normaliser


def choose(logits: Floats, temperature: float, top_p: float, uniforms: Floats) -> Ints:
    """The next tokens (R,): the likeliest at temperature 0, else by inversion of the (nucleus) distribution.

    Args:
        logits: (R, V), -inf where a token may not be drawn.
        temperature: divides the logits; 0 is greedy.
        top_p: share of probability kept.
        uniforms: (R,) in [0, 1).
    """
    if temperature == 0:
        likeliest: Ints = logits.argmax(axis=1)
        return likeliest
    weights = logits.astype(np.float64)
    weights -= weights.max(axis=1, keepdims=True)
    weights /= temperature
    np.exp(weights, out=weights)
    if top_p < 1:
        return np.array([_draw_nucleus(w, top_p, u) for w, u in zip(weights, uniforms, strict=True)], dtype=np.int64)
    cumulative = weights.cumsum(axis=1, out=weights)
    drawn: Ints = (cumulative <= uniforms[:, None] * cumulative[:, -1:]).sum(axis=1)
    return drawn


def _draw_nucleus(weights: NDArray[np.float64], top_p: float, uniform: float) -> int:
    """Draw from the smallest set of likeliest tokens whose probability reaches `top_p`; of equals the first counts."""
    candidates = _candidates(weights, top_p)
    order = candidates[np.argsort(-weights[candidates], kind="stable")]
    cumulative = weights[order].cumsum()
    nucleus = cumulative[: int(cumulative.searchsorted(top_p * weights.sum())) + 1]
    return int(order[nucleus.searchsorted(uniform * nucleus[-1], side="right")])


def _candidates(weights: NDArray[np.float64], top_p: float) -> NDArray[np.intp]:
    """Tokens among which the nucleus is: all above a weight, so few that sorting them is cheap.

    The V tokens below (1 - top_p) / V hold less than what a nucleus leaves out; mostly a higher bound will do.
    """
    total, bound = weights.sum(), NUCLEUS_BOUND
    while True:
        candidates = np.flatnonzero(weights >= (1 - top_p) * total / bound)
        if bound >= len(weights) or weights[candidates].sum() >= top_p * total:
            return candidates
        bound *= 4


def special_ids(begin: int, end: int, never_generated: Sequence[int], unknown: int, decoding: Decoding) -> SpecialIds:
    """The ids for one way of decoding: `unknown` is let through if that allows it."""
    forbidden = (i for i in never_generated if not (decoding.allow_unknown and i == unknown))
    return SpecialIds(begin, end, tuple(forbidden))
