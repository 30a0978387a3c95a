"""The replies to one context: which draws must still be decoded, and which of them become the answer.

Open it to learn which replies the service returns, when two replies count as the same, and what happens to unreadable
draws. The service and evaluation both use it.

The draws depend on the context, the seed and the decoding alone. Draws are numbered and take their random numbers from
blocks of `BLOCK`, or of as many as there are candidates. More draws are requested only when all earlier ones are
decoded. So neither the order in which rows finish nor the other rows in the pool change the answer.

Replies of the training conversations can be candidates too. The model scores both kinds by log p(x | z, c). A draw has
the z that it was decoded from. A retrieved reply has the z that makes it likeliest among a few values (`scoring_z`):
the prior's mean and draws from the prior. The answer is then always selected from the candidates. A candidate's weight
says how much likelier, per token, context and z make it than its words are in general (`selection.draw_weights`).

Shape legend: Z latent, T most tokens, S values of z for scoring.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dialog_cvae.config import Decoding
from dialog_cvae.engines.base import Condition, Floats
from dialog_cvae.generate.codec import Seen
from dialog_cvae.generate.decoding import Draw
from dialog_cvae.generate.latent_map import LatentMap
from dialog_cvae.generate.pool import Start
from dialog_cvae.generate.question import Question, Reply, Retrieved, scoring_z, seed_numbers
from dialog_cvae.generate.selection import draw_weights, select
from dialog_cvae.limits import visible
from dialog_cvae.text.words import normalised

BLOCK = 16  # draws whose random numbers come from one generator
LEAST_DRAWS = 8 * BLOCK  # lowest limit of draws, even for a single reply
DRAWS_PER_REPLY = 4  # limit of draws for each reply wanted; more would hardly give further distinct replies
LEAST_WAVE = 4  # draws requested at once when replies are missing

SCORING = 2**31  # part of the seed of these values; no block of draws has this number


class _Noise(NamedTuple):
    """Random numbers of R draws: standard normal (R, Z) for z, uniform (R, T) for the tokens."""

    normal: Floats
    uniform: Floats


class Replies:
    """The replies to one context.

    Args:
        question: the context, and how to reply to it.
        condition: the engine's condition for this one context.
        latent_weight: the engine's.
        text: the text of a draw, which may be empty.
        accepts: whether a reply may be returned, by the word filter and the guard; None: every reply may.
        seen: how much of the context the model reads.
        retrieved: replies of the training conversations that may be returned.
        information: the information in a text, in nats; see `CommonWords.information`. None: unknown, counts as 0.
    """

    def __init__(
        self,
        question: Question,
        condition: Condition,
        latent_weight: Floats,
        text: Callable[[Draw], str],
        accepts: Callable[[str], bool] | None,
        seen: Seen,
        retrieved: Sequence[Retrieved] = (),
        information: Callable[[str], float] | None = None,
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
        self._retrieved, self._information = retrieved, information
        self._scoring_z = scoring_z(len(self._std))
        self._scores: dict[int, Draw] = {}  # by row, with log p(x | z, c): S rows for each retrieved reply
        self._scores_begun = 0

    @property
    def draws(self) -> int:
        """How many draws were requested so far."""
        return self._begun

    @property
    def wants(self) -> int:
        """How many rows to decode next; 0 while earlier ones are being decoded, and at the end."""
        if len(self._found) < self._begun or len(self._scores) < self._scores_begun:
            return 0
        return self._wanted_draws() + self._scores_wanted - self._scores_begun

    @property
    def _scores_wanted(self) -> int:
        return self._scoring_z * len(self._retrieved)

    def _wanted_draws(self) -> int:
        question = self.question
        if not self._begun:
            return question.draws
        wanted = self._refused_candidates() if question.decoding.candidates else self._wave()
        most = max(LEAST_DRAWS, question.n * DRAWS_PER_REPLY)
        return max(0, min(wanted, most - self._begun))

    def _wave(self) -> int:
        """How many draws to request next for the replies that are missing."""
        missing = self.question.n - len(_distinct(self._drawn()))
        return max(2 * missing, LEAST_WAVE) if missing > 0 else 0

    def _refused_candidates(self) -> int:
        """How many candidates other draws must replace because they may not be returned; 0 if enough others are left.

        Candidates with the same words are not replaced: how often a reply was drawn says how typical it is.
        """
        drawn = self._drawn()
        refused = self.question.draws - len(drawn)
        if not refused:
            return 0
        texts = [each.text for each in self._retrieved] + [each.text for each in drawn]
        distinct = set(map(normalised, texts))
        return refused if len(distinct) < self.question.n else 0

    @property
    def complete(self) -> bool:
        """Whether all rows are decoded."""
        decoded = self._begun == len(self._found) and self._scores_begun == len(self._scores)
        return decoded and self.wants == 0

    def wanted(self) -> tuple[list[tuple[Replies, int]], Start, Decoding]:
        """The rows to decode next, as `Pool.add` takes them; those of retrieved replies have numbers below 0."""
        indices = range(self._begun, self._begun + self._wanted_draws())
        scored = range(self._scores_begun, self._scores_wanted)
        self._begun, self._scores_begun = indices.stop, scored.stop
        keys = [(self, index) for index in indices] + [(self, -1 - row) for row in scored]
        parts = [*([self._drawn_rows(indices)] if indices else ()), self._scored_rows(scored)]
        z, uniforms = (np.concatenate(each) for each in zip(*parts, strict=True))
        given = [()] * len(indices) + [self._retrieved[row // self._scoring_z].tokens for row in scored]
        contexts = [self._condition.contexts[0]] * len(keys)
        start = Start(contexts, z, uniforms, given if scored else None, self.question.likeliest)
        return keys, start, self.question.decoding

    def _drawn_rows(self, indices: range) -> tuple[Floats, Floats]:
        """Z and uniform numbers of draws."""
        noise = self._noise(indices)
        normal = noise.normal * np.float32(self.question.decoding.prior_temperature)
        if self._map is not None:
            if self.question.at is not None:
                normal = self._map.moved(normal, self.question.at)
            for index, (x, y) in zip(indices, self._map.places(normal).tolist(), strict=True):
                self._places[index] = (x, y)
        return self._condition.prior_mean + self._std * normal, noise.uniform

    def _scored_rows(self, rows: range) -> tuple[Floats, Floats]:
        """Z and uniform numbers, which are not used, of rows of retrieved replies."""
        normal = self._scoring_normal()
        z = self._condition.prior_mean + self._std * normal[[row % self._scoring_z for row in rows]]
        return z, np.zeros((len(rows), self.question.decoding.max_tokens), np.float32)

    def _scoring_normal(self) -> Floats:
        """(S, Z) the values of z for scoring replies, in standard deviations of the prior."""
        rng = np.random.default_rng((*seed_numbers(self.question.seed), SCORING))
        drawn = rng.standard_normal((self._scoring_z - 1, len(self._std)), dtype=np.float32)
        return np.concatenate((np.zeros((1, len(self._std)), np.float32), drawn))

    def take(self, index: int, draw: Draw) -> None:
        """Store a decoded draw, or the score of a retrieved reply.

        A draw that is unreadable or may not be returned gives no reply.
        """
        if index < 0:
            self._scores[-1 - index] = draw
            return
        text, place = self._text(draw), self._places.get(index)
        reply = Reply(text, draw.log_prob, draw.length, draw.finished, place, scores=draw.scores)
        self._found[index] = reply if visible(text) and (self._accepts is None or self._accepts(text)) else None

    def answer(self) -> list[Reply]:
        """Distinct replies, ordered; see `Responder.respond`."""
        least = self.question.min_score
        if least is None:
            return [reply for reply, _ in self._ordered()]
        return [replace(reply, score=score) for reply, score in self._ordered() if score >= least]

    def _ordered(self) -> Iterator[tuple[Reply, float]]:
        """At most `n` distinct replies in the answer's order, with their scores."""
        n, decoding = self.question.n, self.question.decoding
        drawn = self._drawn()
        if decoding.candidates or decoding.candidates_from != "model":
            # A person's own spelling comes first: it represents all candidates with the same words.
            every = [*self._scored(), *drawn]
            texts = [reply.text for reply in every]
            information = [0.0 if self._information is None else self._information(text) for text in texts]
            weights = draw_weights([reply.log_prob for reply in every], information, [reply.tokens for reply in every])
            chosen = select(texts, [reply.finished for reply in every], n, weights)
            yield from ((every[index], score) for index, score in chosen)
        else:
            first = list(_distinct(drawn).values())[:n]
            for reply in sorted(first, key=lambda reply: reply.log_prob / reply.tokens, reverse=True):
                yield reply, math.exp(reply.log_prob / reply.tokens)

    def _drawn(self) -> list[Reply]:
        """The replies of all decoded draws, in the order of the draws."""
        return [reply for _, reply in sorted(self._found.items()) if reply is not None]

    def _scored(self) -> list[Reply]:
        """The retrieved replies, each with the z under which it is likeliest."""
        places = self._map.places(self._scoring_normal()).tolist() if self._map is not None else None
        found = []
        for number, retrieved in enumerate(self._retrieved):
            draws = [self._scores[self._scoring_z * number + index] for index in range(self._scoring_z)]
            best = int(np.argmax([draw.log_prob for draw in draws]))
            place = None if places is None else (places[best][0], places[best][1])
            log_prob, scores = draws[best].log_prob, draws[best].scores
            found.append(Reply(retrieved.text, log_prob, len(retrieved.tokens), True, place, None, "corpus", scores))
        return found

    def _noise(self, indices: range) -> _Noise:
        """The random numbers of the draws with these numbers."""
        size = self.question.decoding.candidates or BLOCK
        first = indices.start // size
        blocks = [self._block(number, size) for number in range(first, -(-indices.stop // size))]
        rows = slice(indices.start - first * size, indices.stop - first * size)
        return _Noise(*(np.concatenate(parts)[rows] for parts in zip(*blocks, strict=True)))

    def _block(self, number: int, size: int) -> _Noise:
        """The random numbers of `size` draws. Candidates are the first block; the seed alone decides it."""
        decoding, seed = self.question.decoding, seed_numbers(self.question.seed)
        rng = np.random.default_rng(seed if decoding.candidates and number == 0 else (*seed, number))
        normal = rng.standard_normal((size, len(self._std)), dtype=np.float32)
        return _Noise(normal, rng.random((size, decoding.max_tokens), dtype=np.float32))


def _distinct(replies: list[Reply]) -> dict[str, Reply]:
    """The first of all replies with the same words (`normalised`), for each of these groups."""
    found: dict[str, Reply] = {}
    for reply in replies:
        found.setdefault(normalised(reply.text), reply)
    return found
