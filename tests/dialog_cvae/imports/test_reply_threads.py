"""Tables without a column of conversations, but with ids and replies."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pyarrow as pa
import pytest
from pyarrow import parquet

from dialog_cvae.errors import DataError
from dialog_cvae.imports.message import Log
from dialog_cvae.imports.reply_threads import divide_by_replies

TWEETS = """\
tweet_id,author_id,created_at,text,response_tweet_id,in_response_to_tweet_id
3,shop,2024-01-13 10:02,a2,,1.0
1,ann,2024-01-13 10:00,a1,3,
2,bo,2024-01-13 10:01,b1,4,
5,ann,2024-01-14 10:00,a3,,3
4,shop,2024-01-13 10:05,b2,,2
6,cy,2024-01-13 10:06,c,,99
"""


def test_interleaved_threads_are_conversations(put, tmp_path, imported):
    path = put("t.csv", TWEETS)
    lines = [line.split(",") for line in TWEETS.splitlines()]
    parquet.write_table(
        pa.table({name: [row[place] for row in lines[1:]] for place, name in enumerate(lines[0])}), tmp_path / "t"
    )
    for each in (path, tmp_path / "t"):
        result = imported(each)
        assert result.said == [["ann: a1", "shop: a2", "ann: a3"], ["bo: b1", "shop: b2"]]
        assert [line["id"] for line in result.lines] == ["1:3", "2:2"]
        assert "a message and all replies to it are one" in str(result.report.lines())
        assert "  1 conversations of a single message, which has no reply" in result.report.lines()
    assert len(imported(path, gap=3600.0).said[0]) == 2


def test_without_times_the_order_is_that_of_replies(put, imported):
    rows = "t,A,three,t1_s\nx,C,,\nr,B,one,\ny,D,last,t1_x\ns,A,two,t1_r\nz,C,end,t1_y\n"
    path = put("t.csv", "id,author,body,parent_id\n" + rows)
    assert imported(path).said == [["B: one", "A: two", "A: three"], ["D: last", "C: end"]]


@pytest.mark.parametrize("rows", ["a,A,one,b\nb,B,two,a\n", "a,A,one,a\na,B,two,a\nc,A,three,a\n"])
def test_cycles_and_repeated_ids_lose_no_message(put, imported, rows):
    result = imported(put("t.csv", "id,author,body,parent_id\n" + rows + "x,A,x,\ny,B,y,x\n"))
    assert sorted(text for said in result.said for text in said)[-2:] == ["B: two", "B: y"]
    assert sum(map(len, result.said)) == len(rows.splitlines()) + 2


@pytest.mark.parametrize("reply", ["b@x.org", "1"])
def test_few_replies_leave_the_table_as_it_was(put, imported, reply):
    rows = "1,A,one,a@x.org,2024-01-13 10:00\n2,B,two,REPLY,2024-01-13 10:01\n3,A,x,,2024-01-14\n4,B,y,,2024-01-14\n"
    path = put("t.csv", "id,author,body,reply_to,time\n" + rows.replace("REPLY", reply))
    result = imported(path)
    assert result.said == [["A: one", "B: two"], ["A: x", "B: y"]]
    count = int(reply == "1")
    note = f"only {count} of 4 rows with text reply to another row, so that a silence begins a new one after all"
    assert note in str(result.report.lines())
    if reply == "1":  # a column that the user names is always used
        assert imported(path, columns={"reply_to": "reply_to"}).said == [["A: one", "B: two"]]


@pytest.mark.parametrize(("replies", "is_divided"), [(11, False), (14, False), (15, True)])
def test_a_chat_with_replies_is_not_divided_by_them(put, imported, replies, is_divided):
    rows = [
        f"{number},{'AB'[number % 2]},t{number},{number - 1 if number <= replies else ''}\n" for number in range(30)
    ]
    notices = [f"{number},A,,{number - 1}\n" for number in range(30, 50)]  # rows without text do not count
    path = put("t.csv", "id,author,body,reply_to\n" + "".join(rows + notices).replace(",-1\n", ",\n"))
    result = imported(path)
    assert len(result.said[0]) == (16 if is_divided else 30)
    note = f"only {replies} of 30 rows with text reply to another row, so that the whole table is one after all; "
    assert (note + "--column reply_to=NAME divides by replies" in str(result.report.lines())) is not is_divided
    for what, column in {"id": "id", "reply_to": "reply_to"}.items():  # a column that the user names is always used
        assert len(imported(path, columns={what: column}).said[0]) == replies + 1


def test_many_rows_with_one_id_take_linear_time():
    def steps(count: int) -> int:
        """Steps of the database."""
        with closing(sqlite3.connect(":memory:")) as database:
            database.execute("CREATE TABLE conversations (name TEXT, first INTEGER PRIMARY KEY, untimed INTEGER)")
            database.execute(
                "CREATE TABLE said (number INTEGER PRIMARY KEY, conversation INTEGER, text TEXT, time REAL, id TEXT, "
                "reply_to TEXT)"
            )
            database.execute("INSERT INTO conversations VALUES ('', 0, 0)")
            rows = [(0, "hi", None, "x", "x")] * count
            database.executemany(
                "INSERT INTO said (conversation, text, time, id, reply_to) VALUES (?, ?, ?, ?, ?)", rows
            )
            done: list[None] = []
            database.set_progress_handler(lambda: done.append(None), 100)
            assert divide_by_replies(database, 0.5, Log())
            assert database.execute("SELECT DISTINCT conversation FROM said").fetchall() == [(1,)]
            return len(done)

    assert steps(800) < 3 * steps(400)


def test_a_column_of_conversations_comes_first(put, imported):
    rows = "k,2,B,two,1\nk,1,A,one,\nm,3,A,x,1\nm,4,B,y,\n"
    result = imported(put("t.csv", "conversation_id,id,author,body,parent_id\n" + rows))
    assert result.said == [["A: one", "B: two"], ["A: x", "B: y"]]


def test_the_two_columns_of_replies_need_each_other(put, imported):
    path = put("t.csv", "key,author,body,parent_id\n1,A,one,\n2,B,two,1\n3,C,else,\n")
    assert len(imported(path).said[0]) == 3
    with pytest.raises(DataError, match=r"column 'parent_id' \(reply_to\) has no use without --column id=NAME"):
        imported(path, columns={"reply_to": "parent_id"})
    assert imported(path, columns={"id": "key"}).said == [["A: one", "B: two"]]


REDDIT = """\
id,post_id,parent_id,author,body
c1,p,POST,ann,a1
c2,p,POST,bo,b1
c3,p,POST,cy,c1
c4,p,t1_c1,dee,a2
c5,p,t1_c2,eve,b2
c6,p,t1_c4,ann,a3
c7,p,t1_c3,bo,c2
"""


@pytest.mark.parametrize("post", ["t3_p", "p"])
def test_comments_on_a_post_reply_to_comments(put, imported, post):
    result = imported(put("t.csv", REDDIT.replace("POST", post)))
    assert result.said == [["ann: a1", "dee: a2", "ann: a3"], ["bo: b1", "eve: b2"], ["cy: c1", "bo: c2"]]
    assert ", id=id (" in str(result.report.lines())


@pytest.mark.parametrize("found", ["message_id", "post_id", "id"])
def test_the_id_of_a_message_is_the_column_that_replies_name(put, tmp_path, imported, found):
    others = {"message_id": ["m1", "m2", "m3"], "post_id": ["p1", "p2", "p3"], "id": ["1", "2", "3"]}
    rows = others | {"reply_to": [None, "x1", "x1"], "author": ["A", "B", "C"], "body": ["a", "b", "c"]}
    rows[found] = ["x1", "x2", "x3"]
    parquet.write_table(pa.table(rows), tmp_path / "t")
    cells = zip(*rows.values(), strict=True)
    path = put("t.csv", ",".join(rows) + "\n" + "".join(",".join(each or "" for each in row) + "\n" for row in cells))
    for each in (path, tmp_path / "t"):
        result = imported(each)
        assert result.said == [["A: a", "B: b", "C: c"]]
        assert f", id={found} (" in str(result.report.lines())


def test_columns_of_parquet_that_hold_lists_are_no_ids(tmp_path, imported):
    rows = {
        "speaker": ["A", "B"],
        "text": ["hi", "yo"],
        "id": [["1"], ["2"]],
        "parent_id": ["", "1"],
        "type": [[1], [2]],
    }
    parquet.write_table(pa.table(rows), tmp_path / "t")
    assert imported(tmp_path / "t").said == [["A: hi", "B: yo"]]
