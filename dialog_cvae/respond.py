"""From a conversation to ranked, distinct candidate replies (placeholder contract while the model is being written)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dialog_cvae.types import Conversation


@dataclass(frozen=True, slots=True)
class Response:
    """A candidate: its text, log p(x | z, c) in nats of the drawn z, and its token count with `</s>`."""

    text: str
    log_prob: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Decoding:
    """How candidates are drawn. temperature 0 is greedy decoding of each z; top_p is nucleus sampling."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 40


class Responder:
    """A loaded checkpoint that answers."""

    name: str
    topics: tuple[str, ...]
    max_context: int

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu") -> Responder:
        """Open a checkpoint folder."""
        raise NotImplementedError

    def respond(
        self, conversation: Conversation, *, respond_as: str, n: int, seed: int, decoding: Decoding
    ) -> list[Response]:
        """At most n distinct replies of `respond_as`, best per token first; fewer when no more exist."""
        raise NotImplementedError
