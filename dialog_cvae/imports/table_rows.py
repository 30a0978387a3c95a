"""Messages from the rows of a table, whose columns are chosen already.

Open this to change how a row is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.html_text import without_html
from dialog_cvae.imports.message import SYSTEM, Log, Message, Options
from dialog_cvae.imports.times import ColumnTimes

UNNAMED: Final = "messages without the name of a conversation, read as one conversation"
ME: Final = "Me"  # the speaker of outgoing messages that name none
_SENT: Final = {"outgoing", "outbound", "sent", "1", "true", "yes"}
_NOTICES: Final = {"notification", "system"}
_MOST_NAMELESS: Final = 0.2  # of the rows with text; if more have no speaker, the column is the wrong one


class TableRows:
    """Reads the rows of a table in order.

    Args:
        name: name of the file, for messages.
        header: names of the columns.
        chosen: the column for each kind of content.
        options: the form of times.
        log: receives notes and counts.
    """

    def __init__(self, name: str, header: Sequence[str], chosen: Mapping[str, str], options: Options, log: Log) -> None:
        self._name, self._chosen, self._log = name, chosen, log
        self._places = {what: header.index(column) for what, column in chosen.items()}
        self._times = ColumnTimes(options.time_format, log)
        self._spoken = self._nameless = 0

    def messages(self, rows: Iterable[tuple[str, Sequence[Any]]]) -> Iterator[Message]:
        """The messages of all rows, each given with its place, such as "line 3".

        Raises:
            DataError: a field is not text or a time, or many rows lack a speaker.
        """
        for where, row in rows:
            try:
                message = self._message(row)
            except ValueError as error:
                raise DataError(self._name, f"{where}: {error}") from None
            if message is not None:
                yield message
        if self._nameless > _MOST_NAMELESS * self._spoken:
            raise DataError(
                self._name,
                f"{self._nameless:,} of {self._spoken:,} rows with text have no speaker in column "
                f"{self._chosen['speaker']!r}: name another column, as in --column speaker=NAME, or fill this one",
            )

    def _message(self, row: Sequence[Any]) -> Message | None:
        """The message of a row; None for a notice of the program that wrote the table.

        Raises:
            ValueError: a field is not text or a time.
        """
        speaker, text = self._field(row, "speaker"), without_html(self._field(row, "text"), self._log)
        if text.strip():
            if not speaker.strip():
                kind = self._field(row, "outgoing").strip().lower()
                if kind in _NOTICES:
                    self._log.left_out[SYSTEM] += 1
                    return None
                speaker = ME if kind in _SENT else ""
            self._spoken += 1
            self._nameless += not speaker
        time = self._times.seconds(row[self._places["time"]]) if "time" in self._places else None
        conversation = self._field(row, "conversation")
        is_unnamed = "conversation" in self._places and not conversation
        self._log.changed[UNNAMED] += is_unnamed and bool(text.strip())
        return Message(conversation, speaker, text, time, self._field(row, "topic") or None)

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
