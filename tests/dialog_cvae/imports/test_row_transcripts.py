"""Tables with a whole conversation in each row."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from dialog_cvae.errors import DataError

ROWS = [
    {"id": "a7", "dialogue": "agent: Hello!\r\ncustomer: Where is my parcel?\r\nI wait.\r\nagent: On its way.", "n": 1},
    {"id": "b8", "dialogue": "agent: Hi.\ncustomer: A refund, please.", "n": 2},
    {"id": "c9", "dialogue": "", "n": 3},
    {"id": "d1", "dialogue": "Bea: Yes?\nCem: No.", "n": 4},
]
SAID = [
    ["agent: Hello!", "customer: Where is my parcel?\nI wait.", "agent: On its way."],
    ["agent: Hi.", "customer: A refund, please."],
    ["Bea: Yes?", "Cem: No."],
]
FORMS = ["csv", "list", "lines", "parquet"]


def written(put, tmp_path, form, rows):
    if form == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
        return tmp_path / "t.parquet"
    if form == "csv":
        lines = [list(rows[0]), *([f'"{value}"' for value in row.values()] for row in rows)]
        return put("t.csv", "".join(",".join(line) + "\n" for line in lines))
    return put("t.json", json.dumps(rows) if form == "list" else "".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("form", FORMS)
def test_each_row_is_a_conversation(put, tmp_path, imported, form):
    result = imported(written(put, tmp_path, form, ROWS))
    assert result.said == SAID
    assert [line["id"] for line in result.lines] == ["1:a7", "2:b8", "3:d1"]
    assert "speakers, with their lines: agent (3), customer (2), Bea (1), Cem (1) (first rows)" in str(
        result.report.lines()
    )


def test_anonymous_speakers_are_not_listed(put, tmp_path, imported):
    lines = imported(written(put, tmp_path, "csv", ROWS), anonymous=True).report.lines()
    assert "  4 speakers (first rows)" in lines
    assert not any("customer" in line for line in lines)


@pytest.mark.parametrize("form", FORMS)
def test_a_text_is_a_conversation_only_without_a_column_of_speakers(put, tmp_path, imported, form):
    rows = [{"text": row["dialogue"], "topic": "parcels"} for row in ROWS]
    result = imported(written(put, tmp_path, form, rows))
    assert result.said == SAID
    assert {line["topic"] for line in result.lines} == {"parcels"}
    rows = [{"ticket_id": 1, "author": f"p{number}", "text": row["dialogue"]} for number, row in enumerate(ROWS)]
    assert len(imported(written(put, tmp_path, form, rows)).said) == 1


@pytest.mark.parametrize("form", FORMS)
def test_a_named_column(put, tmp_path, imported, form):
    rows = [{"what was said": row["dialogue"], "case": row["id"], "text": "a note"} for row in ROWS]
    options = {} if form in {"csv", "parquet"} else {"format": "messages"}
    path = written(put, tmp_path, form, rows)
    columns = {"transcript": "what was said", "conversation": "case"}
    result = imported(path, columns=columns, **options)
    assert result.said == SAID
    assert [line["id"] for line in result.lines] == ["1:a7", "2:b8", "3:d1"]
    with pytest.raises(DataError, match=r"has no column 'what is said'; did you mean 'what was said'\?"):
        imported(path, columns={"transcript": "what is said"}, **options)
    with pytest.raises(DataError, match="--column text cannot be given with --column transcript"):
        imported(path, columns={"transcript": "what was said", "text": "text"}, **options)


def test_lines_before_the_first_speaker_times_and_tags(put, tmp_path, imported):
    rows = [{"transcript": f"<p>[10:0{number}] Agent: Hi.</p><p>[10:09] Cy: A refund.</p>"} for number in range(3)]
    rows += [{"transcript": "Chat started\\n[10:01] Agent: Hi.\\n[10:02] Cy: Yo."}]
    result = imported(written(put, tmp_path, "lines", rows))
    assert result.said == [["Agent: Hi.", "Cy: A refund."]] * 3 + [["Agent: Hi.", "Cy: Yo."]]
    assert result.left_out == {"lines of transcripts before the first speaker": 1}
    assert result.report.parts[0].log.changed["times removed from the beginning of messages"] == 8


def test_speakers_may_have_the_marks_of_dialogsum(put, tmp_path, imported):
    dialogue = "#Person1#: Hi, Mr. Smith. #1 is: you.\n#Person2#: Yes."
    result = imported(written(put, tmp_path, "csv", [{"id": 1, "dialogue": dialogue}]))
    assert result.said == [["#Person1#: Hi, Mr. Smith. #1 is: you.", "#Person2#: Yes."]]


@pytest.mark.parametrize(
    "values",
    [
        ["a story.\nNote: it ends well.", "another one.\nMoral: none."],
        ["Ann: a speech of one\nAnn: which goes on", "Bo: another"],
        ["", ""],
        ["Title: a desk\nColor: red\nPlace: Rome", "Title: a chair\nColor: red\nPlace: Oslo"],
        ["Date: Mon\nFrom: a@b.c\nTo: d@e.f\nSubject: Hi\n\nSee below.\nTo: you"] * 3,
    ],
)
def test_other_texts_are_no_conversations(put, tmp_path, imported, values):
    path = written(put, tmp_path, "list", [{"conversation": value} for value in values])
    with pytest.raises(DataError, match="is in no known format"):
        imported(path)


def test_parts_of_a_data_set_do_not_share_conversations(put, tmp_path, imported):
    parts = []
    for part in range(2):
        parts.append({"filename": f"data-0000{part}-of-00002.arrow"})
        table = pa.Table.from_pylist([{"dialogue": f"A: hi {part}{row}\nB: yo"} for row in range(2)])
        (tmp_path / "set").mkdir(exist_ok=True)
        with pa.ipc.new_stream(tmp_path / "set" / parts[-1]["filename"], table.schema) as stream:
            stream.write_table(table)
    put("set/state.json", json.dumps({"_data_files": parts}))
    assert imported(tmp_path / "set").said == [[f"A: hi {each}", "B: yo"] for each in ("00", "01", "10", "11")]


@pytest.mark.parametrize("form", FORMS)
def test_rows_after_those_that_decide_who_speaks_are_read(put, tmp_path, imported, form):
    rows = [{"id": number, "transcript": f"Bea: Hi {number}.\nCem: Yo."} for number in range(1100)]
    assert imported(written(put, tmp_path, form, rows)).said == [
        [f"Bea: Hi {number}.", "Cem: Yo."] for number in range(1100)
    ]
