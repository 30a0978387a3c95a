"""From messages to conversations: limits, merging, silences, and sorting in a temporary file."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog_cvae import limits
from dialog_cvae.imports import assemble
from dialog_cvae.imports.assemble import cleaned, threads
from dialog_cvae.imports.json_paths import json_paths
from dialog_cvae.imports.message import Log, Message
from dialog_cvae.imports.reply_order import Link, reply_order
from dialog_cvae.imports.spill import BY_FILE, BY_REPLIES, grouped_by_conversation
from dialog_cvae.imports.times import ColumnTimes, seconds


def talk(*speakers: str, **fields: object) -> list[Message]:
    return [Message("c", speaker, f"text {i}")._replace(**fields) for i, speaker in enumerate(speakers)]


def test_what_exceeds_a_limit_is_shortened_and_counted():
    log = Log()
    long = Message("c", "s" * 201, "t" * 100_001, topic="x" * 1001)
    (found,) = cleaned([long], log)
    assert (len(found.speaker), len(found.text), len(found.topic or "")) == (200, 100_000, 1000)
    assert log.changed == {assemble.SHORT_TEXT: 1, assemble.SHORT_NAME: 1, assemble.SHORT_TOPIC: 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  hi \n", "hi"),
        ("a\r\nb\x07c", "a\nbc"),
        ("cafe\u0301", "café"),
        ("half \ud83d a pair", "half  a pair"),
        ("\u200e\u3164", None),
        ("", None),
    ],
)
def test_clean_text(text, expected):
    log = Log()
    assert [message.text for message in cleaned([Message("c", "A", text)], log)] == (
        [] if expected is None else [expected]
    )
    assert sum(log.left_out.values()) == (expected is None)


def test_runs_are_merged_up_to_the_limit_of_a_text():
    log = Log()
    (found,) = threads(talk("A", "A", "B", "A"), merge=True, gap=0, log=log)
    assert [message.text for message in found.messages] == ["text 0\ntext 1", "text 2", "text 3"]
    half = "x" * (limits.MAX_TEXT_CHARS // 2)
    (found,) = threads(talk("A", "A", "B", text=half), merge=True, gap=0, log=log)
    assert len(found.messages) == 3


def test_very_long_conversations_are_divided(monkeypatch):
    monkeypatch.setattr(assemble, "MAX_CHARS", 40)
    log = Log()
    parts = list(threads(talk(*"ABABABABAB"), merge=False, gap=0, log=log))
    assert sum(len(part.messages) for part in parts) == 10
    assert log.changed[assemble.DIVIDED] == len(parts) - 1 > 0


def test_a_silence_divides_only_if_it_is_longer_than_the_gap():
    times = [0.0, 10.0, 20.0, 31.0, None, 41.0]
    messages = [Message("c", "AB"[i % 2], f"{i}", time) for i, time in enumerate(times)]
    parts = [len(part.messages) for part in threads(messages, merge=False, gap=10, log=Log())]
    assert parts == [3, 3]


def falls_less_rises(rows, name):
    times = [time for each, time in rows if each == name and time is not None]
    return sum((b < a) - (b > a) for a, b in pairwise(times))


def is_newest_first(rows, name):
    own = falls_less_rises(rows, name)
    every = [falls_less_rises(rows, each) for each in {each for each, _ in rows}]
    most = sum(falls > 0 for falls in every) > sum(falls < 0 for falls in every)
    return own > 0 or (own == 0 and (name, None) not in rows and most)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5) | st.none()), max_size=30))
def test_sorting_equals_a_sort_in_memory(rows):
    messages = [Message(name, "A", str(i), time) for i, (name, time) in enumerate(rows)]
    first = {name: rows.index(next(row for row in rows if row[0] == name)) for name, _ in rows}
    untimed = {name for name, time in rows if time is None}
    newest_first = {name for name in first if is_newest_first(rows, name)}
    expected = sorted(
        messages,
        key=lambda m: (
            first[m.conversation],
            0 if m.conversation in untimed else m.time,
            int(m.text) * (-1 if m.conversation in newest_first else 1),
        ),
    )
    log = Log()
    assert [message.text for message in grouped_by_conversation(messages, log)] == [
        message.text for message in expected
    ]
    counted = [name for name in untimed if sum(name == other for other, _ in rows) > 1]
    assert log.changed[BY_FILE] == (len(counted) if any(time is not None for _, time in rows) else 0)


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ("c<b b<a a", "a b c"),  # backwards, as in movie-corpus
        ("a b<a c<a d<b", "a b c d"),  # parents first already
        ("y<x x b<a a", "x y a b"),
        ("b<a a<b c<gone d<d e<b", "c d b a e"),  # a cycle, unknown parents
        ("a a b<a", "a a b"),  # names that repeat
    ],
)
def test_without_times_a_message_follows_the_one_it_replies_to(links, expected):
    parts = [link.partition("<") for link in links.split()]
    messages = [Message("c", "A", name, id=name, reply_to=parent or None) for name, _, parent in parts]
    log = Log()
    assert [message.text for message in grouped_by_conversation(messages, log)] == expected.split()
    assert log.changed == {BY_REPLIES: 1, BY_FILE: 0}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9) | st.none()), max_size=20))
def test_the_order_of_replies_loses_nothing(links):
    order = reply_order([Link(str(name), None if parent is None else str(parent)) for name, parent in links])
    assert sorted(order) == list(range(len(links)))


def test_replies_to_one_message_in_a_table_with_the_newest_first_come_from_its_end():
    rows = [("3", 9.0, "0"), ("2", 5.0, "0"), ("1", 5.0, "0"), ("0", 5.0, None)]
    messages = [Message("c", "A", name, time, id=name, reply_to=parent) for name, time, parent in rows]
    assert [message.text for message in grouped_by_conversation(messages, Log())] == ["0", "1", "2", "3"]


def test_equal_times_are_ordered_by_replies():
    messages = [
        Message("c", "B", "two", 5.0, id="2", reply_to="1"),
        Message("c", "A", "one", 5.0, id="1"),
        Message("c", "C", "zero", 4.0, id="0"),
    ]
    log = Log()
    assert [message.text for message in grouped_by_conversation(messages, log)] == ["zero", "one", "two"]
    assert not +log.changed


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", None),
        (None, None),
        ("1704103200", 1704103200),
        (1704103200000, 1704103200),
        ("2024-01-01T10:00:00Z", 1704103200),
        ("2024-01-01 12:00+02:00", 1704103200),
        ("2024-01-01T10:00:00.0000000+00:00", 1704103200),
        ("2024-01-01 10:00:00 UTC", 1704103200),
        ("2024-01-01 12:00:00 +0200", 1704103200),
        ("Mon Jan 01 12:00:00 +0200 2024", 1704103200),
        ("Mon, 1 Jan 2024 10:00:00 +0000", 1704103200),
        ("Monday, January 1, 2024 at 10:00:00\u202fAM UTC", 1704103200),
        ("20240101", 1704067200),
        ("202401011000", 1704103200),
        ("20240101100000", 1704103200),
        (20240101100000.0, 1704103200),
        ("20241341", 20241341),  # no date
        ("20240101.5", 20240101.5),
        ("2024010110", 2024010110),  # ten digits are seconds
    ],
)
def test_times(value, expected):
    assert seconds(value) == expected


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["0", "1.5", "", "30", 45304.416, 20240101, "90000"], [0, 1.5, None, 30, 45304.416, 20240101, 90000]),
        ([-3.0, "1704103200"], [-3, 1704103200]),
        (["20240101", "20240102.0"], [1704067200, 1704153600]),
        (["12345678", "12345679.5"], [12345678.0, 12345679.5]),
        (["45000", "46500"], [45000.0, 46500.0]),
    ],
)
def test_small_numbers_count_from_any_beginning_if_a_column_begins_so(column, expected):
    log = Log()
    times = ColumnTimes(None, log)
    assert [times.seconds(value) for value in column] == expected
    is_small = column[0] != "20240101"
    assert log.notes == ([f"times such as {column[0]} are read as seconds from any beginning"] if is_small else [])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            ["45304.416"],
            r"the time '45304.416' \(it may be a spreadsheet's number of days\) is not ISO 8601.*--time-format",
        ),
        (["13012024"], "the time '13012024' is not ISO 8601"),
        (["20240101", "20240132"], "the time '20240132' is not ISO 8601"),
        (["2024-01-01", "5"], "the time '5' is not ISO 8601"),
    ],
)
def test_small_numbers_that_may_be_anything_are_refused(column, message):
    times = ColumnTimes(None, Log())
    with pytest.raises(ValueError, match=message):
        [times.seconds(value) for value in column]


def test_times_of_a_form():
    assert seconds("01.02.2024 10:00", "%d.%m.%Y %H:%M") == seconds("2024-02-01 10:00")
    with pytest.raises(ValueError, match=r"not of the form '%d\.%m\.%Y'"):
        seconds("noon", "%d.%m.%Y")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": {"b": [1, {"c": "x:y{"}]}, "d', {"a", "a.b", "a.b[].c"}),
        ('[{"a": "\\"q\\": 1", "b": 2}, {"e": 1', {"[].a", "[].b", "[].e"}),
        ('{"a": 1}\n{"b": 1}', {"a", "b"}),
        ("speaker,text", set()),
        ("[" * 1000, set()),
    ],
)
def test_keys_of_the_beginning_of_a_json_file(text, expected):
    assert json_paths(text) == expected
