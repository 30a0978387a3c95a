"""Conversations of a table without a column of conversations, found from which message replies to which.

Open this to change which messages are together. The table is that of `spill`.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable, Iterator
from typing import Final

from dialog_cvae.imports.message import Log

# In a table that is divided by replies, if the user did not name a column of them. Where fewer messages reply to
# another one, as in a chat, the others belong together too.
LEAST_REPLIES: Final = 1 / 2
# Of several messages with the same id, the first is the one that others reply to, as in `reply_order`.
# Each is looked up once: a join takes quadratic time where many rows share one id.
_PARENTS: Final = """
    SELECT number, text <> '', (
        SELECT parent.number FROM said AS parent
        WHERE parent.conversation = child.conversation AND parent.id = child.reply_to
        ORDER BY parent.number LIMIT 1
    ) FROM said AS child WHERE reply_to IS NOT NULL
"""


def link_name(value: object) -> str | None:
    """The name of a message in a table, limited to characters that a database can hold; None if there is none.

    A number may be written as a fraction, and Reddit puts the kind before the id of a comment in `parent_id` only.
    """
    name = "" if value is None else str(value).strip()
    name = name.removesuffix(".0") if name.removesuffix(".0").isdigit() else name
    return ascii(name.removeprefix("t1_")) if name else None


def count_replies(ids: Iterable[object], replies: Iterable[object]) -> int:
    """The number of rows that reply to another one, if a column holds the ids of messages.

    A row that replies to its own value does not count: it may be a comment on a post, beside the id of the post.
    """
    own = [link_name(value) for value in ids]
    known = set(own) - {None}
    parents = map(link_name, replies)
    return sum(parent in known and parent != each for each, parent in zip(own, parents, strict=True))


def divide_by_replies(database: sqlite3.Connection, least: float, log: Log) -> bool:
    """Make a conversation of each message and all that reply to it, directly or not; returns whether it is done.

    A message whose parent is unknown begins a conversation. Memory is 8 bytes a message.

    Args:
        database: that of `spill`.
        least: share of the messages with text that must reply to another one.
        log: receives a note if it is not done, because too few messages reply to another one.
    """
    database.execute("CREATE INDEX said_by_id ON said (conversation, id)")
    (count,) = database.execute("SELECT COUNT(*) FROM said").fetchone()
    above = array("q", range(count + 1))  # for each message an earlier one of its conversation, or itself
    replies = 0  # number of replies that have text
    for child, has_text, parent in database.execute(_PARENTS):
        if parent is not None and parent != child:
            replies += has_text
            first, second = sorted((_first(above, child), _first(above, parent)))
            above[second] = first
    (with_text,) = database.execute("SELECT COUNT(*) FROM said WHERE text <> ''").fetchone()
    if replies < least * with_text:
        log.notes.append(
            f"only {replies:,} of {with_text:,} rows with text reply to another row, so that {log.division} after all; "
            "--column reply_to=NAME divides by replies"
        )
        return False
    _write(database, above)
    return True


def _first(above: array[int], number: int) -> int:
    """The first message of a conversation; shortens the way to it."""
    while above[number] != number:
        above[number] = above[above[number]]
        number = above[number]
    return number


def _write(database: sqlite3.Connection, above: array[int]) -> None:
    """Put each message into the conversation of its first one, and name the conversation after that."""
    names = dict(database.execute("SELECT first, name FROM conversations"))

    def conversations() -> Iterator[tuple[str, int]]:
        for number, conversation, name in database.execute("SELECT number, conversation, id FROM said"):
            if above[number] == number:
                shown = "" if name is None else name[1:-1]  # without its quotes
                yield f"{names[conversation]}\0{number}\0{shown}", number

    database.execute("CREATE TABLE threads (name TEXT UNIQUE, first INTEGER PRIMARY KEY, untimed INTEGER)")
    database.executemany("INSERT INTO threads VALUES (?, ?, 0)", conversations())
    database.executemany(
        "UPDATE said SET conversation = ? WHERE number = ?",
        ((_first(above, number), number) for number in range(1, len(above))),
    )
    database.execute("DROP TABLE conversations")
    database.execute("ALTER TABLE threads RENAME TO conversations")
    database.execute(
        "UPDATE conversations SET untimed = 1 "
        "WHERE first IN (SELECT conversation FROM said WHERE time IS NULL AND text <> '')"
    )
