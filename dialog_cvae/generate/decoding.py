"""What a draw is, and one knob from likely to varied replies."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from dialog_cvae.config import MIN_TEMPERATURE, Decoding
from dialog_cvae.errors import ConfigError


class SpecialIds(NamedTuple):
    """Token ids that decoding treats apart.

    Attributes:
        begin: what a response begins with.
        end: what ends it, and may not be its first token: an empty reply is no reply.
        unknown: forbidden unless a way of decoding allows it.
        forbidden: may never be generated.
    """

    begin: int
    end: int
    unknown: int
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


MOST_TEMPERATURE = 0.8
LEAST_PRIOR, MOST_PRIOR = 0.4, 1.2
CANDIDATES = 32


def decoding_for(diversity: float, base: Decoding) -> Decoding:
    """How replies of this diversity are drawn.

    At 0 each z, from a prior of less than half its width, is decoded greedily; at 1 words are sampled too, and z from a
    wider prior than the model's own. Both temperatures rise evenly between. The replies are always selected so that
    together they stand for all candidates.

    Args:
        diversity: from 0 to 1.
        base: gives everything else: nucleus, tokens at most, and the number of candidates if it has one.

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
