"""Bring messages of many conversations together, in a temporary file: memory does not grow with their number."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from dialog_cvae.errors import DialogCvaeError
from dialog_cvae.imports.message import Message

_SETTINGS: Final = ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -65536")
# Conversations come in the order of their first messages. Times order a conversation only if every message has one.
_SORTED: Final = """
    SELECT name, speaker, text, time, topic FROM said JOIN conversations ON first = conversation
    ORDER BY conversation, {time} number
"""


def together(messages: Iterable[Message]) -> Iterator[Message]:
    """The same messages, those of a conversation together and in the order of their times, if they have them.

    Raises:
        DialogCvaeError: the temporary file cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="dialog-cvae-") as folder:
        try:
            with closing(sqlite3.connect(Path(folder) / "messages")) as database:
                yield from _sorted(database, messages)
        except sqlite3.Error as error:
            raise DialogCvaeError(f"{folder}: temporary file for sorting messages: {error}") from None


def _sorted(database: sqlite3.Connection, messages: Iterable[Message]) -> Iterator[Message]:
    for setting in _SETTINGS:
        database.execute(f"PRAGMA {setting}")
    database.execute("CREATE TABLE conversations (name TEXT UNIQUE, first INTEGER PRIMARY KEY)")
    database.execute(
        "CREATE TABLE said "
        "(number INTEGER PRIMARY KEY, conversation INTEGER, speaker TEXT, text TEXT, time REAL, topic TEXT)"
    )
    database.execute("BEGIN")
    add_name = "INSERT INTO conversations VALUES (?, ?) ON CONFLICT DO NOTHING"
    find_name = "SELECT first FROM conversations WHERE name = ?"
    timed = True

    def rows() -> Iterator[tuple[int, str, str, float | None, str | None]]:
        nonlocal timed
        for number, message in enumerate(messages):
            timed = timed and message.time is not None
            names.execute(add_name, (message.conversation, number))
            (first,) = names.execute(find_name, (message.conversation,)).fetchone()
            yield first, message.speaker, message.text, message.time, message.topic

    names = database.cursor()
    database.executemany("INSERT INTO said (conversation, speaker, text, time, topic) VALUES (?, ?, ?, ?, ?)", rows())
    database.execute("COMMIT")
    for row in database.execute(_SORTED.format(time="time," if timed else "")):
        yield Message(*row)
