"""Zendesk in JSON: tickets with their comments, and chats with their history.

Open this if an export is not recognised or is read wrongly. A ticket's description is its first comment, so only
comments are read.
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
from dialog_cvae.imports.times import seconds

_BODY: Final = ("plain_body", "body", "html_body")
_MESSAGE: Final = "chat.msg"  # the type of a chat's messages
_VISITOR: Final = "visitor"  # the nickname and type of a chat's customer
_TRIGGERS: Final = {"trigger", "bot", "system"}  # types of senders of automatic messages
_CUSTOMERS: Final = {"end-user", "end_user"}  # roles


def _ticket(record: Mapping[str, Any], _: Options, log: Log) -> Ticket:
    """A ticket, or the comments of one.

    Raises:
        ValueError: it is malformed.
    """
    return Ticket(record.get("id"), text_of(record, ("subject",), "ticket"), _comments(record, log))


def _comments(record: Mapping[str, Any], log: Log) -> Iterator[Said]:
    roles = {shown(user.get("id")): shown(user.get("role")) for _, user in objects(record, "users")}
    requester = _requester(record, roles)
    for where, comment in objects(record, "comments"):
        if comment.get("public") is False:
            log.left_out[NOTES] += 1
            continue
        author = _author(comment)
        is_customer = author == requester or _role(comment, roles) in _CUSTOMERS
        yield Said(CUSTOMER if is_customer else AGENT, text_of(comment, _BODY, where), comment.get("created_at"))


def _requester(record: Mapping[str, Any], roles: Mapping[str, str]) -> str:
    """Who began the ticket; comments alone do not name this person, who then wrote the first one that is public.

    Someone with another role than a customer's did not begin it. Without times, the first comment is that of the file.

    Raises:
        ValueError: a time is malformed.
    """
    if named := shown(record.get("requester_id")) or shown(inner(record, "requester").get("id")):
        return named
    public = [each for _, each in objects(record, "comments") if each.get("public") is not False and _author(each)]
    asked = [each for each in public if _role(each, roles) in {"", *_CUSTOMERS}]
    times = [seconds(each.get("created_at")) for each in asked]
    known = [time for time in times if time is not None]
    place = times.index(min(known)) if len(known) == len(times) and known else 0
    return _author(asked[place]) if asked else ""


def _author(comment: Mapping[str, Any]) -> str:
    return shown(comment.get("author_id")) or shown(inner(comment, "author").get("id"))


def _role(comment: Mapping[str, Any], roles: Mapping[str, str]) -> str:
    return roles.get(_author(comment)) or shown(inner(comment, "author").get("role"))


def _chat(record: Mapping[str, Any], options: Options, log: Log) -> Ticket:
    """A chat, or a message that was left while no agent was there.

    Raises:
        ValueError: it is malformed.
    """
    return Ticket(record.get("id"), "", _history(record, options, log))


def _history(record: Mapping[str, Any], options: Options, log: Log) -> Iterator[Said]:
    if first := text_of(record, ("message",), "chat"):
        yield Said(CUSTOMER, first, record.get("timestamp"))
    for where, event in objects(record, "history"):
        kind = shown(event.get("sender_type")).lower()
        nick = shown(event.get("nick")).lower()
        if event.get("type") != _MESSAGE:
            log.left_out[SYSTEM] += 1
            continue
        is_bot = kind in _TRIGGERS or nick == "agent:trigger"
        if is_bot and not options.bots:
            log.left_out[BOTS] += 1
            continue
        speaker = BOT if is_bot else CUSTOMER if nick.startswith(_VISITOR) or kind == _VISITOR else AGENT
        yield Said(speaker, text_of(event, ("msg",), where), event.get("timestamp"))


FORMAT = desk_format(
    "zendesk", "tickets of Zendesk", [("comments[].author_id", "comments[].public", "comments[].body")], _ticket
)
CHAT_FORMAT = desk_format(
    "zendesk-chat", "chats of Zendesk", [("history[].msg", "history[].nick", "history[].type")], _chat, _MESSAGE
)
