"""Freshdesk's tickets: the description is the first message."""

from __future__ import annotations

import json

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.message import MEDIA, NOTES
from dialog_cvae.imports.source import open_source

SAID = ["customer: My printer smokes.", "agent: Which model?", "customer: The X-1."]


def note(text, user, minute, **more):
    return {
        "body": text,
        "body_html": f"<div>{text}</div>",
        "created_at": f"2014-01-07T15:{minute:02}:00+05:30",
        "deleted": False,
        "incoming": False,
        "private": False,
        "user_id": user,
        **more,
    }


def old(number=138, *, wrapped=False, outside=False):
    notes = [
        note("Which model?", 5, 1),
        note("He sounds angry", 5, 2, private=True),
        note("Wrong ticket", 5, 3, deleted=True),
        note("The X-1.", 17, 4, incoming=True),
    ]
    notes = [{"note": each} for each in notes] if wrapped else notes
    ticket = {
        "cc_email": {"cc_emails": []},
        "created_at": "2014-01-07T14:57:55+05:30",
        "description": "My printer smokes.",
        "description_html": "<div>My printer smokes.</div>",
        "display_id": number,
        "id": 1_000_000 + number,
        "requester_id": 17,
        "responder_id": 5,
        "subject": "Printer",
        "requester_name": "Ann",
        **({} if outside else {"notes": notes}),
    }
    return {"helpdesk_ticket": ticket, **({"notes": notes} if outside else {})}


def message(text, user, minute, **more):
    return {
        "body": f"<div>{text}</div>",
        "body_text": text,
        "id": minute,
        "incoming": False,
        "private": False,
        "user_id": user,
        "source": 0,
        "category": 1,
        "created_at": f"2015-08-24T12:{minute:02}:00Z",
        **more,
    }


def new(number=20, **more):
    return {
        "id": number,
        "subject": "Printer",
        "requester_id": 17,
        "responder_id": 5,
        "source": 2,
        "created_at": "2015-08-24T11:56:51Z",
        "description": "<div>My printer smokes.</div>",
        "description_text": "My printer smokes.",
        "conversations": [
            message("The X-1.", 17, 9, incoming=True),
            message("Which model?", 5, 1),
            message("He sounds angry", 5, 2, private=True, source=2),
        ],
        **more,
    }


@pytest.mark.parametrize("form", [{}, {"wrapped": True}, {"outside": True}])
def test_tickets_of_the_account_export(put, imported, form):
    path = put("Tickets.json", json.dumps([old(138, **form), old(139, **form)]))
    assert [kind.name for _, kind in recognised(open_source(path))] == ["freshdesk"]
    result = imported(path)
    assert result.said == [SAID, SAID]
    assert [(line["id"], line["topic"]) for line in result.lines] == [("1:138", "Printer"), ("2:139", "Printer")]
    assert result.left_out == {NOTES: 2, MEDIA: 2}


@pytest.mark.parametrize("form", ["one", "list", "lines"])
def test_tickets_of_the_api(put, imported, form):
    found = [new(20)] if form == "one" else [new(20), new(21)]
    content = {"one": json.dumps(found[0]), "list": json.dumps(found), "lines": "\n".join(map(json.dumps, found))}
    path = put("tickets.json", content[form])
    assert [kind.name for _, kind in recognised(open_source(path))] == ["freshdesk"]
    result = imported(path)
    assert result.said == [SAID] * len(found)
    assert result.left_out == {NOTES: len(found)}


def test_a_ticket_that_an_agent_began(put, imported):
    begun = new(source=10, description_text="Your order is late.", conversations=[message("Why?", 17, 1)])
    assert imported(put("t.json", json.dumps(begun))).said == [["agent: Your order is late.", "customer: Why?"]]


def test_quoted_mails_are_removed_but_not_a_forwarded_one(put, imported):
    forwarded = "---------- Forwarded message ---------\nMy printer smokes."
    answer = message("The X-1.\n\nOn 24 Aug 2015 12:01, Bo wrote:\n> Which model?", 17, 1)
    ticket = new(description_text=forwarded, conversations=[answer])
    assert imported(put("t.json", json.dumps(ticket))).said == [[f"customer: {forwarded}", "customer: The X-1."]]


def test_html_is_read_where_there_is_no_plain_text(put, imported):
    ticket = new(description_text=None, conversations=[message("Which?", 5, 1, body_text="", body="<div>A<br>B</div>")])
    said = ["customer: My printer smokes.", "agent: A\nB"]
    assert imported(put("t.json", json.dumps(ticket))).said == [said]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"conversations": {"a": 1}}, "conversations must be a list, is an object"),
        ({"conversations": [message({"a": 1}, 5, 1)]}, "conversations[0].body_text must be text, is an object"),
        ({"description_text": 5}, "ticket.description_text must be text, is a number"),
        ({"created_at": "soon"}, "the time 'soon' is not ISO 8601"),
    ],
)
def test_a_broken_ticket(put, imported, more, reason):
    with pytest.raises(DataError) as found:
        imported(put("t.json", json.dumps([new(), new(**more)])))
    assert str(found.value).partition("t.json: element 2: ")[2].startswith(reason)
