"""Rows with a message and its answer, in JSON, CSV and Parquet."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from dialog_cvae.errors import DataError
from dialog_cvae.imports.column_names import PAIRS


def written(put, tmp_path, form, rows):
    if form == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
        return tmp_path / "t.parquet"
    if form == "csv":
        lines = [list(rows[0]), *([row.get(key) or "" for key in rows[0]] for row in rows)]
        return put("t.txt", "".join(",".join(line) + "\n" for line in lines))
    if form == "lines":
        return put("t.json", "".join(json.dumps(row) + "\n" for row in rows))
    return put("t.json", json.dumps(rows if form == "list" else {"data": rows}))


@pytest.mark.parametrize("form", ["lines", "list", "data", "csv", "parquet"])
@pytest.mark.parametrize("pair", PAIRS)
def test_each_row_is_a_conversation(put, tmp_path, imported, form, pair):
    rows = [{"user_id": "u", pair[0]: "hi", pair[1]: "yo"}, {"user_id": "u", pair[0]: "one", pair[1]: "two"}]
    result = imported(written(put, tmp_path, form, rows))
    assert result.said == [["user: hi", "assistant: yo"], ["user: one", "assistant: two"]]
    assert [line["id"] for line in result.lines] == ["1", "2"]


@pytest.mark.parametrize("form", ["lines", "csv", "parquet"])
def test_rows_of_a_session_are_a_conversation(put, tmp_path, imported, form):
    names = ("session_id", "user", "message", "response", "timestamp")
    cells = [
        ("s1", "ann", "b", "B", "2024-01-13 10:01"),
        ("s2", "cy", "c", "C", "2024-01-13 10:01"),
        ("s1", "ann", "a", "A", "2024-01-13 10:00"),
    ]
    rows = [dict(zip(names, row, strict=True)) for row in cells]
    result = imported(written(put, tmp_path, form, rows))
    assert result.said == [["user: a", "assistant: A", "user: b", "assistant: B"], ["user: c", "assistant: C"]]
    assert "each row is a message by user (message) and its answer by assistant (response)" in str(
        result.report.lines()
    )


@pytest.mark.parametrize("form", ["list", "csv", "parquet"])
def test_an_instruction_with_what_it_is_about(put, tmp_path, imported, form):
    rows = [
        {"instruction": "add", "input": "1 2", "output": "3", "text": "add 1 2 3"},
        {"instruction": "hi", "input": "", "output": "yo", "text": "hi yo"},
    ]
    result = imported(written(put, tmp_path, form, rows))
    assert result.said == [["user: add\n1 2", "assistant: 3"], ["user: hi", "assistant: yo"]]


def test_a_table_with_speakers_has_a_message_in_each_row(put, imported):
    path = put("t.csv", "conversation,sender,message,response\n1,A,hi,fast\n1,B,yo,slow\n")
    assert imported(path).said == [["A: hi", "B: yo"]]


def test_named_columns_of_a_pair(put, imported):
    path = put("t.csv", "author,q,a\nA,hi,yo\n")
    assert imported(path, columns={"text": "q", "response": "a"}).said == [["user: hi", "assistant: yo"]]


def test_a_pair_that_holds_no_text(put, tmp_path, imported):
    rows = [{"prompt": "hi", "completion": "yo"}, {"prompt": ["hi"], "completion": "yo"}]
    with pytest.raises(DataError, match=r"t.json: line 2: a field holds a list or an object, not text"):
        imported(written(put, tmp_path, "lines", rows))
    with pytest.raises(DataError, match=r"column 'prompt' \(text\) holds list"):
        imported(written(put, tmp_path, "parquet", rows[1:]))
