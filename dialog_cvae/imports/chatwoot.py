"""Chatwoot's conversations in JSON, as its API gives the messages of one.

Open this if an export is not recognised or is read wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dialog_cvae.imports.help_desk import (
    AGENT,
    BOT,
    CUSTOMER,
    Said,
    Ticket,
    desk_format,
    inner,
    objects,
    shown,
    text_of,
)
from dialog_cvae.imports.message import BOTS, MEDIA, NOTES, SYSTEM, Log, Options

# Types of messages, as numbers and as names.
_SPEAKERS: Final = {"0": CUSTOMER, "incoming": CUSTOMER, "1": AGENT, "outgoing": AGENT, "3": BOT, "template": BOT}


def _ticket(record: Mapping[str, Any], options: Options, log: Log) -> Ticket:
    """A conversation.

    Raises:
        ValueError: it is malformed.
    """
    ids = (shown(message.get("conversation_id")) for _, message in objects(record, "payload"))
    return Ticket(next(ids, ""), "", _said(record, options, log))


def _said(record: Mapping[str, Any], options: Options, log: Log) -> Iterator[Said]:
    for where, message in objects(record, "payload"):
        speaker = _SPEAKERS.get(shown(message.get("message_type")))
        if inner(message, "sender").get("type") == "agent_bot":
            speaker = BOT
        text = text_of(message, ("content",), where)
        if message.get("private"):
            log.left_out[NOTES] += 1
        elif speaker is None:  # what happened to the conversation
            log.left_out[SYSTEM] += 1
        elif speaker == BOT and not options.bots:
            log.left_out[BOTS] += 1
        elif not text and message.get("attachments"):
            log.left_out[MEDIA] += 1
        else:
            yield Said(speaker, text, message.get("created_at"))


FORMAT = desk_format(
    "chatwoot",
    "conversations of Chatwoot",
    [("payload[].message_type", "payload[].content", "payload[].private")],
    _ticket,
)
