"""How replies are drawn, and what a draw is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from dialog_cvae.errors import ConfigError

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
