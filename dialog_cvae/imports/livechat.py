"""LiveChat's archived chats in JSON, as version 3 of its API gives them: people, and a thread of events.

Open this if an export is not recognised or is read wrongly. Older versions have lists of messages, which
`json_rows` reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dialog_cvae.imports.help_desk import AGENT, CUSTOMER, Said, Ticket, desk_format, inner, objects, shown, text_of
from dialog_cvae.imports.message import MEDIA, NOTES, SYSTEM, Log, Options

_FILES: Final = {"file", "rich_message", "form", "filled_form"}  # types of events that hold no text of a person
_AGENTS: Final = "agents"  # the visibility of events that only agents see


def _ticket(record: Mapping[str, Any], _: Options, log: Log) -> Ticket:
    """A chat.

    Raises:
        ValueError: it is malformed.
    """
    return Ticket(inner(record, "thread").get("id") or record.get("id"), "", _said(record, log))


def _said(record: Mapping[str, Any], log: Log) -> Iterator[Said]:
    kinds = {shown(user.get("id")): user.get("type") for _, user in objects(record, "users")}
    for where, event in objects(inner(record, "thread"), "events", "thread."):
        kind = shown(event.get("type"))
        if kind in _FILES:
            log.left_out[MEDIA] += 1
        elif kind != "message":
            log.left_out[SYSTEM] += 1
        elif _AGENTS in (event.get("visibility"), event.get("recipients")):
            log.left_out[NOTES] += 1
        else:
            speaker = CUSTOMER if kinds.get(shown(event.get("author_id"))) == "customer" else AGENT
            yield Said(speaker, text_of(event, ("text",), where), event.get("created_at"))


FORMAT = desk_format(
    "livechat", "chats of LiveChat", [("thread.events[].author_id", "thread.events[].text", "users[].type")], _ticket
)
