"""Tables whose rows say who wrote to whom: the talk of two people is one conversation."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyarrow import parquet

from dialog_cvae.errors import DataError
from dialog_cvae.imports.table_rows import UNNAMED

ROWS = [
    ("ann", "bo", "a1", "2024-01-13 10:00"),
    ("cy", "ann", "b1", "2024-01-13 10:01"),
    ("bo", "ann", "a2", "2024-01-13 10:02"),
    ("di", "cy", "c1", "2024-01-13 10:03"),
    ("ann", "cy", "b2", "2024-01-13 10:04"),
    ("cy", "di", "c2", "2024-01-13 10:05"),
    ("ann", "bo", "a3", "2024-01-14 10:00"),
    ("bo", "ann", "a4", "2024-01-14 10:01"),
]
SAID = [
    ["ann: a1", "bo: a2"],
    ["ann: a3", "bo: a4"],
    ["cy: b1", "ann: b2"],
    ["di: c1", "cy: c2"],
]


def table(header: str, rows=ROWS) -> str:
    return "\n".join([header, *map(",".join, rows)]) + "\n"


@pytest.mark.parametrize(
    "header",
    ["sender,receiver,message,timestamp", "from,to,text,date", "fromUserId,toUserId,body,createdAt"],
)
def test_the_talk_of_two_people_is_a_conversation(put, tmp_path, imported, header):
    columns = dict(zip(header.split(","), map(list, zip(*ROWS, strict=True)), strict=True))
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    for path in (put("t.csv", table(header)), tmp_path / "t.parquet"):
        result = imported(path)
        assert result.said == SAID
        assert result.lines[0]["id"] == "1:ann, bo"
        note = "a row belongs to: the talk of two people is one and a silence begins a new one"
        assert note in str(result.report.lines())
    assert len(imported(path, gap=0.0).said) == 3


def test_ids_of_recipients_are_compared_with_ids_of_senders(put, imported):
    ids = {"ann": "1", "bo": "2", "cy": "3", "di": "4"}
    rows = [("agent" if a < b else "customer", a, ids[a], f"{ids[b]}.0", text) for a, b, text, _ in ROWS]
    result = imported(put("t.csv", table("sender_role,sender_name,sender_id,receiver_id,message", rows)))
    assert [[text[-2:] for text in said] for said in result.said] == [
        ["a1", "a2", "a3", "a4"],
        ["b1", "b2"],
        ["c1", "c2"],
    ]
    assert result.said[0][:2] == ["agent: a1", "customer: a2"]


def test_a_column_that_the_user_names(put, imported):
    path = put("t.csv", table("sender,an,message,timestamp"))
    assert len(imported(path).said) == 2  # divided by the silence alone
    assert imported(path, columns={"recipient": "an"}).said == SAID


@pytest.mark.parametrize("header", ["sender,receiver,message,thread", "sender,receiver,message,id"])
def test_a_column_of_conversations_comes_first(put, imported, header):
    rows = [("ann", "bo", "a", "7"), ("bo", "ann", "b", "7"), ("cy", "ann", "c", "7"), ("ann", "cy", "d", "7")]
    path = put("t.csv", table(header, rows))
    assert [len(said) for said in imported(path).said] == [4]
    # A column of recipients that the user names comes before a guess.
    assert [len(said) for said in imported(path, columns={"recipient": "receiver"}).said] == [2, 2]
    conversation = header.rpartition(",")[2]
    with pytest.raises(DataError, match=rf"'receiver' \(recipient\) has no use beside column '{conversation}' \(conv"):
        imported(path, columns={"recipient": "receiver", "conversation": conversation})


def test_a_column_of_replies_comes_first_if_many_rows_reply(put, imported):
    rows = [("1", "", "ann", "bo", "a"), ("2", "1", "bo", "ann", "b"), ("3", "1", "cy", "ann", "c")]
    result = imported(put("t.csv", table("message_id,reply_to,from,to,text", rows)))
    assert result.said == [["ann: a", "bo: b", "cy: c"]]
    rows += [("4", "", "ann", "cy", "d"), ("5", "", "bo", "ann", "e"), ("6", "", "ann", "bo", "f")]
    result = imported(put("t.csv", table("message_id,reply_to,from,to,text", rows)))
    assert sorted(result.said) == [["ann: a", "bo: b", "bo: e", "ann: f"], ["cy: c", "ann: d"]]
    assert "so that the talk of two people is one after all" in str(result.report.lines())


def test_a_room_is_no_recipient(put, imported):
    rows = [("ann", "garden", "a"), ("bo", "garden", "b"), ("cy", "garden", "c"), ("ann", "ann", "d")]
    path = put("t.csv", table("sender,to,message", rows))
    result = imported(path)
    assert [len(said) for said in result.said] == [4]
    note = "column 'to' is not read as the recipient, because only 0 of the first 4 rows are answered"
    assert note in str(result.report.lines())
    with pytest.raises(DataError, match="no conversation of two or more messages"):
        imported(path, columns={"recipient": "to"})


def test_a_side_that_is_blank_is_a_person_and_two_are_counted(put, imported):
    rows = [
        ("ann", "", "a"),
        ("me", "bo", "c"),
        ("ann", "me", "b"),
        ("me", "ann", "d"),
        ("ann", "", "e"),
        ("bo", "me", "f"),
    ]
    result = imported(put("t.csv", table("sender,to,message", [*rows, ("", "", "g")])))
    assert sorted(result.said) == [["ann: a", "ann: e"], ["ann: b", "me: d"], ["me: c", "bo: f"]]
    assert result.report.parts[0].log.changed[UNNAMED] == 1


def test_a_missing_column_or_one_named_twice_is_an_error(put, imported):
    with pytest.raises(DataError, match="has no column 'receiverr'; did you mean 'receiver'"):
        imported(put("t.csv", table("sender,receiver,message,timestamp")), columns={"recipient": "receiverr"})
    with pytest.raises(DataError, match="has 2 columns 'to': give them different names"):
        imported(put("t.csv", table("sender,to,message,to")), columns={"recipient": "to"})
