"""Which columns of a table are read as times, and how day and clock in two columns become one time."""

from __future__ import annotations

from datetime import date, time

import pyarrow as pa
import pytest
from pyarrow import parquet

from dialog_cvae.errors import DataError
from dialog_cvae.imports.__main__ import main
from dialog_cvae.imports.times import has_day


@pytest.mark.parametrize(
    "header",
    [
        "conversationId,senderName,messageText,createdAt",
        "ConversationID,SenderName,MessageBody,Message Time",
        "Conversation Id,Sender Name,Message,Date Created",
        "dialogueID,from,msgText,sentDate",
        "conversation_id,author,text,timestamp_utc",
        "conversation_id,author,text,TimeStamp",
    ],
)
def test_columns_in_other_spellings_are_recognised(put, tmp_path, imported, header):
    rows = [["1", "B", "b", "2024-01-13 10:01"], ["2", "A", "x", "2024-01-13 10:00"]]
    rows += [["1", "A", "a", "2024-01-13 10:00"], ["2", "B", "y", "2024-01-13 10:01"]]
    path = put("t.csv", "\n".join(map(",".join, [header.split(","), *rows])) + "\n")
    columns = dict(zip(header.split(","), map(list, zip(*rows, strict=True)), strict=True))
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    for each in (path, tmp_path / "t.parquet"):
        assert imported(each).said == [["A: a", "B: b"], ["A: x", "B: y"]]


def test_a_way_of_sending_in_two_words_is_no_conversation(put, imported):
    rows = "WhatsApp,A,a\nWeChat,B,b\n"
    assert imported(put("t.csv", "channel,author,text\n" + rows)).said == [["A: a", "B: b"]]


@pytest.mark.parametrize(
    ("values", "is_noted"), [(["2024-01-13", "2024-01-14"], True), (["", ""], False), (["soon", "late"], False)]
)
def test_a_column_that_may_hold_times_is_noted_if_none_is_read(put, imported, values, is_noted):
    rows = "".join(f"{name},{text},{value}\n" for name, text, value in zip("AB", "ab", values, strict=True))
    path = put("t.csv", "sender,text,Delivery Date\n" + rows)
    note = "  no times are read, but there may be some in 'Delivery Date': --column time=NAME"
    assert (note in imported(path).report.lines()) is is_noted
    if is_noted:
        assert note not in imported(path, columns={"time": "Delivery Date"}, gap=0.0).report.lines()


DAYS = ["13.01.2024", "12.01.2024", "14.01.2024", "13.01.2024"]
ISO_DAYS = ["2024-01-13", "2024-01-12", "2024-01-14", "2024-01-13"]
CLOCKS = ["23:00:00", "23:30:00", "01:00:00", "22:00:00"]
SAID = ["B: b", "B: d", "A: a", "A: c"]


def two_columns(days, clocks, names="Date,Time") -> str:
    rows = (
        f"{name},{text},{day},{clock}\n" for name, text, day, clock in zip("ABAB", "abcd", days, clocks, strict=True)
    )
    return f"sender,text,{names}\n" + "".join(rows)


@pytest.mark.parametrize(
    ("days", "names", "options"),
    [
        (ISO_DAYS, "Date,Time", {}),
        (ISO_DAYS, "messageDate,messageTime", {}),
        (ISO_DAYS, "Datum,Uhrzeit", {"columns": {"date": "Datum", "time": "Uhrzeit"}}),
        (ISO_DAYS, "Date,Uhrzeit", {"columns": {"time": "Uhrzeit"}}),
        (ISO_DAYS, "Datum,Time", {"columns": {"date": "Datum"}}),
        (DAYS, "Date,Time", {"time_format": "%d.%m.%Y %H:%M:%S"}),
    ],
)
def test_day_and_clock_in_two_columns_are_one_time(put, imported, days, names, options):
    result = imported(put("t.csv", two_columns(days, CLOCKS, names)), gap=0.0, **options)
    assert result.said == [SAID]
    assert f"date={names.split(',')[0]}" in str(result.report.lines())


def test_day_and_clock_of_a_typed_table_are_one_time(tmp_path, imported):
    days, clocks = map(date.fromisoformat, ISO_DAYS), map(time.fromisoformat, CLOCKS)
    rows = {"sender": list("ABAB"), "text": list("abcd"), "date": list(days), "time": list(clocks)}
    parquet.write_table(pa.table(rows), tmp_path / "t.parquet")
    assert imported(tmp_path / "t.parquet", gap=0.0).said == [SAID]


def test_a_day_alone_is_read_if_the_user_says_so(put, imported):
    path = put("t.csv", two_columns(sorted(ISO_DAYS), ["10:00", "10:00", "09:00", "11:00"]))
    assert imported(path, gap=0.0).said == [["A: a", "A: c", "B: b", "B: d"]]
    assert imported(path, gap=0.0, columns={"time": "Date"}).said == [["A: a", "B: b", "A: c", "B: d"]]


def test_a_missing_day_or_clock_is_a_missing_time(put, imported):
    path = put("t.csv", two_columns(["2024-01-13", "", "2024-01-14", "2024-01-15"], ["10:00", "11:00", "", "10:00"]))
    assert "1 conversations in the order of the file, because a message has no time" in str(
        imported(path).report.lines()
    )


def test_clocks_without_a_day_are_not_read(put, imported):
    path = put("t.csv", "sender,text,time\nA,a,23:59\nB,b,0:01\n")
    result = imported(path)
    assert result.said == [["A: a", "B: b"]]
    note = "  the times in column 'time' have no day, and are not read: --column date=NAME names it"
    assert note in result.report.lines()
    with pytest.raises(
        DataError, match=r"the times in column 'time' have no day: name its column too, as in --column d"
    ):
        imported(path, columns={"time": "time"})


def test_a_column_of_days_needs_one_of_clocks(put, imported):
    path = put("t.csv", "sender,text,day\nA,a,2024-01-13\nB,b,2024-01-13\n")
    with pytest.raises(DataError, match=r"column 'day' \(date\) has no use without --column time=NAME"):
        imported(path, columns={"date": "day"})


def test_a_day_and_clock_of_an_unknown_form_are_an_error(put, imported):
    with pytest.raises(
        DataError, match=r"line 2: the time '13.01.2024 23:00:00' is not ISO 8601 or seconds since 1970"
    ):
        imported(put("t.csv", two_columns(DAYS, CLOCKS)))


@pytest.mark.parametrize(
    ("form", "expected"),
    [("%H:%M:%S", False), ("%H:%M %p", False), ("%%d %H", False), ("%d.%m.%Y", True), ("%Y-%j", True), ("%c", True)],
)
def test_a_form_of_times_has_a_day(put, tmp_path, capsys, form, expected):
    assert has_day(form) is expected
    if not expected:
        path = put("t.csv", two_columns(DAYS, CLOCKS))
        with pytest.raises(SystemExit):
            main([str(path), "--out", str(tmp_path / "o.jsonl"), "--time-format", form])
        assert f"must have a day, as '%d.%m.%Y %H:%M' has, but is {form}" in capsys.readouterr().err
