"""How a checkpoint is evaluated.

Open it to add a setting. A change here recomputes everything that evaluations have cached.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import model_validator
from tqdm import tqdm

from dialog_cvae.config import Config, Decoding

SINGLE_REFERENCE_SAMPLES = 10  # samples in DialogWAE's protocol

Progress = Callable[[int, str], "tqdm[Any]"]
"""Makes a progress bar from its number of steps and its title; the bar is used as a context manager."""

ReplyProtocol = Literal["paper", "service"]
"""How replies are drawn.

paper: as many draws as replies, duplicates and empty texts included, in the order of the draws.
service: the replies that `Responder.respond`, and so the service, would give: distinct, readable, ordered.
"""


Precision = Literal["fp32", "bf16"]
"""Of a language model's own weights, and of products with them; what was added to it is always in fp32."""


class Settings(Config):
    """How a checkpoint is evaluated.

    Attributes:
        samples: replies to each context; 0 for likelihoods alone.
        seed: of everything that is drawn.
        decoding: how tokens are drawn.
        protocol: how replies are drawn; see `ReplyProtocol`.
        importance_samples: draws of z for the importance-weighted likelihood, 0 for none; see `model_scores`.
        single_reference: also score ten replies to each context by DialogWAE's protocol.
        precision: precision of a language model's likelihoods.
    """

    samples: int = 5
    seed: int = 0
    decoding: Decoding = Decoding()
    protocol: ReplyProtocol = "paper"
    importance_samples: int = 5
    single_reference: bool = False
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _paper_selects_nothing(self) -> Self:
        if self.protocol == "paper" and self.decoding.candidates:
            raise ValueError(
                f"decoding.candidates must be 0 with protocol 'paper', which keeps every draw, "
                f"but is {self.decoding.candidates}"
            )
        return self

    @property
    def sample_counts(self) -> tuple[int, ...]:
        """Replies to each context: for the main scores and, if requested, for DialogWAE's protocol."""
        return (self.samples, *([SINGLE_REFERENCE_SAMPLES] if self.single_reference else []))
