"""Intercom's conversations in JSON, as its API gives them: a first message, and parts that follow it.

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
from dialog_cvae.imports.message import BOTS, NOTES, SYSTEM, Log, Options

_SPEAKERS: Final = {
    **dict.fromkeys(("user", "lead", "contact", "visitor"), CUSTOMER),
    **dict.fromkeys(("admin", "team"), AGENT),
    "bot": BOT,
}
_SOURCES: Final = ("source", "conversation_message")  # keys of the first message; the second is that of older versions
# Types of parts that may hold what someone said; a conversation may be closed or opened again with a message.
_SAID: Final = {"comment", "quick_reply", "message", "open", "close"}
_NOTES: Final = {"note", "note_and_reopen"}


def _ticket(record: Mapping[str, Any], options: Options, log: Log) -> Ticket:
    """A conversation.

    Raises:
        ValueError: it is malformed.
    """
    first = next((inner(record, key) for key in _SOURCES if record.get(key)), {})
    topic = text_of(record, ("title",), "conversation") or text_of(first, ("subject",), "source")
    return Ticket(record.get("id"), topic, _said(record, first, options, log))


def _said(record: Mapping[str, Any], first: Mapping[str, Any], options: Options, log: Log) -> Iterator[Said]:
    if first:
        yield from _message(first, "source", record.get("created_at"), options, log)
    parts = inner(record, "conversation_parts")
    for where, part in objects(parts, "conversation_parts", "conversation_parts."):
        kind = shown(part.get("part_type"))
        if kind in _NOTES:
            log.left_out[NOTES] += 1
        elif kind not in _SAID:
            log.left_out[SYSTEM] += 1
        else:
            yield from _message(part, where, part.get("created_at"), options, log)


def _message(part: Mapping[str, Any], where: str, time: object, options: Options, log: Log) -> Iterator[Said]:
    """The message of a part; none if it is a bot's, or if someone only closed or opened the conversation.

    Raises:
        ValueError: its body is not text.
    """
    kind = shown(inner(part, "author").get("type"))
    body = text_of(part, ("body",), where)
    if not body and shown(part.get("part_type")) in {"open", "close"}:
        log.left_out[SYSTEM] += 1
    elif kind == "bot" and not options.bots:
        log.left_out[BOTS] += 1
    else:
        yield Said(_SPEAKERS.get(kind, kind), body, time)


FORMAT = desk_format("intercom", "conversations of Intercom", [("conversation_parts.conversation_parts",)], _ticket)
