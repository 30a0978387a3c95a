"""The meaning of a table's columns: given by the user, or guessed from their names.

Open this to add a common name of a column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.message import HOUR, Log, Message, Options
from dialog_cvae.imports.times import ColumnTimes

# Names of columns in lower case, the surest first.
NAMES: Final[Mapping[str, Sequence[str]]] = {
    "conversation": (
        *("conversation", "conversation_id", "conversationid", "conv", "conv_id", "dialog", "dialogue", "dialog_id"),
        *("dialogue_id", "dialogueid", "dialogid", "thread", "thread_id", "session", "session_id", "chat_id", "chat"),
        *("ticket_id", "ticket", "case_id", "call_id", "room", "channel"),
    ),
    "speaker": (
        *("speaker", "speaker_name", "author", "sender", "sender_name", "from", "username", "user_name", "user"),
        *("role", "participant", "agent", "name", "speaker_id", "author_id", "sender_id", "user_id", "from_id"),
    ),
    "text": ("text", "message", "utterance", "body", "content", "msg", "message_text", "message_body", "line"),
    "time": ("time", "timestamp", "datetime", "date_time", "date", "created_at", "sent_at", "created", "sent", "ts"),
    "topic": ("topic", "subject", "category", "title", "theme"),
}
REQUIRED: Final = ("speaker", "text")
UNNAMED: Final = "messages without the name of a conversation, read as one conversation"
DEFAULT_GAP: Final = 6 * HOUR  # used if no column says which conversation a row belongs to


def chosen_columns(name: str, header: Sequence[str], options: Options, log: Log) -> dict[str, str]:
    """The chosen column for each kind of content; the choice is noted.

    Args:
        name: name of the file, for messages.
        header: names of the columns.
        options: `columns` take precedence over names.
        log: receives the choice.

    Raises:
        DataError: a column that the user named, or a required one, is missing, or a chosen name is not unique.
    """
    listed = ", ".join(header[:30]) + (", ..." if len(header) > 30 else "")
    chosen: dict[str, str] = {}
    for what, column in options.columns.items():
        if column not in header:
            near = get_close_matches(column, header, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise DataError(name, f"has no column {column!r}{hint or '.'} Its columns are: {listed}")
        chosen[what] = column
    # Guesses.
    spelt = {re.sub(r"\W+", "_", column.strip().lower()).strip("_"): column for column in reversed(header)}
    guessed = []
    for what, known in NAMES.items():
        found = next((spelt[each] for each in known if each in spelt and spelt[each] not in chosen.values()), None)
        if what not in chosen and found is not None:
            chosen[what] = found
            guessed.append(what)
    if missing := [what for what in REQUIRED if what not in chosen]:
        raise DataError(
            name,
            f"no column looks like the {missing[0]}: name it, as in --column {missing[0]}=NAME. "
            f"Its columns are: {listed}",
        )
    check_unique(name, header, chosen.values())
    pairs = ", ".join(f"{what}={chosen[what]}" for what in NAMES if what in chosen)
    said = f" ({', '.join(guessed)} by name; --column changes a choice)" if guessed else ""
    log.notes.append(f"columns: {pairs}{said}")
    if "conversation" not in chosen:
        log.gap = DEFAULT_GAP if "time" in chosen else 0.0
        split = "a silence begins a new one" if "time" in chosen else "the whole table is one"
        log.notes.append(f"no column says which conversation a row belongs to: {split}")
    order = "of their times, if all have one" if "time" in chosen else "of the table"
    log.notes.append(f"messages of a conversation need not be together, and are in the order {order}")
    return chosen


def check_unique(name: str, header: Sequence[str], chosen: Iterable[str]) -> None:
    """Refuse a chosen column whose name other columns have too.

    Raises:
        DataError: there is one; the message names the file.
    """
    for column in chosen:
        if (count := header.count(column)) > 1:
            raise DataError(name, f"has {count} columns {column!r}: give them different names")


def reader_of_rows(
    name: str, header: Sequence[str], chosen: Mapping[str, str], options: Options, log: Log
) -> Callable[[Sequence[Any], str], Message]:
    """A function from a row and its place, such as "line 3", to a message; call it for the rows in order.

    The function raises DataError if a field is not text or a time.
    """
    place = {what: header.index(column) for what, column in chosen.items()}
    speaker_at, text_at = place["speaker"], place["text"]
    conversation_at, time_at, topic_at = (place.get(what) for what in ("conversation", "time", "topic"))
    times = ColumnTimes(options.time_format, log)

    def message(row: Sequence[Any], where: str) -> Message:
        try:
            found = Message(
                "" if conversation_at is None else _field(row[conversation_at]),
                _field(row[speaker_at]),
                _field(row[text_at]),
                None if time_at is None else times.seconds(row[time_at]),
                None if topic_at is None else _field(row[topic_at]) or None,
            )
        except ValueError as error:
            raise DataError(name, f"{where}: {error}") from None
        is_unnamed = conversation_at is not None and not found.conversation
        log.changed[UNNAMED] += is_unnamed and bool(found.text.strip())
        return found

    return message


def _field(value: object) -> str:
    """The text of a field.

    Raises:
        ValueError: it holds a list or an object.
    """
    if value is None:
        return ""
    if isinstance(value, list | dict | tuple | bytes):
        raise ValueError(f"a field holds {'bytes' if isinstance(value, bytes) else 'a list or an object'}, not text")
    return value if isinstance(value, str) else str(value)
