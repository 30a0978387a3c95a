"""Groups messages by conversation in a temporary file, so that memory does not grow with their number.

Open this to change how the messages of a conversation are ordered.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Final

from dialog_cvae.errors import DialogCvaeError
from dialog_cvae.imports.message import Log, Message
from dialog_cvae.imports.reply_order import Link, reply_order
from dialog_cvae.imports.reply_threads import divide_by_replies

BY_REPLIES: Final = "conversations in the order of their replies, because a message has no time"
BY_FILE: Final = "conversations in the order of the file, because a message has no time"

_SETTINGS: Final = ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -65536")
_TABLES: Final = (
    "CREATE TABLE conversations (name TEXT UNIQUE, first INTEGER PRIMARY KEY, untimed INTEGER)",
    "CREATE TABLE said (number INTEGER PRIMARY KEY, conversation INTEGER, speaker TEXT, text TEXT, time REAL, "
    "topic TEXT, in_thread INTEGER, id TEXT, reply_to TEXT, row INTEGER, place INTEGER)",
    "CREATE TABLE newest_first (conversation INTEGER PRIMARY KEY)",
)
_ADD_NAME: Final = """
    INSERT INTO conversations VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET untimed = 1 WHERE excluded.untimed AND NOT untimed
"""
_FIND_NAME: Final = "SELECT first FROM conversations WHERE name = ?"
_ADD: Final = """
    INSERT INTO said (conversation, speaker, text, time, topic, in_thread, id, reply_to, row)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
# Conversations whose times fall more often than they rise in the order of the file. One in which they do neither, or
# both equally often, is like most others, unless a time is missing.
_FIND_NEWEST_FIRST: Final = """
    INSERT INTO newest_first
    WITH steps AS (
        SELECT conversation, time - LAG(time) OVER (PARTITION BY conversation ORDER BY number) AS step
        FROM said WHERE time IS NOT NULL AND text <> ''
    ), counted AS (
        SELECT conversation, TOTAL(step < 0) - TOTAL(step > 0) AS falls FROM steps GROUP BY conversation
    )
    SELECT conversation FROM counted JOIN conversations ON first = conversation
    WHERE falls > 0 OR (falls = 0 AND NOT untimed AND (SELECT TOTAL(falls > 0) > TOTAL(falls < 0) FROM counted))
"""
# The order of the file, from its end if that is the oldest; messages of one row stay in their order.
_FILE_ORDER: Final = "CASE WHEN conversation IN newest_first THEN -row ELSE row END, number"
# Conversations with replies in which a time is missing or occurs twice.
_LINKED: Final = f"""
    SELECT conversation, number, time IS NULL AND text <> '', id, reply_to FROM said WHERE conversation IN (
        SELECT conversation FROM said GROUP BY conversation
        HAVING COUNT(DISTINCT time) < COUNT(*) AND COUNT(reply_to) > 0
    ) ORDER BY conversation, {_FILE_ORDER}
"""
_COUNT_BY_FILE: Final = """
    SELECT COUNT(*) FROM (
        SELECT 1 FROM said WHERE text <> '' GROUP BY conversation
        HAVING COUNT(time) < COUNT(*) AND COUNT(place) = 0 AND COUNT(*) > 1
    )
"""
# Conversations come in the order of their first messages. Times order a conversation only if every message has one.
_SORTED: Final = f"""
    SELECT name, speaker, text, time, topic, in_thread FROM said JOIN conversations ON first = conversation
    WHERE text <> '' ORDER BY conversation, CASE WHEN untimed THEN NULL ELSE time END, place, {_FILE_ORDER}
"""


def grouped_by_conversation(messages: Iterable[Message], log: Log) -> Iterator[Message]:
    """The same messages, grouped by conversation and sorted by time if all messages of the conversation have one.

    Messages with equal times, and conversations in which a time is missing, are ordered by their replies, if there are
    any, else in the given order, which is reversed where it is seen from other times that the newest message is first.
    Messages without text only link others and are left out.

    Args:
        messages: in any order.
        log: says whether replies decide which messages are together; counts conversations that are not sorted by time.

    Raises:
        DialogCvaeError: the temporary file cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="dialog-cvae-") as folder:
        try:
            with closing(sqlite3.connect(Path(folder) / "messages")) as database:
                yield from _sorted(database, messages, log)
        except sqlite3.Error as error:
            raise DialogCvaeError(f"{folder}: temporary file for sorting messages: {error}") from None


def _sorted(database: sqlite3.Connection, messages: Iterable[Message], log: Log) -> Iterator[Message]:
    for setting in _SETTINGS:
        database.execute(f"PRAGMA {setting}")
    for table in _TABLES:
        database.execute(table)
    names = database.cursor()
    has = {"time": False, "no time": False, "reply": False}

    def rows() -> Iterator[tuple[object, ...]]:
        row, last = 0, None
        for number, message in enumerate(messages):
            if message.row is None or message.row != last:
                row, last = number, message.row
            untimed = message.time is None and bool(message.text)
            has["no time" if untimed else "time"] = True
            has["reply"] = has["reply"] or message.reply_to is not None
            names.execute(_ADD_NAME, (message.conversation, number, untimed))
            (first,) = names.execute(_FIND_NAME, (message.conversation,)).fetchone()
            yield first, *message[1:5], message.in_thread, message.id, message.reply_to, row

    database.execute("BEGIN")
    database.executemany(_ADD, rows())
    if log.least_replies is not None and divide_by_replies(database, log.least_replies, log):
        log.gap = 0.0
    if has["time"]:
        database.execute(_FIND_NEWEST_FIRST)
    if has["reply"]:
        log.changed[BY_REPLIES] += _place_replies(database)
    if has["no time"] and (has["time"] or has["reply"]):
        log.changed[BY_FILE] += database.execute(_COUNT_BY_FILE).fetchone()[0]
    database.execute("COMMIT")
    for name, speaker, text, time, topic, in_thread in database.execute(_SORTED):
        yield Message(name, speaker, text, time, topic, in_thread=bool(in_thread))


def _place_replies(database: sqlite3.Connection) -> int:
    """Number the messages of conversations that times do not order; returns in how many of these a time is missing."""
    count = 0
    for _, group in groupby(database.execute(_LINKED), key=lambda row: row[0]):
        said = list(group)
        order = reply_order([Link(name, parent) for *_, name, parent in said])
        database.executemany(
            "UPDATE said SET place = ? WHERE number = ?", ((place, said[index][1]) for place, index in enumerate(order))
        )
        count += any(untimed for _, _, untimed, _, _ in said)
    return count
