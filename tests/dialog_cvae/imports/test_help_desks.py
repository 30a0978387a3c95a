"""Help Scout, LiveChat, Chatwoot and Crisp, and what the readers of all help desks share."""

from __future__ import annotations

import json

import pytest

from dialog_cvae import console
from dialog_cvae.errors import DataError
from dialog_cvae.imports.formats import FORMATS, recognised
from dialog_cvae.imports.message import BOTS, MEDIA, NOTES, SYSTEM
from dialog_cvae.imports.source import open_source

SAID = ["customer: Where is it?", "agent: On its way.", "customer: Thanks."]
DESKS = ("intercom", "freshdesk", "zendesk", "zendesk-chat", "help-scout", "livechat", "chatwoot", "crisp")


def thread(kind, by, body, minute, state="published"):
    person = {"id": 1, "type": by, "first": "Bo", "last": "Ray", "email": "bo@example.com"}
    return {
        "id": minute,
        "type": kind,
        "state": state,
        "action": {"type": "default"},
        "body": body,
        "source": {"type": "email", "via": by},
        "customer": {**person, "type": "customer"},
        "createdBy": person,
        "createdAt": f"2024-01-13T10:{minute:02}:00Z",
        "_embedded": {"attachments": []},
    }


def scout(number=12, **more):
    threads = [
        thread("customer", "customer", "Thanks.", 5),
        thread("lineitem", "user", None, 4),
        thread("message", "user", "On its way.<br>", 3),
        thread("message", "user", "On its", 2, "draft"),
        thread("note", "user", "He sounds angry", 1),
        thread("customer", "customer", "Where is it?", 0),
    ]
    return {"id": 1, "number": number, "type": "email", "subject": "Parcel", "_embedded": {"threads": threads}, **more}


@pytest.mark.parametrize("form", ["list", "page", "one"])
def test_help_scout_has_the_newest_thread_first(put, imported, form):
    found = [scout(12)] if form == "one" else [scout(12), scout(13)]
    page = {"_embedded": {"conversations": found}, "page": {"number": 1}}
    path = put("export.json", json.dumps({"list": found, "page": page, "one": found[0]}[form]))
    assert [kind.name for _, kind in recognised(open_source(path))] == ["help-scout"]
    result = imported(path)
    assert result.said == [SAID] * len(found)
    assert result.lines[0]["id"] == "1:12"
    assert result.lines[0]["topic"] == "Parcel"
    assert result.left_out == {NOTES: 2 * len(found), SYSTEM: len(found)}


def event(author, kind, minute, **more):
    return {"id": "E", "created_at": f"2024-01-13T10:{minute:02}:00.000000Z", "type": kind, "author_id": author, **more}


def livechat(number=1, **more):
    events = [
        event("c1", "message", 0, text="Where is it?", visibility="all"),
        event("", "system_message", 1, text="Bo joined", system_message_type="agent_joined"),
        event("bo@example.com", "message", 2, text="He sounds angry", visibility="agents"),
        event("bo@example.com", "message", 3, text="On its way.", visibility="all"),
        event("c1", "file", 4, url="https://example.com/x.png"),
        event("c1", "message", 5, text="Thanks.", visibility="all"),
    ]
    users = [{"id": "c1", "name": "Ann", "type": "customer"}, {"id": "bo@example.com", "name": "Bo", "type": "agent"}]
    return {"id": "P", "users": users, "thread": {"id": f"K{number}", "events": events}, "properties": {}, **more}


@pytest.mark.parametrize("form", ["list", "object"])
def test_livechat_is_read(put, imported, form):
    found = [livechat(1), livechat(2)]
    path = put("export.json", json.dumps(found if form == "list" else {"chats": found, "found_chats": 2}))
    assert [kind.name for _, kind in recognised(open_source(path))] == ["livechat"]
    result = imported(path)
    assert result.said == [SAID, SAID]
    assert [line["id"] for line in result.lines] == ["1:K1", "2:K2"]
    assert result.left_out == {SYSTEM: 2, NOTES: 2, MEDIA: 2}


def chatwoot(number=7):
    def message(kind, text, minute, private=False, **more):
        found = {"id": minute, "content": text, "conversation_id": number, "message_type": kind, "private": private}
        return {**found, "created_at": 1705140000 + 60 * minute, "content_attributes": {}, **more}

    ann, bo = {"id": 1, "name": "Ann", "type": "contact"}, {"id": 2, "name": "Bo", "type": "user"}
    payload = [
        message(0, "Where is it?", 0, sender=ann),
        message(3, "We reply soon.", 1),
        message(1, "I am a bot", 2, sender={"name": "x", "type": "agent_bot"}),
        message(2, "Assigned to Bo", 3),
        message(1, "He sounds angry", 4, private=True, sender=bo),
        message(1, "On its way.", 5, sender=bo),
        message(0, None, 6, sender=ann, attachments=[{"id": 1}]),
        message(0, "Thanks.", 7, sender=ann),
    ]
    return {"meta": {"labels": [], "contact": ann}, "payload": payload}


def crisp(number=1):
    def message(kind, by, content, minute, **more):
        found = {"session_id": f"session_{number}", "type": kind, "from": by, "content": content, "fingerprint": minute}
        return {**found, "timestamp": 1705140000000 + 60_000 * minute, "user": {"nickname": "x"}, **more}

    data = [
        message("text", "user", "Where is it?", 0),
        message("text", "operator", "We reply soon.", 1, automated=True),
        message("file", "user", {"name": "x.png", "url": "u", "type": "image/png"}, 2),
        message("note", "operator", "He sounds angry", 3),
        message("event", "operator", {"namespace": "state:resolved"}, 4),
        message("text", "operator", "On its way.", 5, automated=False),
        message("text", "user", "Thanks.", 6),
    ]
    return {"error": False, "reason": "resolved", "data": data}


@pytest.mark.parametrize(
    ("make", "name", "first", "left_out"),
    [
        (chatwoot, "chatwoot", "1:7", {BOTS: 2, SYSTEM: 1, NOTES: 1, MEDIA: 1}),
        (crisp, "crisp", "1:session_7", {BOTS: 1, SYSTEM: 1, NOTES: 1, MEDIA: 1}),
    ],
)
def test_an_answer_of_an_api_is_a_conversation(put, imported, make, name, first, left_out):
    for count, value in ((1, make(7)), (2, [make(7), make(8)])):
        path = put("export.json", json.dumps(value))
        assert [kind.name for _, kind in recognised(open_source(path))] == [name]
        result = imported(path)
        assert result.said == [SAID] * count
        assert result.lines[0]["id"] == first
        assert result.left_out == {kind: count * number for kind, number in left_out.items()}
    assert "bot: We reply soon." in imported(path, bots=True).said[0]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (scout(_embedded={"threads": 5}), "_embedded.threads must be a list, is a number"),
        (scout(subject=["a"]), "conversation.subject must be text, is a list"),
        (livechat(thread={"events": [5]}), "thread.events[0] must be an object, is a number"),
        (livechat(users={}), "users must be a list, is an object"),
    ],
)
def test_a_broken_record(put, imported, record, reason):
    good = scout() if "number" in record else livechat()
    with pytest.raises(DataError) as found:
        imported(put("t.json", json.dumps([good, record])))
    assert str(found.value).partition("t.json: element 2: ")[2].startswith(reason)


def test_a_cut_export_has_its_line(put, imported):
    text = json.dumps({"_embedded": {"conversations": [scout(), scout()]}}, indent=1)
    with pytest.raises(DataError, match=r"t\.json, line \d+: the file ends too early"):
        imported(put("t.json", text[: len(text) * 2 // 3]))


def test_another_object_without_the_list_is_refused(put, imported):
    page = json.dumps({"_embedded": {"conversations": [scout()]}})
    reason = r"object 2 has no list '_embedded\.conversations': remove it, or put it into another file"
    with pytest.raises(DataError, match=reason):
        imported(put("t.json", f'{page}\n{{"_embedded": {{}}}}\n'))


@pytest.mark.parametrize("name", DESKS)
def test_a_forced_desk_says_what_is_missing(put, imported, name):
    with pytest.raises(DataError, match=r"t\.json: has no tickets with "):
        imported(put("t.json", '[{"sender": "a", "text": "b"}]'), format=name)


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [{"role": "user", "content": "hi"}]},
        {"conversations": [{"from": "human", "value": "hi"}]},
        {"id": 1, "comments": [{"author": {"name": "Ann"}, "body": "hi"}]},
        {"history": [{"sender": "Ann", "text": "hi"}]},
        {"threads": [{"type": "message", "body": "hi", "author": "Ann"}]},
        {"channel": {"id": "1"}, "messages": [{"content": "x", "author": {"name": "a"}, "timestamp": "1"}]},
    ],
)
def test_other_files_are_no_export_of_a_help_desk(put, record):
    sources = [open_source(put(f"{form}.json", json.dumps(value))) for form, value in (("a", record), ("b", [record]))]
    assert not [name for name in DESKS for source in sources if FORMATS[name].recognise(source)]


def test_the_command_line(put, tmp_path, capsys):
    out = tmp_path / "mine.jsonl"
    path = put("export.json", json.dumps([scout(12), scout(13)]))
    assert console.main(["import", str(path), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"{path}: conversations of Help Scout\n  speakers are customer and agent\n" in printed
    assert "  left out: 2 system lines, 4 private notes\n" in printed
    assert console.main(["check", str(path), "--cache", "off"]) == 1  # too few conversations for three splits
    printed = capsys.readouterr().out
    assert "read as       conversations of Help Scout\n" in printed
    assert "speakers      2: customer 2, agent 2" in printed
