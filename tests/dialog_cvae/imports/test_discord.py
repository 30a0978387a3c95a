"""Discord channels in CSV: system messages are known by their words, and bots are not known at all."""

from __future__ import annotations

import csv
import io
import json

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.imports.discord import NO_BOTS
from dialog_cvae.imports.message import SYSTEM


def channel(*said: tuple[str, str]) -> str:
    text = io.StringIO()
    table = csv.writer(text, quoting=csv.QUOTE_ALL)
    table.writerow(["AuthorID", "Author", "Date", "Content", "Attachments", "Reactions"])
    for number, (name, content) in enumerate(said):
        table.writerow([name, name, f"2024-01-01T10:00:{number:02}.0000000+00:00", content, "", ""])
    return text.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        "Joined the server.",
        "Pinned a message.",
        "Started a call that lasted 5 minutes.",
        "Started a call that lasted 1,234 minutes.",
        "Added Cy Dee to the group.",
        "Added a recipient.",
        "Removed Cy from the group.",
        "Removed a recipient.",
        "Left the group.",
        "Changed the channel name: new name",
        "Changed the channel name.",
        "Changed the channel icon.",
        "Created the thread.",
        "Started a thread.",
        "A poll has closed.",
    ],
)
def test_system_messages_of_a_csv_are_left_out(put, imported, content):
    result = imported(put("channel.csv", channel(("ann", "hi"), ("bo", content), ("bo", "yo"))))
    assert result.said == [["ann: hi", "bo: yo"]]
    assert result.left_out == {SYSTEM: 1}


@pytest.mark.parametrize(
    "content",
    [
        "Joined the server. Hello!",
        "joined the server",
        "I pinned a message.",
        "Started a call that lasted hours.",
        "Left the group. Why?",
        "Changed the channel name: new\nand its icon",
    ],
)
def test_ordinary_sentences_of_a_csv_stay(put, imported, content):
    result = imported(put("channel.csv", channel(("ann", "hi"), ("bo", content))))
    assert result.said == [["ann: hi", f"bo: {content}"]]


def test_the_report_says_that_a_csv_does_not_name_bots(put, imported):
    path = put("channel.csv", channel(("ann", "hi"), ("bo", "yo")))
    assert imported(path).report.parts[0].log.notes == [NO_BOTS]
    assert imported(path, bots=True).report.parts[0].log.notes == []


def test_another_csv_read_as_a_channel_names_the_missing_column(put, imported):
    path = put("t.csv", "Author,Date,Content\nann,2024-01-01,hi\n")
    with pytest.raises(
        DataError, match=r"t\.csv: has no column 'AuthorID'; a CSV of a Discord channel has AuthorID, A"
    ):
        imported(path, format="discord-csv")


def test_a_channel_with_the_newest_message_first_is_sorted(put, imported):
    head, *rows = channel(("ann", "hi"), ("bo", "yo"), ("ann", "bye")).splitlines(keepends=True)
    messages = [
        {"type": "Default", "timestamp": f"2024-01-01T10:0{minute}:00+00:00", "content": text, "author": {"name": name}}
        for minute, name, text in ((2, "ann", "bye"), (1, "bo", "yo"), (0, "ann", "hi"))
    ]
    for path in (
        put("channel.csv", "".join([head, *reversed(rows)])),
        put("channel.json", json.dumps({"channel": {"id": "1"}, "messages": messages})),
    ):
        assert imported(path).said == [["ann: hi", "bo: yo", "ann: bye"]]
