"""One knob from likely to varied replies, in place of temperature, prior temperature and number of candidates."""

from __future__ import annotations

from dataclasses import replace

from dialog_cvae.decoding import MIN_TEMPERATURE, Decoding
from dialog_cvae.errors import ConfigError

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
