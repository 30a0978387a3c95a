"""Files with the newest message first in which times are equal: questions stay before their answers in every format."""

from __future__ import annotations

import json

import pytest

SAID = [("ann", "a", 0), ("bo", "b", 1), ("ann", "c", 1), ("bo", "d", 1), ("ann", "e", 2)]  # with a minute
EXPECTED = ["ann: a", "bo: b", "ann: c", "bo: d", "ann: e"]


def discord(said):
    messages = [
        {
            "type": "Default",
            "timestamp": f"2024-01-01T10:{minute:02}:00+00:00",
            "content": text,
            "author": {"name": name},
        }
        for name, text, minute in said
    ]
    return json.dumps({"channel": {"id": "1"}, "messages": messages})


def discord_csv(said):
    rows = (f"{name},{name},2024-01-01T10:{minute:02}:00+00:00,{text}\n" for name, text, minute in said)
    return "AuthorID,Author,Date,Content\n" + "".join(rows)


def messenger(said):
    messages = [{"sender_name": name, "content": text, "timestamp_ms": minute} for name, text, minute in said]
    return json.dumps({"messages": messages})


def slack(said):
    return json.dumps([{"type": "message", "user": name, "text": text, "ts": str(time)} for name, text, time in said])


def convokit(said):
    rows = ({"conversation_id": "c", "speaker": name, "text": text, "timestamp": time} for name, text, time in said)
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(said):
    return "sender,text,time\n" + "".join(f"{name},{text},2024-01-01 10:{time:02}\n" for name, text, time in said)


@pytest.mark.parametrize("is_newest_first", [False, True])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.json", discord),
        ("t.csv", discord_csv),
        ("inbox/ann_1/message_1.json", messenger),
        ("help/2024-01-01.json", slack),
        ("utterances.jsonl", convokit),
        ("table.csv", table),
    ],
)
def test_equal_times_keep_the_order_of_the_talk(put, tmp_path, imported, name, content, is_newest_first):
    put(f"all/{name}", content(SAID[::-1] if is_newest_first else SAID))
    assert imported(tmp_path / "all").said == [EXPECTED]


def test_a_conversation_with_equal_times_alone_is_like_most_of_the_table(put, imported):
    rows = ["2,B,d,2024-01-14", "2,A,c,2024-01-13", "1,B,b,2024-01-12", "1,A,a,2024-01-12"]
    for order, said in ((rows, ["A: a", "B: b"]), (rows[:2][::-1] + rows[2:], ["B: b", "A: a"])):
        result = imported(put("t.csv", "\n".join(["ticket,author,body,date", *order]) + "\n"))
        assert result.said == [["A: c", "B: d"], said]


def test_a_conversation_in_which_a_time_is_missing_is_read_from_its_end_too(put, imported):
    rows = "1,A,e,2024-01-14\n1,B,d,\n1,A,c,2024-01-13\n1,B,b,2024-01-12\n2,A,f,\n2,B,g,\n"
    result = imported(put("t.csv", "ticket,author,body,date\n" + rows))
    assert result.said == [["B: b", "A: c", "B: d", "A: e"], ["A: f", "B: g"]]


def test_an_answer_stays_after_the_question_of_its_row(put, imported):
    rows = "s,q3,a3,2024-01-14\ns,q2,a2,2024-01-13\ns,q1,a1,2024-01-13\n"
    result = imported(put("t.csv", "session_id,question,answer,date\n" + rows))
    assert result.said == [
        [f"{who}: {what}{n}" for n in (1, 2, 3) for who, what in (("user", "q"), ("assistant", "a"))]
    ]
