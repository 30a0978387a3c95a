"""The values of decoding: draws, special token ids, and the options that a `diversity` sets.

Open it to change what `diversity` does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from dialog_cvae.config import MIN_TEMPERATURE, Decoding
from dialog_cvae.errors import ConfigError


class SpecialIds(NamedTuple):
    """Token ids that decoding treats specially.

    Attributes:
        end: ends a reply; never its first token, because a reply is not empty.
        unknown: forbidden unless the decoding allows it; None if the tokenizer writes any text.
        forbidden: never generated.
    """

    end: int
    unknown: int | None
    forbidden: tuple[int, ...]


class TokenScore(NamedTuple):
    """How likely the model found one token of a reply, under its own distribution.

    Attributes:
        token: its id.
        log_prob: log p(token | z, c, earlier tokens), in nats.
        likeliest: the likeliest tokens in its place and their log probabilities, the likeliest first.
    """

    token: int
    log_prob: float
    likeliest: tuple[tuple[int, float], ...]


class Draw(NamedTuple):
    """A decoded reply.

    Attributes:
        tokens: ids without `<s>` and `</s>`.
        log_prob: log p(x | z, c) in nats of these tokens and, if it was reached, `</s>`; always under the model's own
            distribution: temperature, nucleus and forbidden tokens do not change it.
        length: number of tokens that `log_prob` sums over.
        scores: the scores of these tokens, if requested.
    """

    tokens: tuple[int, ...]
    log_prob: float
    length: int
    scores: tuple[TokenScore, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether `</s>` was reached."""
        return self.length > len(self.tokens)


MOST_TEMPERATURE = 0.8
LEAST_PRIOR, MOST_PRIOR = 0.4, 1.2
CANDIDATES = 32


def decoding_for(diversity: float, base: Decoding) -> Decoding:
    """The decoding for a diversity.

    At 0, z is drawn from the prior with less than half its standard deviation and decoded greedily. At 1, tokens are
    sampled too, and z is drawn from a wider prior than the model's own. Both temperatures are linear in between. The
    replies are always selected from candidates, so that they represent all of them.

    Args:
        diversity: from 0 to 1.
        base: gives the other options: nucleus, token limit, and number of candidates if it has one.

    Raises:
        ConfigError: `diversity` is out of its range.
    """
    if not 0.0 <= diversity <= 1.0:
        raise ConfigError(f"diversity must be from 0 to 1, but is {diversity}")
    temperature = MOST_TEMPERATURE * diversity
    return replace(
        base,
        temperature=temperature if temperature >= MIN_TEMPERATURE else 0.0,
        prior_temperature=LEAST_PRIOR + (MOST_PRIOR - LEAST_PRIOR) * diversity,
        candidates=base.candidates or CANDIDATES,
    )


def nearest_diversity(decoding: Decoding) -> float | None:
    """The diversity with the same temperature, at most 1; None where words are not sampled."""
    return min(1.0, decoding.temperature / MOST_TEMPERATURE) if decoding.temperature else None
