"""The contexts of a sheet: which ones are drawn, the seeds of their replies, and what a source is asked.

Open it to change which contexts can be on a sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import numpy as np

from dialog_cvae.errors import ConfigError
from dialog_cvae.types import Conversation
from eval.contexts import Window

LEAST_CONTEXT = 2  # utterances before a reply; with fewer there is little to fit


class ContextPlace(NamedTuple):
    """A context that all sources answer.

    Attributes:
        window: the context, and what was really said.
        conversation_number: of its conversation in the split, from 0.
    """

    window: Window
    conversation_number: int

    @property
    def before(self) -> Conversation:
        """The conversation up to the reply."""
        conversation, position = self.window
        return replace(conversation, utterances=conversation.utterances[:position])

    def seed(self, seed: int) -> tuple[int, int, int]:
        """The seed of this context's replies; it does not depend on the other contexts of the sheet."""
        return seed, self.conversation_number, self.window.position


class Task(NamedTuple):
    """What all sources of a sheet answer.

    Attributes:
        places: the contexts.
        train: the training conversations; empty if no source uses them.
        replies: replies wanted to each context.
        seed: of everything drawn.
    """

    places: Sequence[ContextPlace]
    train: Sequence[Conversation]
    replies: int
    seed: int


Answers: TypeAlias = list[list[str]]
"""The replies to each context, in the order of the contexts; at most as many as were wanted."""


def draw_places(conversations: Sequence[Conversation], count: int, seed: int) -> list[ContextPlace]:
    """Draw contexts of at least LEAST_CONTEXT utterances, each as likely as any other, in random order.

    Args:
        conversations: the split.
        count: contexts wanted.
        seed: equal seeds give equal contexts.

    Raises:
        ConfigError: there are fewer contexts.
    """
    places = [
        ContextPlace(Window(conversation, position), number)
        for number, conversation in enumerate(conversations)
        for position in conversation.reply_positions
        if position >= LEAST_CONTEXT
    ]
    if len(places) < count:
        raise ConfigError(
            f"--contexts: must be at most {len(places)}, the contexts of at least {LEAST_CONTEXT} utterances "
            f"in this split, but is {count}"
        )
    return [places[i] for i in np.random.default_rng(seed).choice(len(places), count, replace=False)]
