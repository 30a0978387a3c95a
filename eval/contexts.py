"""The contexts of a corpus: which utterances answer which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from dialog_cvae.config import ModelConfig
from dialog_cvae.types import Conversation, Utterance

MAX_CONTEXT = ModelConfig().max_context
"""Utterances that a context has at most: those that the paper's models see."""

Place: TypeAlias = tuple[str, int]
"""The id of a conversation and the index of a reply among its utterances, from 0."""


class Window(NamedTuple):
    """A context and its reply, as a place in a conversation.

    Attributes:
        conversation: with all its utterances.
        position: index of the reply; what is first answers nobody and has an empty context.
    """

    conversation: Conversation
    position: int

    @property
    def place(self) -> Place:
        """What names the window in files."""
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
        """Whether the last utterance of the context has the speaker of the reply; of an empty context it has not."""
        return self.position > 0 and self.conversation.utterances[self.position - 1].speaker == self.reply.speaker


def windows(conversations: Iterable[Conversation]) -> list[Window]:
    """The windows that have a context, in order."""
    return [Window(c, position) for c in conversations for position in range(1, len(c.utterances))]


def generator(seed: int, conversation: int, position: int) -> np.random.Generator:
    """The randomness of one context, wherever and with whatever else it is answered.

    Args:
        seed: of the whole corpus.
        conversation: index in its corpus.
        position: of the reply among the conversation's utterances, from 0.
    """
    return np.random.default_rng((seed, conversation, position))


def seeded_windows(conversations: Iterable[Conversation], seed: int) -> Iterator[tuple[Window, np.random.Generator]]:
    """The windows that have a context, in order, each with its randomness."""
    for index, conversation in enumerate(conversations):
        for window in windows([conversation]):
            yield window, generator(seed, index, window.position)
