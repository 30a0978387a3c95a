"""What the model is asked, and what it answers: questions, candidates and replies.

Open it to add something that a question may ask for, or a fact about a reply.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from dialog_cvae.config import Decoding
from dialog_cvae.generate.codec import Seen
from dialog_cvae.generate.decoding import TokenScore
from dialog_cvae.types import Conversation

RETRIEVED = 16  # replies of training conversations among the candidates; more if more replies are wanted
SCORING_Z = 3  # values of z for scoring each of them by a model with z

Source = Literal["model", "corpus"]
Seed = int | tuple[int, ...]
"""What seeds the draws: one number, or several, each at least 0."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as text, with its probability.

    Attributes:
        text: as a person would write it.
        log_prob: log p(x | z, c) for the drawn z, in nats.
        tokens: number of tokens that `log_prob` sums over, `</s>` included if it was reached.
        finished: whether `</s>` was reached; otherwise the reply is cut off.
        place: place of z on the context's latent map, if requested; see `latent_map`.
        score: from 0 to 1, if there is a `min_score`. With candidates: the weighted mean similarity of all of them to
            this reply (see `selection`); otherwise exp(log_prob / tokens), the geometric mean of token probabilities.
        source: whether the model wrote it, or it is from the training conversations.
        scores: scores of the tokens, if requested; they sum to `log_prob`.
    """

    text: str
    log_prob: float
    tokens: int
    finished: bool
    place: tuple[float, float] | None = None
    score: float | None = None
    source: Source = "model"
    scores: tuple[TokenScore, ...] = ()


class Retrieved(NamedTuple):
    """A reply of the training conversations.

    Attributes:
        text: as it was said.
        tokens: ids for the model to score, the end token included.
    """

    text: str
    tokens: tuple[int, ...]


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
        likeliest: each reply gives the scores of its tokens and this many likeliest tokens in the place of each; None:
            no scores.
    """

    conversation: Conversation
    respond_as: str
    n: int
    seed: Seed
    decoding: Decoding
    at: tuple[float, float] | None = None
    places: bool = False
    min_score: float | None = None
    likeliest: int | None = None

    @property
    def draws(self) -> int:
        """Number of draws at the start; more may follow."""
        if self.decoding.candidates_from == "corpus":
            return 0
        return max(self.n, self.decoding.candidates) if self.decoding.candidates else self.n

    @property
    def retrieved(self) -> int:
        """Most replies of training conversations among the candidates."""
        return 0 if self.decoding.candidates_from == "model" else max(RETRIEVED, self.n)

    def rows(self, latent_size: int) -> int:
        """Most rows at the start, for a model with so many dimensions of z."""
        return self.draws + scoring_z(latent_size) * self.retrieved


class Answer(NamedTuple):
    """The replies to a question, how much of its context the model read, and how many draws were made."""

    replies: list[Reply]
    seen: Seen
    draws: int


def scoring_z(latent_size: int) -> int:
    """Number of values of z for scoring a retrieved reply; without z all scores would be equal."""
    return SCORING_Z if latent_size else 1


def seed_numbers(seed: Seed) -> tuple[int, ...]:
    """All numbers of a seed."""
    return tuple(map(int, seed)) if isinstance(seed, tuple) else (int(seed),)
