"""One number for how varied replies are."""

from __future__ import annotations

from dataclasses import replace

from dialog_cvae.decoding import Decoding


def decoding_for(diversity: float, base: Decoding) -> Decoding:
    """The decoding of a diversity from 0 (likely) to 1 (varied), with the tokens of `base`."""
    return replace(
        base, temperature=round(0.1 + 0.9 * diversity, 3), top_p=0.9, prior_temperature=0.5 + diversity, candidates=32
    )
