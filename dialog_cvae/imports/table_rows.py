"""Messages from the rows of a table, whose columns are chosen already.

Open this to change how a row is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.column_names import LINKS, SIDES, spelling
from dialog_cvae.imports.html_text import without_html
from dialog_cvae.imports.message import NOTES, SYSTEM, TURNS, Log, Message, Options
from dialog_cvae.imports.people import ME
from dialog_cvae.imports.private_notes import is_private, private_values
from dialog_cvae.imports.recipients import talk_of
from dialog_cvae.imports.reply_threads import link_name
from dialog_cvae.imports.times import ColumnTimes
from dialog_cvae.imports.turns import NOT_SPOKEN, role_name

UNNAMED: Final = "messages without the name of a conversation, read as one conversation"
USER: Final = "user"
ASSISTANT: Final = "assistant"
_SENT: Final = {"outgoing", "outbound", "sent"}
# Values of a column such as "is_from_me". In a column of message types, 1 means received.
_TRUE: Final = {"1", "true", "yes"}
_NOTICES: Final = {"notification", "system"}
_MOST_NAMELESS: Final = 0.2  # share of rows with text; if more have no speaker, the column is the wrong one


class TableRows:
    """Reads the rows of a table in order.

    Args:
        name: name of the file, for messages.
        header: names of the columns.
        chosen: the column for each kind of content.
        options: the form of times.
        log: receives notes and counts.
        part: number of the file in its data set.
    """

    def __init__(
        self, name: str, header: Sequence[str], chosen: Mapping[str, str], options: Options, log: Log, part: int = 0
    ) -> None:
        self._part = part
        self._name, self._chosen, self._log = name, chosen, log
        self._places = {what: header.index(column) for what, column in chosen.items()}
        self._times = ColumnTimes(options.time_format, log)
        self._sent = _TRUE if "from_me" in spelling(chosen.get("outgoing", "")) else _SENT
        self._private = private_values(header, chosen["private"]) if "private" in chosen else frozenset()
        self._sides = SIDES.get(spelling(chosen.get("speaker", "")))
        self._spoken = self._nameless = 0

    def messages(self, rows: Iterable[tuple[str, Sequence[Any]]]) -> Iterator[Message]:
        """The messages of all rows, each given with its place, such as "line 3".

        Raises:
            DataError: a field is not text or a time, or many rows lack a speaker.
        """
        is_pair = "response" in self._places
        for number, (where, row) in enumerate(rows, 1):
            try:
                found = self._pair(row, number) if is_pair else self._message(row)
            except ValueError as error:
                raise DataError(self._name, f"{where}: {error}") from None
            yield from found
        if self._nameless > _MOST_NAMELESS * self._spoken:
            raise DataError(
                self._name,
                f"{self._nameless:,} of {self._spoken:,} rows with text have no speaker in column "
                f"{self._chosen['speaker']!r}: name another column, as in --column speaker=NAME, or fill this one",
            )

    def _pair(self, row: Sequence[Any], number: int) -> Sequence[Message]:
        """The message in a row and the answer to it. Rows without the name of a conversation are one each.

        Raises:
            ValueError: a field is not text or a time.
        """
        texts = [self._field(row, what) for what in ("text", "more", "response")]
        name = f"{self._part}.{number}"
        conversation, text = self._field(row, "conversation"), "\n".join(each for each in texts[:2] if each.strip())
        asked = Message(conversation or f"{name}\0", USER, text, self._time(row), self._topic(row), row=name)
        return asked, asked._replace(speaker=ASSISTANT, text=texts[2])

    def _message(self, row: Sequence[Any]) -> Sequence[Message]:
        """The message of a row; none for a notice of the program that wrote the table, or a turn no one speaks.

        Raises:
            ValueError: a field is not text or a time.
        """
        speaker, text = self._speaker(row), self._field(row, "text")
        if self._private and is_private(self._field(row, "private"), self._private):
            self._log.left_out[NOTES] += 1
            if "reply_to" not in self._places:
                return ()
            text = ""  # it links others
        if "role" not in self._places:  # else texts may be about tags
            text = without_html(text, self._log)
        elif role_name(speaker) in NOT_SPOKEN:
            if "reply_to" not in self._places:
                self._log.left_out[TURNS] += 1
                return ()
            text = ""  # it links others, and is counted as invisible
        if text.strip():
            if not speaker.strip():
                kind = self._field(row, "outgoing").strip().lower()
                if kind in _NOTICES:
                    self._log.left_out[SYSTEM] += 1
                    return ()
                speaker = ME if kind in self._sent else ""
            self._spoken += 1
            self._nameless += not speaker
        is_divided = not self._places.keys().isdisjoint({"conversation", "recipient"})
        if "recipient" in self._places:
            conversation = talk_of(self._field(row, "sender"), self._field(row, "recipient"))
        else:
            conversation = self._field(row, "conversation")
        is_unnamed = is_divided and not conversation
        self._log.changed[UNNAMED] += is_unnamed and bool(text.strip())
        message = Message(conversation, speaker, text, self._time(row), self._topic(row))
        if "reply_to" in self._places:
            own, parent = (link_name(self._field(row, what)) for what in LINKS)
            message = message._replace(id=own, reply_to=parent)
        return (message,)

    def _speaker(self, row: Sequence[Any]) -> str:
        """The speaker of a row; where a column says only whether an agent wrote it, `agent` or `customer`.

        Raises:
            ValueError: it is not text.
        """
        found = self._field(row, "speaker")
        if self._sides is None or found.strip().lower() not in (*_TRUE, "false", "0", "no"):
            return found
        return self._sides[0 if found.strip().lower() in _TRUE else 1]

    def _time(self, row: Sequence[Any]) -> float | None:
        """The time of a row, whose day and clock may be in two columns; None if it is not known.

        Raises:
            ValueError: it is no time.
        """
        if "time" not in self._places:
            return None
        time = row[self._places["time"]]
        if "date" not in self._places:
            return self._times.seconds(time)
        parts = ["" if each is None else str(each).strip() for each in (row[self._places["date"]], time)]
        return self._times.seconds(" ".join(parts)) if all(parts) else None

    def _topic(self, row: Sequence[Any]) -> str | None:
        return self._field(row, "topic") or None

    def _field(self, row: Sequence[Any], what: str) -> str:
        """The text of a field; empty without such a column.

        Raises:
            ValueError: it holds a list or an object.
        """
        value = row[self._places[what]] if what in self._places else None
        if value is None:
            return ""
        if isinstance(value, list | dict | tuple | bytes):
            held = "bytes" if isinstance(value, bytes) else "a list or an object"
            raise ValueError(f"a field holds {held}, not text")
        return value if isinstance(value, str) else str(value)
