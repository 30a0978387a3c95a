"""The topics of a Telegram group: each is one conversation. An export has no ids of topics, only of replies.

Open this if messages are in the wrong topic. A message of a topic replies to the service message that created it, or to
another message of the topic; all others are of the topic General.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from dialog_cvae.limits import MAX_TOPIC_CHARS

_CREATED: Final = "topic_created"  # action of the service message with which a topic begins
_LARGEST: Final = 2**63 - 1  # of the numbers that an array holds


class Place(NamedTuple):
    """Where a message belongs: the name of its conversation, and the title of its topic; None in General."""

    conversation: str
    title: str | None


class Topics:
    """The topics of one chat; `place` each of its messages in the order of the file.

    Memory is 12 bytes for each message of a topic.

    Args:
        chat: the name of the chat, which is also that of the conversation General.
    """

    def __init__(self, chat: str) -> None:
        self._general = Place(chat, None)
        self._topics: list[Place] = []
        self._ids = array("q")  # of the messages in topics, in ascending order
        self._topic_of = array("I")  # their topics, as indices

    def place(self, message: Mapping[str, Any]) -> Place:
        """The place of a message; a service message may create a topic."""
        identity = message.get("id")
        if message.get("action") == _CREATED and message.get("type") == "service":
            topic = len(self._topics)
            self._topics.append(self._named(topic, message.get("title")))
        else:
            found = self._found(message)
            if found is None:
                return self._general
            topic = found
        # The ids of an export increase. A message with another id cannot be found when others reply to it.
        if isinstance(identity, int) and (self._ids[-1] if self._ids else -_LARGEST) < identity <= _LARGEST:
            self._ids.append(identity)
            self._topic_of.append(topic)
        return self._topics[topic]

    def _found(self, message: Mapping[str, Any]) -> int | None:
        """The topic of the message to which this one replies."""
        replied = message.get("reply_to_message_id")
        if not isinstance(replied, int) or message.get("reply_to_peer_id") is not None:  # a message of another chat
            return None
        index = bisect_left(self._ids, replied)
        return self._topic_of[index] if index < len(self._ids) and self._ids[index] == replied else None

    def _named(self, number: int, title: object) -> Place:
        """The place of a topic; the number keeps topics with the same title apart."""
        shown = " ".join(title.replace("\0", " ").split())[:MAX_TOPIC_CHARS] if isinstance(title, str) else ""
        name = ", ".join(filter(None, (self._general.conversation, shown)))
        return Place(f"{self._general.conversation}\0{number}\0{name}", shown or None)
