"""The contexts of a corpus, and the replies to them.

Open it to learn which contexts are evaluated, and how the randomness of each is seeded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.sentences import Sentences
from dialog_cvae.data.turns import EncodedTurns
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.types import Conversation, Utterance

MAX_CONTEXT = ModelConfig().max_context
"""The most utterances in a context: those that the paper's models see."""

Place: TypeAlias = tuple[str, int]
"""The id of a conversation and the index of a reply among its utterances, from 0."""


class Window(NamedTuple):
    """A context and its reply, as a place in a conversation.

    Attributes:
        conversation: with all its utterances.
        position: index of the reply; the first utterance of a conversation has an empty context.
    """

    conversation: Conversation
    position: int

    @property
    def place(self) -> Place:
        """The window's name in files."""
        return self.conversation.id, self.position

    @property
    def context(self) -> tuple[Utterance, ...]:
        """At most MAX_CONTEXT utterances, oldest first."""
        return self.conversation.utterances[max(0, self.position - MAX_CONTEXT) : self.position]

    @property
    def reply(self) -> Utterance:
        """What was said."""
        return self.conversation.utterances[self.position]

    @property
    def continues(self) -> bool:
        """Whether the reply has the speaker of the last utterance of the context; false for an empty context."""
        return self.position > 0 and self.conversation.utterances[self.position - 1].speaker == self.reply.speaker


class AnsweredContext(NamedTuple):
    """A context with its reference and the replies to evaluate.

    Attributes:
        conversation: its id.
        position: index of the reference among the conversation's utterances, from 0; at least 1.
        topic: of the conversation, None when unknown.
        context: the utterances that the model saw, oldest first.
        reference: the utterance that follows the context in the corpus.
        replies: texts, in the order in which they were given.
        scores: scores of the replies, which the service compares with `min_score`; empty if the replies were not drawn
            by the service's protocol, or if the only reply is empty.
    """

    conversation: str
    position: int
    topic: str | None
    context: tuple[Utterance, ...]
    reference: Utterance
    replies: tuple[str, ...]
    scores: tuple[float, ...] = ()

    @classmethod
    def at(
        cls,
        conversation: Conversation,
        position: int,
        max_context: int,
        replies: tuple[str, ...],
        scores: tuple[float, ...] = (),
    ) -> AnsweredContext:
        """The context before the utterance at `position`, of at most `max_context` utterances, with replies to it."""
        context = conversation.utterances[max(0, position - max_context) : position]
        reference = conversation.utterances[position]
        return cls(conversation.id, position, conversation.topic, context, reference, replies, scores)


class ReplySets(NamedTuple):
    """All replies to the N contexts of a split.

    Attributes:
        answered: the contexts, with as many replies as the settings say.
        single_reference: the same contexts with the replies for DialogWAE's protocol, if requested.
        greedy: some of the contexts, with greedy replies that differ only in z; None without a model.
    """

    answered: list[AnsweredContext]
    single_reference: list[AnsweredContext] | None = None
    greedy: list[AnsweredContext] | None = None


def count_contexts(conversations: Sequence[Conversation]) -> int:
    """Number of contexts of at least one utterance that have a reply; a first utterance has no context."""
    return sum(position > 0 for conversation in conversations for position in conversation.reply_positions)


def windows(conversations: Iterable[Conversation]) -> list[Window]:
    """The windows that have a context, in order, without those of speakers who are context alone."""
    return [Window(c, position) for c in conversations for position in c.reply_positions if position > 0]


def reply_texts(conversations: Iterable[Conversation]) -> list[str]:
    """The texts of all replies, in order, first utterances included."""
    return [c.utterances[position].text for c in conversations for position in c.reply_positions]


def generator(seed: int, conversation: int, position: int) -> np.random.Generator:
    """The random numbers of one context, which do not depend on the other contexts or on the order of work.

    Args:
        seed: of the whole corpus.
        conversation: index in its corpus.
        position: of the reply among the conversation's utterances, from 0.
    """
    return np.random.default_rng((seed, conversation, position))


def seeded_windows(conversations: Iterable[Conversation], seed: int) -> Iterator[tuple[Window, np.random.Generator]]:
    """The windows that have a context, in order, each with its random numbers."""
    for index, conversation in enumerate(conversations):
        for window in windows([conversation]):
            yield window, generator(seed, index, window.position)


def generators(
    corpus: EncodedCorpus | EncodedTurns | Sentences, utterances: NDArray[np.int64], seed: int
) -> list[np.random.Generator]:
    """The random numbers of the context of each utterance (B,), by the paper's protocol."""
    return [generator(seed, index, position) for index, position in positions(corpus, utterances)]


def positions(corpus: EncodedCorpus | EncodedTurns | Sentences, utterances: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The index of the conversation and the position in it, from 0, of each utterance (B,)."""
    indices, places = corpus.places(utterances)
    return [(int(index), int(place) - 1) for index, place in zip(indices, places, strict=True)]
