"""Zendesk: tickets with comments, and chats with a history."""

from __future__ import annotations

import json

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.formats import recognised
from dialog_cvae.imports.message import BOTS, NOTES, SYSTEM
from dialog_cvae.imports.source import open_source

IRC = [("ann", "hi all"), ("bo", "hi ann"), ("ann", "news?"), ("bo", "none")]
SAID = ["customer: Where is it?", "agent: On its way.", "customer: Thanks."]


def comment(author, text, minute, **more):
    return {
        "id": minute,
        "type": "Comment",
        "author_id": author,
        "body": text,
        "html_body": f'<div class="zd-comment">{text}</div>',
        "plain_body": f"{text}\xa0",
        "public": True,
        "attachments": [],
        "via": {"channel": "email", "source": {"from": {"address": "ann@example.com", "name": "Ann"}, "to": {}}},
        "created_at": f"2024-01-13T10:{minute:02}:00Z",
        **more,
    }


def ticket(number=1, **more):
    return {
        "url": "https://shop.zendesk.com/api/v2/tickets/1.json",
        "id": number,
        "via": {"channel": "email", "source": {"from": {}, "to": {}, "rel": None}},
        "created_at": "2024-01-13T10:00:00Z",
        "subject": "Parcel",
        "description": "Where is it?",
        "requester_id": 100,
        "assignee_id": 200,
        "custom_fields": [{"id": 1, "value": "x"}],
        "comments": [
            comment(100, "Where is it?", 0),
            comment(200, "He sounds angry", 1, public=False),
            comment(200, "On its way.", 2),
            comment(100, "Thanks.", 3),
        ],
        **more,
    }


@pytest.mark.parametrize("form", ["lines", "list", "object", "comments"])
def test_tickets_are_read_without_private_comments(put, imported, form):
    found = [ticket(1)] if form == "comments" else [ticket(1), ticket(2)]
    content = {
        "lines": "".join(json.dumps(each) + "\n" for each in found),
        "list": json.dumps(found),
        "object": json.dumps({"tickets": found, "next_page": None, "count": 2}),
        "comments": json.dumps({"comments": found[0]["comments"], "next_page": None}),
    }[form]
    path = put("tickets.json", content)
    assert [kind.name for _, kind in recognised(open_source(path))] == ["zendesk"]
    result = imported(path)
    assert result.said == [SAID] * len(found)
    assert result.left_out == {NOTES: len(found)}
    if form != "comments":
        assert [(line["id"], line["topic"]) for line in result.lines] == [("1:1", "Parcel"), ("2:2", "Parcel")]


def test_the_requester_may_be_an_object_and_roles_may_be_listed(put, imported):
    other = comment(300, "For me too?", 4)
    with_object = ticket(requester={"id": 100, "name": "Ann"}, requester_id=None)
    with_roles = ticket(users=[{"id": 300, "role": "end-user"}, {"id": 200, "role": "agent"}])
    with_roles["comments"].append(other)
    result = imported(put("tickets.json", json.dumps([with_object, with_roles])))
    assert result.said == [SAID, [*SAID, "customer: For me too?"]]


@pytest.mark.parametrize(
    ("comments", "said"),
    [
        ([comment(200, "Bye", 3), comment(100, "Hi", 1)], ["customer: Hi", "agent: Bye"]),
        ([comment(200, "x", 0, public=False), comment(100, "Hi", 1), comment(200, "Yes", 2)],
         ["customer: Hi", "agent: Yes"]),
        ([comment(300, "Your bill", 0), comment(100, "Thanks", 1)], ["agent: Your bill", "customer: Thanks"]),
        ([comment(100, "Hi", 0, created_at=None), comment(200, "Yes", 1)], ["customer: Hi", "agent: Yes"]),
    ],
    ids=["newest first", "a note first", "an agent first", "without a time"],
)  # fmt: skip
def test_of_comments_alone_the_first_public_one_not_by_an_agent_is_the_customers(put, imported, comments, said):
    content = {"comments": comments, "users": [{"id": 300, "role": "agent"}]}
    assert imported(put("comments.json", json.dumps(content))).said == [said]


def event(kind, nick, minute, text=None, sender=None):
    found = {"type": kind, "nick": nick, "name": "Bo", "channel": "#c", "timestamp": f"2024-01-13T10:00:{minute:02}Z"}
    return (
        found if text is None else {**found, "msg": text, "msg_id": str(minute), "sender_type": sender, "options": ""}
    )


def chat(number=1, **more):
    return {
        "id": f"2401.{number}",
        "type": "chat",
        "visitor": {"id": "v", "name": "Ann", "email": "ann@example.com"},
        "timestamp": "2024-01-13T10:00:00Z",
        "agent_names": ["Bo"],
        "history": [
            event("chat.memberjoin", "visitor", 0),
            event("chat.msg", "visitor", 1, "Where is it?", "Visitor"),
            event("chat.msg", "agent:trigger", 2, "Please wait.", "Trigger"),
            event("chat.msg", "agent:7", 3, "On its way.", "Agent"),
            event("chat.msg", "visitor", 4, "Thanks."),
            event("chat.rating", "visitor", 5),
        ],
        **more,
    }


def test_chats_are_read(put, imported):
    path = put("chats.json", json.dumps({"chats": [chat(1), chat(2)], "count": 2, "next_url": None}))
    assert [kind.name for _, kind in recognised(open_source(path))] == ["zendesk-chat"]
    result = imported(path)
    assert result.said == [SAID, SAID]
    assert result.left_out == {SYSTEM: 4, BOTS: 2}
    assert imported(path, bots=True).said[0][1] == "bot: Please wait."


def test_another_history_is_no_chat_of_zendesk(put, imported):
    log = {"channel": "#x", "history": [event("message", nick, i, text) for i, (nick, text) in enumerate(IRC)]}
    path = put("irc.json", json.dumps(log))
    assert [kind.name for _, kind in recognised(open_source(path))] == ["messages"]
    assert sum(map(len, imported(path).said)) == len(IRC)


@pytest.mark.parametrize(
    ("name", "record", "reason"),
    [
        ("zendesk", ticket(comments=5), "comments must be a list, is a number"),
        ("zendesk", ticket(comments=[comment(1, 5, 0)]), "comments[0].body must be text, is a number"),
        ("zendesk", ticket(users=[1]), "users[0] must be an object, is a number"),
        ("zendesk-chat", chat(history=[None]), "history[0] must be an object, is null"),
        ("zendesk-chat", chat(history=[event("chat.msg", "visitor", 1, 5)]), "history[0].msg must be text, is a num"),
    ],
)
def test_a_broken_record(put, imported, name, record, reason):
    good = ticket() if name == "zendesk" else chat()
    record = (
        {**record, "comments": [{**each, "plain_body": None} for each in record["comments"]]}
        if isinstance(record.get("comments"), list)
        else record
    )
    with pytest.raises(DataError) as found:
        imported(put("t.json", json.dumps([good, record])))
    assert str(found.value).partition("t.json: element 2: ")[2].startswith(reason)
