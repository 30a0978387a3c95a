"""Tables in any file: each row is a message, a message with its answer, or a whole conversation.

Open this to change what is decided from the first rows of a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final

from dialog_cvae.imports.columns import chosen_columns
from dialog_cvae.imports.message import Log, Message, Options
from dialog_cvae.imports.row_transcripts import read_rows, transcript_column
from dialog_cvae.imports.table_rows import TableRows

SAMPLE: Final = 200  # rows whose values help to choose the columns

Row = tuple[str, Sequence[Any]]  # its place in the file, such as "line 3", and its fields


def messages_of_table(
    name: str, header: Sequence[str], rows: Iterator[Row], options: Options, log: Log
) -> Iterator[Message]:
    """The messages of a table.

    Args:
        name: name of the file, for messages.
        header: names of the columns.
        rows: all rows.
        options: how columns and times are read.
        log: receives notes and counts.

    Raises:
        DataError: a column is missing, or a field is not text or a time.
    """
    first = list(islice(rows, SAMPLE))

    def values(column: str) -> Iterator[Any]:
        return (row[header.index(column)] for _, row in first)

    rows = chain(first, rows)
    if (column := transcript_column(name, header, options, values)) is not None:
        yield from read_rows(header, column, options, log, (row for _, row in rows), SAMPLE)
        return
    chosen = chosen_columns(name, header, options, log, values)
    yield from TableRows(name, header, chosen, options, log).messages(rows)
