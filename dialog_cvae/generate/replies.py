"""The replies to one context: which draws must still be decoded, and which of them become the answer.

Open it to learn which replies the service returns, when two replies count as the same, and what happens to unreadable
draws. The service and evaluation both use it.

The draws depend on the context, the seed and the decoding alone. Draws are numbered and take their random numbers from
blocks of `BLOCK`. More draws are requested only when all earlier ones are decoded. So neither the order in which rows
finish nor the other rows in the pool change the answer.

Shape legend: Z latent, T tokens at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from dialog_cvae.config import Decoding
from dialog_cvae.engines.base import Condition, Floats
from dialog_cvae.generate.decoding import Draw
from dialog_cvae.generate.latent_map import LatentMap
from dialog_cvae.generate.pool import Start
from dialog_cvae.generate.reading import Seen
from dialog_cvae.generate.selection import scored
from dialog_cvae.limits import visible
from dialog_cvae.text.words import normalised
from dialog_cvae.types import Conversation

BLOCK = 16  # draws whose random numbers come from one generator
LEAST_DRAWS = 8 * BLOCK  # the limit of draws is at least this, even for a single reply
DRAWS_PER_REPLY = 4  # the limit of draws for each reply wanted; after it no more distinct ones are expected
LEAST_WAVE = 4  # draws requested at once when replies are missing

Seed = int | tuple[int, ...]
"""What seeds the draws: one number, or several, each at least 0."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as text, with its probability.

    Attributes:
        text: as a person would write it.
        log_prob: log p(x | z, c) of the drawn z, in nats.
        tokens: the tokens that `log_prob` sums over, `</s>` included if it was reached.
        finished: whether `</s>` was reached; otherwise the reply is cut off.
        place: of z on the context's latent map, if requested; see `latent_map`.
        score: from 0 to 1, if there is a `min_score`. Among candidates: the mean similarity of all draws to it (see
            `selection`); otherwise exp(log_prob / tokens), the geometric mean of its tokens' probabilities.
    """

    text: str
    log_prob: float
    tokens: int
    finished: bool
    place: tuple[float, float] | None = None
    score: float | None = None


class Question(NamedTuple):
    """A conversation to answer, and how.

    Attributes:
        conversation: what was said so far; profiles and topic are used if given.
        respond_as: the speaker who answers.
        n: distinct replies wanted, at least 1.
        seed: equal seeds give equal replies; see `Seed`.
        decoding: how replies are drawn.
        at: all replies are decoded from this place of the context's latent map (see `latent_map`).
        places: whether each reply gives its place on that map; with `at` it always does.
        min_score: replies with a lower score are left out; None keeps all.
    """

    conversation: Conversation
    respond_as: str
    n: int
    seed: Seed
    decoding: Decoding
    at: tuple[float, float] | None = None
    places: bool = False
    min_score: float | None = None


class Answer(NamedTuple):
    """The replies to a question, and how much of its context they answer."""

    replies: list[Reply]
    seen: Seen


class _Noise(NamedTuple):
    """Random numbers of R draws: standard normal (R, Z) for z, uniform (R, T) for the tokens."""

    normal: Floats
    uniform: Floats


class Replies:
    """The replies to one context.

    Args:
        question: the context, and how to reply to it.
        condition: of this one context.
        latent_weight: the engine's.
        text: the text of a draw, which may be empty.
        accepts: the word filter, if any.
        seen: how much of the context the model reads.
    """

    def __init__(
        self,
        question: Question,
        condition: Condition,
        latent_weight: Floats,
        text: Callable[[Draw], str],
        accepts: Callable[[str], bool] | None,
        seen: Seen,
    ) -> None:
        self.question, self.seen = question, seen
        self._condition, self._text, self._accepts = condition, text, accepts
        self._std: Floats = np.exp(0.5 * condition.prior_logvar[0])
        self._map = (
            LatentMap.of(latent_weight, self._std)
            if (question.places or question.at is not None) and len(self._std)
            else None
        )
        self._found: dict[int, Reply | None] = {}
        self._places: dict[int, tuple[float, float]] = {}
        self._begun = 0

    @property
    def wants(self) -> int:
        """How many draws to decode next; 0 while earlier ones are being decoded, and at the end."""
        if len(self._found) < self._begun:
            return 0
        n, candidates = self.question.n, self.question.decoding.candidates
        if not self._begun:
            return max(n, candidates) if candidates else n
        missing = 0 if candidates else n - len(_distinct(self._drawn()))
        most = max(LEAST_DRAWS, n * DRAWS_PER_REPLY)
        return min(max(2 * missing, LEAST_WAVE), most - self._begun) if missing > 0 else 0

    @property
    def complete(self) -> bool:
        """Whether all draws are decoded."""
        return 0 < self._begun == len(self._found) and self.wants == 0

    def wanted(self) -> tuple[list[tuple[Replies, int]], Start, Decoding]:
        """The draws to decode next, at least one, as `Pool.add` takes them."""
        indices = range(self._begun, self._begun + self.wants)
        self._begun = indices.stop
        noise = self._noise(indices)
        normal = noise.normal * np.float32(self.question.decoding.prior_temperature)
        if self._map is not None:
            if self.question.at is not None:
                normal = self._map.moved(normal, self.question.at)
            for index, (x, y) in zip(indices, self._map.places(normal).tolist(), strict=True):
                self._places[index] = (x, y)
        z = self._condition.prior_mean + self._std * normal
        contexts = [self._condition.contexts[0]] * len(indices)
        return [(self, index) for index in indices], Start(contexts, z, noise.uniform), self.question.decoding

    def take(self, index: int, draw: Draw) -> None:
        """Store a decoded draw. One that is unreadable, or that the word filter refuses, gives no reply."""
        text = self._text(draw)
        reply = Reply(text, draw.log_prob, draw.length, draw.finished, self._places.get(index))
        self._found[index] = reply if visible(text) and (self._accepts is None or self._accepts(text)) else None

    def answer(self) -> list[Reply]:
        """Distinct replies, ordered; see `Responder.respond`."""
        least = self.question.min_score
        if least is None:
            return [reply for reply, _ in self._ordered()]
        return [replace(reply, score=score) for reply, score in self._ordered() if score >= least]

    def _ordered(self) -> Iterator[tuple[Reply, float]]:
        """At most `n` distinct replies in the answer's order, with their scores."""
        n, drawn = self.question.n, self._drawn()
        if self.question.decoding.candidates:
            chosen = scored([reply.text for reply in drawn], [reply.finished for reply in drawn], n)
            yield from ((drawn[index], score) for index, score in chosen)
        else:
            first = list(_distinct(drawn).values())[:n]
            for reply in sorted(first, key=lambda reply: reply.log_prob / reply.tokens, reverse=True):
                yield reply, math.exp(reply.log_prob / reply.tokens)

    def _drawn(self) -> list[Reply]:
        """The replies of all decoded draws, in the order of the draws."""
        return [reply for _, reply in sorted(self._found.items()) if reply is not None]

    def _noise(self, indices: range) -> _Noise:
        """The random numbers of the draws with these numbers."""
        question = self.question
        size = max(question.n, question.decoding.candidates) if question.decoding.candidates else BLOCK
        first = indices.start // size
        blocks = [self._block(number, size) for number in range(first, -(-indices.stop // size))]
        rows = slice(indices.start - first * size, indices.stop - first * size)
        return _Noise(*(np.concatenate(parts)[rows] for parts in zip(*blocks, strict=True)))

    def _block(self, number: int, size: int) -> _Noise:
        """The random numbers of `size` draws; candidates are one block."""
        decoding, seed = self.question.decoding, seed_numbers(self.question.seed)
        rng = np.random.default_rng(seed if decoding.candidates else (*seed, number))
        normal = rng.standard_normal((size, len(self._std)), dtype=np.float32)
        return _Noise(normal, rng.random((size, decoding.max_tokens), dtype=np.float32))


def seed_numbers(seed: Seed) -> tuple[int, ...]:
    """All numbers of a seed."""
    return (seed,) if isinstance(seed, int) else seed


def _distinct(replies: list[Reply]) -> dict[str, Reply]:
    """The first of each group of equal replies, by their words (`normalised`)."""
    found: dict[str, Reply] = {}
    for reply in replies:
        found.setdefault(normalised(reply.text), reply)
    return found
