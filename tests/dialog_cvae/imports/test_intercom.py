"""Intercom's conversations: a first message, and parts."""

from __future__ import annotations

import json

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.html_text import WITH_HTML
from dialog_cvae.imports.message import BOTS, NOTES, SYSTEM
from dialog_cvae.imports.source import open_source

ANN = {"type": "user", "id": "u1", "name": "Ann Lee", "email": "ann@example.com"}
BO = {"type": "admin", "id": "9", "name": "Bo"}
BOT = {"type": "bot", "id": "b", "name": "Operator"}


def part(kind, author, body, minute):
    return {
        "type": "conversation_part",
        "id": str(minute),
        "part_type": kind,
        "body": body,
        "created_at": 1705140000 + 60 * minute,
        "author": author,
        "assigned_to": None,
        "attachments": [],
    }


def conversation(number=7, **more):
    parts = [
        part("assignment", BOT, None, 1),
        part("comment", BOT, "<p>We are back at nine.</p>", 2),
        part("note", BO, "<p>looks late</p>", 3),
        part("comment", BO, "<p>Hi Ann,</p><p>it is on its way &amp; comes today.</p>", 4),
        part("comment", {**ANN, "type": "lead"}, "<p>Thanks!</p>", 5),
        part("close", BO, "<p>Bye</p>", 6),
        part("open", ANN, None, 7),
        part("conversation_rating_changed", ANN, None, 8),
    ]
    return {
        "type": "conversation",
        "id": str(number),
        "created_at": 1705140000,
        "title": None,
        "source": {"type": "conversation", "subject": "<p>Parcel</p>", "body": "<p>Where is it?</p>", "author": ANN},
        "contacts": {"type": "contact.list", "contacts": [{"type": "contact", "id": "u1"}]},
        "conversation_parts": {"type": "conversation_part.list", "conversation_parts": parts, "total_count": 8},
        **more,
    }


SAID = ["customer: Where is it?", "agent: Hi Ann,\nit is on its way & comes today.", "customer: Thanks!", "agent: Bye"]


@pytest.mark.parametrize("form", ["one", "list", "lines", "object"])
def test_conversations_are_read(put, imported, form):
    found = [conversation(7)] if form == "one" else [conversation(7), conversation(8)]
    content = {
        "one": json.dumps(found[0], indent=1),
        "list": json.dumps(found),
        "lines": "".join(json.dumps(each) + "\n" for each in found),
        "object": json.dumps({"type": "conversation.list", "pages": {"page": 1}, "conversations": found}),
    }[form]
    path = put("export.json", content)
    assert [kind.name for _, kind in recognised(open_source(path))] == ["intercom"]
    result = imported(path)
    assert result.said == [SAID] * len(found)
    assert [line["id"] for line in result.lines] == ["1:7", "2:8"][: len(found)]
    assert result.lines[0]["topic"] == "Parcel"
    assert result.left_out == {NOTES: len(found), BOTS: len(found), SYSTEM: 3 * len(found)}
    assert result.report.parts[0].log.changed[WITH_HTML] == 4 * len(found)


def test_bots_are_kept_if_asked_for(put, imported):
    result = imported(put("export.json", json.dumps(conversation())), bots=True)
    assert result.said[0][1] == "bot: We are back at nine."
    assert BOTS not in result.left_out


def test_the_first_message_of_older_versions_and_the_title(put, imported):
    old = conversation(title="Late parcel")
    old["conversation_message"] = old.pop("source")
    result = imported(put("export.json", json.dumps(old)))
    assert result.said == [SAID]
    assert result.lines[0]["topic"] == "Late parcel"


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([5], "conversation_parts.conversation_parts[0] must be an object, is a number"),
        ({}, "conversation_parts.conversation_parts must be a list, is an object"),
        ([part("comment", BO, ["a"], 1)], "conversation_parts.conversation_parts[0].body must be text, is a list"),
        ([part("comment", BO, "a", 1) | {"created_at": "noon"}], "the time 'noon' is not ISO 8601"),
    ],
)
def test_a_broken_conversation(put, imported, parts, reason):
    broken = conversation(conversation_parts={"conversation_parts": parts})
    with pytest.raises(DataError) as found:
        imported(put("export.json", json.dumps([conversation(), broken])))
    assert str(found.value).partition("export.json: element 2: ")[2].startswith(reason)


def test_parts_of_other_kinds_than_text_are_no_traceback(put, imported):
    strange = conversation()
    strange["conversation_parts"]["conversation_parts"] += [{"part_type": ["a"]}, {"part_type": "comment", "author": 1}]
    assert imported(put("export.json", json.dumps(strange))).said == [SAID]
