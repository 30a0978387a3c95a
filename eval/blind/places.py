"""The contexts of a sheet: which ones are drawn, the seeds of their replies, and the task of a source.

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
        conversation_number: index of its conversation in the split.
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


def draw_places(conversations: Sequence[Conversation], count: int, seed: int, shown: int) -> list[ContextPlace]:
    """Draw contexts of at least LEAST_CONTEXT utterances, in random order, so that none shows the reply of another.

    They come from different conversations while there are enough of these. Further contexts are so far from others of
    their conversation that readers of one do not see the reply of another.

    Args:
        conversations: the split.
        count: contexts wanted.
        seed: equal seeds give equal contexts.
        shown: the most utterances of a context that readers see.

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
    rng = np.random.default_rng(seed)
    # First come the contexts that earlier versions drew by this seed; one is replaced only if its conversation has one.
    order = [places[i] for i in (*rng.choice(len(places), count, replace=False), *rng.permutation(len(places)))]
    alone: dict[int, ContextPlace] = {}
    for place in order:
        alone.setdefault(place.conversation_number, place)
    return _filled(list(alone.values())[:count], order, count, shown)


def _filled(chosen: list[ContextPlace], order: Sequence[ContextPlace], count: int, shown: int) -> list[ContextPlace]:
    """The chosen contexts, one of each conversation, and further contexts of the same conversations if needed."""
    taken: dict[int, list[int]] = {place.conversation_number: [place.window.position] for place in chosen}
    found = list(chosen)
    for place in order:
        if len(found) == count:
            break
        positions = taken[place.conversation_number]
        if all(abs(place.window.position - position) > shown for position in positions):
            positions.append(place.window.position)
            found.append(place)
    if len(found) < count:
        raise ConfigError(
            f"--contexts: must be at most {len(found)} with this seed, but is {count}: the split has {len(chosen)} "
            f"conversations, and contexts of the same one must be more than --shown {shown} utterances apart, so that "
            "none shows what was said at another"
        )
    return found
