"""Rows of tables that only the agents of a help desk saw, and columns that only say who is an agent."""

from __future__ import annotations

import json

import pytest

from dialog_cvae.imports.message import NOTES

SAID = [["Ann: hi", "Bo: yes?", "Ann: thanks"], ["Cy: hi", "Bo: no"]]
ROWS = [(1, "Ann", "hi", 0), (1, "Bo", "angry", 1), (1, "Bo", "yes?", 0), (2, "Cy", "hi", 0)]
ROWS += [(2, "Bo", "no", 0), (1, "Ann", "thanks", 0), (2, "Bo", "closed", 1)]


def table(column, shown, private):
    rows = [f"{ticket},{who},{text},{private if is_private else shown}\n" for ticket, who, text, is_private in ROWS]
    return "".join([f"ticket_id,author,body,{column}\n", *rows])


@pytest.mark.parametrize(
    ("column", "shown", "private"),
    [
        ("private", "false", "true"),
        ("isPrivate", "False", "True"),
        ("Is Internal", "0", "1"),
        ("public", "TRUE", "FALSE"),
        ("jsdPublic", "true", "false"),
        ("visibility", "all", "agents"),
        ("type", "reply", "Internal note"),
        ("message_type", "message", "note"),
    ],
)
def test_private_notes_are_left_out(put, imported, column, shown, private):
    result = imported(put("t.csv", table(column, shown, private)))
    assert result.said == SAID
    assert result.left_out == {NOTES: 2}
    note = f"column {column!r} says which rows are private notes, which are left out"
    assert note in result.report.parts[0].log.notes


@pytest.mark.parametrize(("column", "shown", "private"), [("is_private", "false", "true"), ("public", "1", "0")])
def test_a_private_note_below_many_other_rows_is_left_out(put, imported, column, shown, private):
    rows = "".join(f"{i // 2},{'AB'[i % 2]},hi,{shown}\n" for i in range(400))
    result = imported(put("t.csv", f"ticket_id,author,body,{column}\n{rows}0,B,angry,{private}\n"))
    assert result.said == [["A: hi", "B: hi"]] * 200
    assert result.left_out == {NOTES: 1}


def test_private_notes_in_json(put, imported):
    keys = ("ticket_id", "author", "body", "is_private")
    rows = [dict(zip(keys, (*row[:3], bool(row[3])), strict=True)) for row in ROWS]
    assert imported(put("t.json", json.dumps(rows))).said == SAID


@pytest.mark.parametrize(("shown", "private"), [("a", "b"), ("true", "true"), ("", "")])
def test_other_values_and_columns_of_one_value_leave_out_nothing(put, imported, shown, private):
    result = imported(put("t.csv", table("private", shown, private)))
    assert sum(map(len, result.said)) == len(ROWS)
    assert result.left_out == {}


def test_a_column_of_private_rooms_leaves_out_nothing(put, imported):
    rows = "1,A,hi,true\n1,B,yo,true\n2,A,so,false\n2,B,no,false\n"
    result = imported(put("t.csv", f"room,speaker,text,is_private\n{rows}"))
    assert result.said == [["A: hi", "B: yo"], ["A: so", "B: no"]]


def test_a_private_note_links_its_replies(put, imported):
    rows = "1,,A,hi,false\n2,1,B,angry,true\n3,2,B,yo,false\n4,,A,so,false\n5,4,B,no,false\n6,5,A,oh,false\n"
    result = imported(put("t.csv", f"id,parent_id,speaker,text,private\n{rows}"))
    assert result.said == [["A: hi", "B: yo"], ["A: so", "B: no", "A: oh"]]
    assert result.left_out[NOTES] == 1


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("from_agent", (False, True), ["customer: hi", "agent: yo"]),
        ("isInbound", (1, 0), ["customer: hi", "agent: yo"]),
        ("from_agent", ("Ann", "Bo"), ["Ann: hi", "Bo: yo"]),
    ],
)
def test_who_is_an_agent(put, imported, column, values, said):
    rows = [{column: who, "author": "x", "body_text": text} for who, text in zip(values, ("hi", "yo"), strict=True)]
    assert imported(put("t.json", json.dumps(rows))).said == [said]


def test_front_gorgias_and_hubspot(put, imported):
    time = "2024-01-13T10:0{}:00Z"
    front = [
        {
            "id": "m",
            "is_inbound": i != 1,
            "text": t,
            "body": f"<p>{t}</p>",
            "author": None,
            "created_at": time.format(i),
        }
        for i, t in ((2, "c"), (1, "b"), (0, "a"))
    ]
    gorgias = [
        {"ticket_id": 7, "from_agent": i in (1, 2), "public": i != 1, "stripped_text": t, "body_text": f"{t}\n> x",
         "sender": {"name": "x"}, "created_datetime": time.format(i)}
        for i, t in enumerate(("a", "note", "b", "c"))
    ]  # fmt: skip
    hubspot = [
        {"type": kind, "conversationsThreadId": "7", "text": text, "createdAt": time.format(i), "direction": way}
        for i, (kind, text, way) in enumerate(
            [("MESSAGE", "a", "INCOMING"), ("COMMENT", "note", "OUTGOING"), ("MESSAGE", "b", "OUTGOING"),
             ("THREAD_STATUS_CHANGE", None, None), ("MESSAGE", "c", "INCOMING")]
        )
    ]  # fmt: skip
    sides = ["customer: a", "agent: b", "customer: c"]
    assert imported(put("front.json", json.dumps({"_results": front}))).said == [sides]
    assert imported(put("gorgias.json", json.dumps({"data": gorgias}))).said == [sides]
    ways = ["INCOMING: a", "OUTGOING: b", "INCOMING: c"]
    assert imported(put("hubspot.json", json.dumps({"results": hubspot}))).said == [ways]
