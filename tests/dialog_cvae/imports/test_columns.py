"""Which columns of a table are read as what, and what the report says if the choice seems wrong."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from dialog_cvae.errors import DataError
from dialog_cvae.imports.message import SYSTEM, TURNS


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            "Ticket ID,Agent,Direction,Message,Created At\n7,Kim,Inbound,hi,2024-01-13\n7,Kim,Outbound,yo,2024-01-14\n",
            ["Inbound: hi", "Outbound: yo"],
        ),
        ("conversation_id,name,sender_type,message\n1,Ann,contact,hi\n1,Ann,agent,yo\n", ["contact: hi", "agent: yo"]),
        (
            "conversation_id,author_name,author_type,body\n1,Ann,user,hi\n1,Kim,admin,yo\n",
            ["user: hi", "admin: yo"],
        ),
        ("conversation_id,user,role,content\n1,u5,user,hi\n1,u5,assistant,yo\n", ["user: hi", "assistant: yo"]),
    ],
)
def test_the_speaker_is_the_type_of_person_before_the_name(put, imported, table, said):
    result = imported(put("t.csv", table))
    assert result.said == [said]
    assert not any("warning" in line for line in result.report.lines())


def test_system_and_tool_turns_of_chats_with_an_assistant_are_left_out(put, tmp_path, imported):
    rows = [("system", "Be kind."), ("user", "hi"), ("Tool", "{}"), ("function_call", "{}"), ("assistant", "<p>yo</p>")]
    table = "conversation_id,role,content\n" + "".join(f"1,{role},{text}\n" for role, text in rows)
    parquet.write_table(
        pa.table({"conversation_id": [1] * 5, **dict(zip(("role", "content"), zip(*rows, strict=True), strict=True))}),
        tmp_path / "t.parquet",
    )
    lines = [{"conversation_id": 1, "role": role, "content": text} for role, text in rows]
    paths = put("t.csv", table), tmp_path / "t.parquet", put("t.json", json.dumps(lines))
    for path in paths:
        result = imported(path)
        assert result.said == [["user: hi", "assistant: <p>yo</p>"]]
        assert result.left_out == {TURNS: 3}
    # They still link the messages around them.
    linked = [
        f"{row},{row - 1 if row else ''},{role},{text}\n"
        for turns in (rows, [("user", "a"), ("assistant", "b")])
        for row, (role, text) in enumerate(turns, 0 if turns is rows else 10)
    ]
    result = imported(put("t.csv", "message_id,parent_message_id,role,content\n" + "".join(linked)))
    assert result.said == [["user: hi", "assistant: <p>yo</p>"], ["user: a", "assistant: b"]]


def test_a_system_that_speaks_is_not_left_out(put, imported):
    result = imported(put("t.csv", "conversation_id,role,content\n1,user,hi\n1,system,yo\n"))
    assert result.said == [["user: hi", "system: yo"]]


@pytest.mark.parametrize("roles", [["member", "member"], ["member", ""], ["", ""]])
def test_a_type_that_all_rows_share_is_not_the_speaker(put, tmp_path, imported, roles):
    rows = {"username": ["ann", "bo"], "role": roles, "message": ["hi", "yo"]}
    cells = zip(*rows.values(), strict=True)
    path = put("t.csv", ",".join(rows) + "\n" + "".join(",".join(row) + "\n" for row in cells))
    parquet.write_table(pa.table(rows), tmp_path / "t.parquet")
    for each in (path, tmp_path / "t.parquet"):
        result = imported(each)
        assert result.said == [["ann: hi", "bo: yo"]]
        assert "column 'role' is the same in the first rows, and is not read as the speaker" in str(
            result.report.lines()
        )
        if roles[1]:
            assert imported(each, columns={"speaker": "role"}).said == [["member: hi", "member: yo"]]


def test_a_type_that_all_rows_share_is_the_speaker_if_there_is_no_name(put, imported):
    result = imported(put("t.csv", "sender_type,direction,message\nuser,in,hi\nuser,out,yo\n"))
    assert result.said == [["in: hi", "out: yo"]]
    result = imported(put("t.csv", "role,message\nuser,hi\nuser,yo\n"))
    assert result.said == [["user: hi", "user: yo"]]
    assert "is the same in the first rows" not in str(result.report.lines())


@pytest.mark.parametrize(("first", "is_way"), [("email", True), ("Live Chat", True), ("general", False)])
def test_a_channel_that_is_a_way_of_sending_is_not_the_conversation(put, tmp_path, imported, first, is_way):
    rows = {
        "id": [1, 2, 3, 4],
        "channel": [first, "chat", first, "chat"],
        "author": ["A", "B", "C", "D"],
        "body": ["a", "b", "c", "d"],
        "created_at": [f"2024-01-13 10:0{minute}" for minute in range(4)],
    }
    cells = zip(*rows.values(), strict=True)
    path = put("t.csv", ",".join(rows) + "\n" + "".join(",".join(map(str, row)) + "\n" for row in cells))
    parquet.write_table(pa.table(rows), tmp_path / "t.parquet")
    for each in (path, tmp_path / "t.parquet"):
        result = imported(each)
        assert len(result.said) == (1 if is_way else 2)
        assert ("column 'channel' says how a message was sent" in str(result.report.lines())) is is_way
        assert len(imported(each, columns={"conversation": "channel"}).said) == 2


def test_an_id_shared_by_several_speakers_is_the_conversation(put, imported):
    rows = "1,user,hi\n1,assistant,yo\n2,user,a\n2,assistant,b\n"
    result = imported(put("t.csv", "id,role,content\n" + rows))
    assert result.said == [["user: hi", "assistant: yo"], ["user: a", "assistant: b"]]


def test_an_id_of_messages_is_no_conversation_if_a_row_is_there_twice(put, imported):
    rows = [f"{number},{'AB'[number % 2]},t{number}\n" for number in range(1, 9)]
    for again in (rows[3], "4,A,other\n"):
        result = imported(put("t.csv", "id,username,message\n" + "".join([*rows, again])))
        assert [len(said) for said in result.said] == [9]


def test_an_id_of_persons_is_no_conversation(put, imported):
    rows = "17,ann,hi\n23,bo,yo\n" * 3
    assert imported(put("t.csv", "id,username,message\n" + rows)).said == [["ann: hi", "bo: yo"] * 3]
    split = "17,ann,hi\n17,ann,so\n23,bo,yo\n23,Bo,no\n"  # one of the two persons is spelt in two ways
    assert len(imported(put("u.csv", "id,username,message\n" + split)).said) == 1


def test_two_columns_id_are_not_the_conversation(tmp_path, imported):
    ids, rest = ["1", "1"], [["A", "B"], ["hi", "yo"]]
    names = ["id", "id", "speaker", "text"]
    parquet.write_table(
        pa.Table.from_arrays([pa.array(each) for each in (ids, ids, *rest)], names=names), tmp_path / "t"
    )
    assert imported(tmp_path / "t").said == [["A: hi", "B: yo"]]


IMAZING = """\
Chat Session,Message Date,Delivered Date,Service,Type,Sender ID,Sender Name,Subject,Text
Bo,2024-01-13 10:00:00,,iMessage,Incoming,+1,Bo,,hi
Bo,2024-01-13 10:01:00,,iMessage,Outgoing,,,,yo
Bo,2024-01-13 10:02:00,,iMessage,Notification,,,,Bo left
Cy,2024-01-13 10:00:30,,SMS,Outgoing,,,,hey
Cy,2024-01-13 10:03:00,,SMS,Incoming,+2,Cy,,what
"""


def test_outgoing_rows_without_a_name_are_mine(put, imported):
    result = imported(put("t.csv", IMAZING))
    assert result.said == [["Bo: hi", "Me: yo"], ["Me: hey", "Cy: what"]]
    assert result.left_out == {SYSTEM: 1}


@pytest.mark.parametrize(("column", "is_mine"), [("is_from_me", True), ("type", False)])
def test_a_number_says_that_a_row_is_mine_only_in_a_column_of_that_name(put, imported, column, is_mine):
    rows = "1,A,a,0\n1,,b,1\n" + "1,A,c,0\n1,B,d,0\n" * 2
    said = imported(put("t.csv", f"chat_id,sender,text,{column}\n" + rows)).said[0]
    assert ("Me: b" in said) is is_mine


@pytest.mark.parametrize(("nameless", "fails"), [(1, False), (2, True)])
def test_many_rows_without_a_speaker_are_refused(put, imported, nameless, fails):
    rows = "".join(f"{'' if number < nameless else 'AB'[number % 2]},t{number}\n" for number in range(5))
    path = put("t.csv", "sender,text\n" + rows + ",\n,\n")
    if not fails:
        assert imported(path).left_out["messages without a speaker"] == 1
        return
    with pytest.raises(DataError, match=r"t.csv: 2 of 5 rows with text have no speaker in column 'sender': name"):
        imported(path)


def test_a_single_speaker_in_most_conversations_is_a_warning(put, imported):
    table = "conversation,who,agent,text\n1,A,Kim,hi\n1,B,Kim,yo\n2,A,Kim,hi\n2,B,Kim,yo\n"
    path = put("t.csv", table)
    warning = "  warning: 2 of 2 conversations have a single speaker: if column 'agent' does not say who speaks, "
    assert warning + "name another: --column speaker=NAME" in imported(path).report.lines()
    assert "warning" not in str(imported(path, columns={"speaker": "who"}).report.lines())


CROWD = "conversations of 6 messages or more, hardly anyone speaks twice"


def test_a_table_of_reviews_is_warned_of(put, imported):
    rows = [f"user{i % 29},good {i},2024-01-{1 + i // 10:02} 10:0{i % 10}" for i in range(30)]
    result = imported(put("reviews.csv", "\n".join(["user,text,date", *rows])))
    assert len(result.said) == 3
    assert f"warning: in 3 of 3 {CROWD}" in str(result.report.lines())


@pytest.mark.parametrize(
    "rows",
    [
        [f"{talk},{who},hi {i}" for talk in range(3) for i, who in enumerate("ABCADEB")],  # a room
        [f"{talk},{who}{talk},hi" for talk in range(3) for who in "AB"],  # short talks
        [f"{talk},A,hi {i}" for talk in range(3) for i in range(7)],  # monologues have another warning
    ],
)
def test_talks_of_several_people_are_not(put, imported, rows):
    result = imported(put("t.csv", "\n".join(["conversation,speaker,text", *rows])))
    assert CROWD not in str(result.report.lines())
