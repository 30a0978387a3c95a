"""Help Scout's conversations in JSON, as its API gives them, with their threads.

Open this if an export is not recognised or is read wrongly. The newest thread is first in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dialog_cvae.imports.help_desk import AGENT, CUSTOMER, Said, Ticket, desk_format, inner, objects, shown, text_of
from dialog_cvae.imports.message import NOTES, SYSTEM, Log, Options

_SAID: Final = {"customer", "message", "chat", "beaconchat", "reply"}  # types of threads
_NOTES: Final = {"note"}
_HIDDEN: Final = {"draft", "hidden", "review"}  # states of threads that no customer saw


def _ticket(record: Mapping[str, Any], _: Options, log: Log) -> Ticket:
    """A conversation.

    Raises:
        ValueError: it is malformed.
    """
    name = record.get("number") or record.get("id")
    return Ticket(name, text_of(record, ("subject",), "conversation"), _said(record, log))


def _said(record: Mapping[str, Any], log: Log) -> Iterator[Said]:
    for where, thread in objects(inner(record, "_embedded"), "threads", "_embedded."):
        kind = shown(thread.get("type"))
        if kind in _NOTES or shown(thread.get("state")) in _HIDDEN:
            log.left_out[NOTES] += 1
        elif kind not in _SAID:
            log.left_out[SYSTEM] += 1
        else:
            by = inner(thread, "createdBy").get("type")
            speaker = CUSTOMER if by == "customer" or (by is None and kind == "customer") else AGENT
            yield Said(speaker, text_of(thread, ("body", "text"), where), thread.get("createdAt"))


FORMAT = desk_format(
    "help-scout",
    "conversations of Help Scout",
    [("_embedded.threads[].type", "_embedded.threads[].body")],
    _ticket,
)
