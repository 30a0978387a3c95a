"""Crisp's conversations in JSON, as its API gives the messages of one.

Open this if an export is not recognised or is read wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dialog_cvae.imports.help_desk import AGENT, BOT, CUSTOMER, Said, Ticket, desk_format, objects, shown, text_of
from dialog_cvae.imports.message import BOTS, MEDIA, NOTES, SYSTEM, Log, Options

_SPEAKERS: Final = {"user": CUSTOMER, "operator": AGENT}
_FILES: Final = {"file", "animation", "audio"}  # types of messages without text


def _ticket(record: Mapping[str, Any], options: Options, log: Log) -> Ticket:
    """A conversation.

    Raises:
        ValueError: it is malformed.
    """
    ids = (shown(message.get("session_id")) for _, message in objects(record, "data"))
    return Ticket(next(ids, ""), "", _said(record, options, log))


def _said(record: Mapping[str, Any], options: Options, log: Log) -> Iterator[Said]:
    for where, message in objects(record, "data"):
        kind, by = shown(message.get("type")), shown(message.get("from"))
        is_bot = message.get("automated") is True
        if kind == "note":
            log.left_out[NOTES] += 1
        elif kind in _FILES:
            log.left_out[MEDIA] += 1
        elif kind != "text" or by not in _SPEAKERS:
            log.left_out[SYSTEM] += 1
        elif is_bot and not options.bots:
            log.left_out[BOTS] += 1
        else:
            text = text_of(message, ("content",), where)
            yield Said(BOT if is_bot else _SPEAKERS[by], text, message.get("timestamp"))


FORMAT = desk_format(
    "crisp",
    "conversations of Crisp",
    [("data[].fingerprint", "data[].from", "data[].content", "data[].session_id")],
    _ticket,
)
