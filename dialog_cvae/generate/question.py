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

RETRIEVED = 16  # replies of training conversations that are candidates, or as many as are wanted
SCORING_Z = 3  # values of z under which each of them is scored

Source = Literal["model", "corpus"]
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
        score: from 0 to 1, if there is a `min_score`. Among candidates: the weighted mean similarity of all of them
            to it (see `selection`); otherwise exp(log_prob / tokens), the geometric mean of its tokens' probabilities.
        source: whether the model wrote it, or it is from the training conversations.
        scores: of the tokens, if they were requested; they sum to `log_prob`.
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
        likeliest: each reply gives the scores of its tokens, with so many of the likeliest tokens in their place; None:
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
        """Draws that are begun at once; more may follow."""
        if self.decoding.candidates_from == "corpus":
            return 0
        return max(self.n, self.decoding.candidates) if self.decoding.candidates else self.n

    @property
    def retrieved(self) -> int:
        """Replies of the training conversations that are candidates, at most."""
        return 0 if self.decoding.candidates_from == "model" else max(RETRIEVED, self.n)

    @property
    def rows(self) -> int:
        """Rows that are begun at once, at most."""
        return self.draws + SCORING_Z * self.retrieved


class Answer(NamedTuple):
    """The replies to a question, and how much of its context they answer."""

    replies: list[Reply]
    seen: Seen


def seed_numbers(seed: Seed) -> tuple[int, ...]:
    """All numbers of a seed."""
    return (seed,) if isinstance(seed, int) else seed
