"""Freshdesk's tickets in JSON: those of the account's export, and those of the API with their conversations.

Open this if an export is not recognised or is read wrongly. What the customer wrote first is the ticket's description.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dialog_cvae.imports.help_desk import AGENT, CUSTOMER, Said, Ticket, desk_format, inner, objects, text_of
from dialog_cvae.imports.mail_text import own_text
from dialog_cvae.imports.message import MEDIA, NOTES, Log, Options

_OLD: Final = "helpdesk_ticket"  # the key around a ticket in the account's export
_FIRST: Final = ("description_text", "description", "description_html")
_BODY: Final = ("body_text", "body", "body_html")
_BY_AGENT: Final = 10  # number of the source of tickets that an agent began with a mail


def _ticket(record: Mapping[str, Any], _: Options, log: Log) -> Ticket:
    """A ticket of either form.

    Raises:
        ValueError: it is malformed.
    """
    held = inner(record, _OLD) or record
    name = held.get("display_id") or held.get("id")
    return Ticket(name, text_of(held, ("subject",), "ticket"), _said(held, record, log))


def _said(ticket: Mapping[str, Any], record: Mapping[str, Any], log: Log) -> Iterator[Said]:
    began = AGENT if ticket.get("source") == _BY_AGENT else CUSTOMER
    yield Said(began, _own(text_of(ticket, _FIRST, "ticket")), ticket.get("created_at"))
    for key, holder in (
        ("conversations", ticket),
        ("notes", ticket),
        ("notes", record if record is not ticket else {}),
    ):
        for where, each in objects(holder, key):
            note = inner(each, "note") or each
            if note.get("deleted"):
                log.left_out[MEDIA] += 1
            elif note.get("private"):
                log.left_out[NOTES] += 1
            else:
                speaker = CUSTOMER if _is_customer(note, ticket) else AGENT
                yield Said(speaker, _own(text_of(note, _BODY, where)), note.get("created_at"))


def _own(text: str) -> str:
    """The text without earlier mails, which answers by mail may quote; a mail that is only forwarded stays."""
    return own_text(text) or text


def _is_customer(note: Mapping[str, Any], ticket: Mapping[str, Any]) -> bool:
    """Whether the customer wrote a message: it came in, or is by the person who began the ticket."""
    user = note.get("user_id")
    return bool(note.get("incoming")) or (user is not None and user == ticket.get("requester_id"))


FORMAT = desk_format(
    "freshdesk",
    "tickets of Freshdesk",
    [
        (f"{_OLD}.description",),
        ("conversations", "description_text", "requester_id"),
        ("conversations[].body_text", "conversations[].incoming", "conversations[].private"),
    ],
    _ticket,
)
