"""A part of a split with a limited number of contexts, for an evaluation of limited cost.

Open it to change which replies such an evaluation uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dialog_cvae.types import Conversation

FEWEST_CONVERSATIONS = 10  # a long conversation is cut so that at least so many take part


def portion(conversations: Sequence[Conversation], most: int) -> list[Conversation]:
    """The first conversations, with at most `most` contexts in all; each has at most a tenth of these.

    A conversation is cut after its last context that counts. Conversations without any context are left out.

    Args:
        conversations: of a split.
        most: contexts of at least one utterance that have a reply, at least 1.
    """
    each = -(-most // FEWEST_CONVERSATIONS)
    found: list[Conversation] = []
    left = most
    for conversation in conversations:
        places = [position for position in conversation.reply_positions if position > 0][: min(each, left)]
        if places:
            found.append(replace(conversation, utterances=conversation.utterances[: places[-1] + 1]))
            left -= len(places)
        if not left:
            break
    return found
