"""The order of a conversation whose messages have no times, but say which message they reply to.

Open this to change where a message with an unknown parent goes.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple


class Link(NamedTuple):
    """The name of a message within its conversation, and that of the message it replies to; None if unknown."""

    id: str | None
    reply_to: str | None


def reply_order(links: Sequence[Link]) -> list[int]:
    """The indices of all messages, each after the one it replies to, otherwise in their given order.

    A message whose parent is unknown counts as a beginning. If replies form a cycle, so does its first message.
    """
    place_of: dict[str, int] = {}
    for place, link in enumerate(links):
        if link.id is not None:
            place_of.setdefault(link.id, place)
    replies: dict[int, list[int]] = {}
    ready = []  # a heap: the first is the earliest message that may come next
    for place, link in enumerate(links):
        parent = None if link.reply_to is None else place_of.get(link.reply_to)
        if parent is None or parent == place:
            ready.append(place)
        else:
            replies.setdefault(parent, []).append(place)
    # Beginnings, then the messages of cycles, which cannot be reached from a beginning.
    found: dict[int, None] = {}
    for start in (None, *range(len(links))):
        if start is not None and start not in found:
            ready.append(start)
        while ready:
            place = heapq.heappop(ready)
            if place not in found:
                found[place] = None
                for reply in replies.get(place, ()):
                    heapq.heappush(ready, reply)
    return list(found)
