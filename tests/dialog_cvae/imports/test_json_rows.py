"""Messages in JSON, an object each."""

from __future__ import annotations

import json

import pytest

from dialog_cvae.errors import DataError

ROWS = [
    {"ticket_id": 7, "sender": "Ann", "body": "Where is my parcel?", "sent_at": "2024-01-13T10:00"},
    {"ticket_id": 8, "sender": "Cy", "body": "A refund, please.", "sent_at": "2024-01-13T10:01"},
    {"ticket_id": 8, "sender": "Bo", "body": "Done.", "sent_at": "2024-01-13T10:03"},
    {"ticket_id": 7, "sender": "Bo", "body": "On its way.", "sent_at": "2024-01-13T10:02"},
]
SAID = [["Ann: Where is my parcel?", "Bo: On its way."], ["Cy: A refund, please.", "Bo: Done."]]


def lines(objects):
    return "".join(json.dumps(each) + "\n" for each in objects)


@pytest.mark.parametrize("form", ["lines", "list", "object", "pretty"])
def test_rows_are_read_like_a_table(put, imported, form):
    content = {
        "lines": lines(ROWS),
        "list": json.dumps(ROWS),
        "object": json.dumps({"exported": "today", "rows": ROWS}),
        "pretty": json.dumps({"rows": ROWS}, indent=2),
    }[form]
    result = imported(put("t.json", content))
    assert result.said == SAID
    assert [line["id"] for line in result.lines] == ["1:7", "2:8"]
    assert "columns: conversation=ticket_id, speaker=sender, text=body, time=sent_at" in str(result.report.lines())


CONVERSATIONS = [
    {
        "id": 7,
        "subject": "parcel",
        "comments": [
            {"author": {"id": 1, "name": "Ann"}, "plain": "", "body": "Where is it?"},
            {"author": {"id": 2, "name": "Bo"}, "plain": "", "body": "On its way."},
        ],
    },
    {"id": 8, "subject": None, "comments": None},
    {
        "id": 9,
        "comments": [
            {"author": {"id": 3, "name": "Cy"}, "body": "A refund."},
            {"author": {"id": 2, "name": "Bo"}, "body": "Done."},
        ],
    },
]


@pytest.mark.parametrize("form", ["lines", "list", "object", "keys"])
def test_a_list_within_each_of_several_objects_is_a_conversation(put, imported, form):
    content = {
        "lines": lines(CONVERSATIONS),
        "list": json.dumps(CONVERSATIONS),
        "object": json.dumps({"tickets": CONVERSATIONS, "count": 3}),
        "keys": json.dumps({"version": 2, **{f"key {each['id']}": each for each in CONVERSATIONS}}),
    }[form]
    result = imported(put("t.json", content))
    assert result.said == [["Ann: Where is it?", "Bo: On its way."], ["Cy: A refund.", "Bo: Done."]]
    names = ("1:key 7", "2:key 9") if form == "keys" else ("1:7", "2:9")
    assert [(line["id"], line.get("topic")) for line in result.lines] == list(zip(names, ("parcel", None), strict=True))
    assert "each list of messages is a conversation" in str(result.report.lines())


@pytest.mark.parametrize("form", ["lists", "keys"])
def test_each_of_several_lists_is_a_conversation(put, imported, form):
    lists = [[{"sender": who, "text": f"{who}{number}"} for who in "AB"] for number in (1, 2)]
    keyed = {"people": [{"name": "A"}], "first": lists[0], "second": lists[1], "empty": []}
    result = imported(put("t.json", json.dumps(lists if form == "lists" else keyed)))
    assert result.said == [["A: A1", "B: B1"], ["A: A2", "B: B2"]]
    assert [line["id"] for line in result.lines] == (["1", "2"] if form == "lists" else ["1:first", "2:second"])


TALKS = [[{"sender": who, "text": f"{who}{number}"} for who in "AB"] for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({"train": [{"id": 1, "talk": TALKS[0]}, {"id": 2, "talk": TALKS[1]}], "dev": [{"talk": TALKS[2]}]}, "1 2 "),
        ({"train": TALKS[:2], "test": TALKS[2:], "people": [{"name": "A"}]}, "  "),
        ({"chats": {"x": TALKS[0], "y": TALKS[1]}, "more": {"z": TALKS[2]}}, "chats, x|chats, y|more, z"),
    ],
)
def test_all_lists_of_conversations_in_an_object_are_read(put, imported, value, names):
    result = imported(put("t.json", json.dumps(value)))
    assert result.said == [["A: A1", "B: B1"], ["A: A2", "B: B2"], ["A: A3", "B: B3"]]
    names = names.split("|" if "|" in names else " ")
    assert [line["id"].partition(":")[2] for line in result.lines] == names


def test_a_second_list_of_messages_in_an_object_is_named(put, imported):
    result = imported(put("t.json", lines([{"messages": talk, "notes": TALKS[2], "tags": []} for talk in TALKS[:2]])))
    assert result.said == [["A: A1", "B: B1"], ["A: A2", "B: B2"]]
    note = "of the lists of messages in an object only 'messages' is read, not notes"
    assert result.report.parts[0].log.notes[0] == note


def test_a_key_that_is_null_does_not_hide_the_object_of_other_messages(put, imported):
    talk = [{"case": {"id": row["ticket_id"]}, "sender": {"name": row["sender"]}, "body": row["body"]} for row in ROWS]
    rows = [{"case": None, "sender": None, "body": "Ticket opened."}, *talk, *talk]
    result = imported(put("t.json", lines(rows)), columns={"conversation": "case.id"})
    assert result.said == [2 * said for said in SAID]
    assert result.report.parts[0].log.left_out == {"messages without a speaker": 1}


def test_a_second_list_is_refused(put, imported):
    line = json.dumps(TALKS)
    with pytest.raises(DataError, match=r"t.json, line 2: text after the end of the list"):
        imported(put("t.json", f"{line}\n{line}\n"))


def test_the_messages_name_their_conversations_in_lists_too(put, imported):
    result = imported(put("t.json", json.dumps({"train": ROWS[:3], "test": ROWS[3:] * 2})))
    assert [line["id"] for line in result.lines] == ["1:7", "2:8"]


def test_silences_divide_the_list_of_a_single_object(put, imported):
    times = ("2024-01-13T10:00", "2024-01-13T10:01", "2024-01-14T10:00", "2024-01-14T10:01")
    messages = [
        {"user": {"name": "Bo" if index % 2 else "Ann"}, "text": f"text {index}", "created_at": time}
        for index, time in enumerate(times)
    ]
    result = imported(put("t.json", json.dumps({"messages": messages, "participants": 2})))
    assert result.said == [["Ann: text 0", "Bo: text 1"], ["Ann: text 2", "Bo: text 3"]]


def test_columns_are_named_with_dots(put, imported):
    rows = [{"text": "hi", "from": {"id": 1, "nick": "A"}}, {"text": "yo", "from": {"id": 2, "nick": "B"}}]
    path = put("t.json", lines(rows))
    assert imported(path, format="messages", columns={"speaker": "from.nick"}).said == [["A: hi", "B: yo"]]
    with pytest.raises(DataError, match=r"has no column 'from.nic'; did you mean 'from.nick'\?"):
        imported(path, format="messages", columns={"speaker": "from.nic"})


def test_values_with_a_type_of_mongodb(put, imported):
    rows = [
        {
            "_id": {"$oid": f"a{number}"},
            "room": {"_id": {"$oid": f"c{row['ticket_id']}"}},
            "user": {"username": row["sender"]},
            "body": row["body"],
            "ts": {"$date": {"$numberLong": str(1_705_140_000_000 - number)}},
        }
        for number, row in enumerate(ROWS)
    ]
    result = imported(put("t.json", lines(rows)))
    assert result.said == [said[::-1] for said in SAID]
    assert [line["id"] for line in result.lines] == ["1:c7", "2:c8"]


def test_messages_of_teams(put, imported):
    messages = [
        {
            "replyToId": None,
            "createdDateTime": row["sent_at"],
            "from": {"application": None, "user": {"id": row["sender"], "displayName": row["sender"]}},
            "body": {"contentType": "html", "content": f"<p>{row['body']}</p>"},
        }
        for row in ROWS
    ]
    joined = {"createdDateTime": "2024-01-13T09:59", "from": None, "body": {"content": "<systemEventMessage/>"}}
    result = imported(put("t.json", json.dumps({"@odata.count": 5, "value": [*messages, joined]})))
    assert result.said == [[SAID[0][0], *SAID[1][:1], SAID[0][1], SAID[1][1]]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS, {"sender": "Ann", "body": ["hi"]}], "line 5: a field holds a list or an object, not text"),
        ([*CONVERSATIONS, {"comments": {"author": "Ann"}}], "line 4: 'comments' must be a list, is an object"),
        ([*CONVERSATIONS, {"comments": [7]}], "line 4, message 1 must be an object, is a number"),
        ([{"talk": each} for each in CONVERSATIONS], "its lists of messages 'talk.comments' are too deep"),
        ([{"rows": CONVERSATIONS}, {"error": "none"}], "line 2: object 2 has no list 'rows'"),
        ([{"rows": CONVERSATIONS}, {"rows": [7]}], "line 2: object 2, rows, element 1 must be an object, is a number"),
        ([*ROWS, {**ROWS[0], "sent_at": "soon"}], "line 5: the time 'soon' is not ISO 8601"),
    ],
)
def test_malformed_rows_are_refused_with_their_place(put, imported, rows, message):
    with pytest.raises(DataError, match=rf"t.json[:,] {message}"):
        imported(put("t.json", lines(rows)))


@pytest.mark.parametrize(
    "value",
    [
        [{"user": "ann", "text": "a review without time"}, {"user": "bo", "text": "another"}],
        [[[{"sender": "ann", "text": "hi"}, {"sender": "bo", "text": "yo"}]]],
        [{"source": {"body": "a question"}, "parts": {"parts": [{"author": "ann", "body": "an answer"}]}}],
        [{"sender": {"name": "Ann"}, "text": {"body": "hi"}}],
    ],
)
def test_other_json_is_not_messages(put, imported, value):
    with pytest.raises(DataError, match="is in no known format: its JSON has the keys"):
        imported(put("t.json", json.dumps(value)))
