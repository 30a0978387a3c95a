"""Parquet: a table with named columns, or lists of turns.

Open this if a file is not recognised; `arrow_rows` reads its rows.
"""

from __future__ import annotations

from collections.abc import Iterator

from dialog_cvae.imports.arrow_rows import messages_of_tables, parquet_table
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.source import Source


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a file.

    Raises:
        DataError: pyarrow is missing, the file is damaged, or its columns do not hold text.
    """
    return messages_of_tables([("", source.file)], parquet_table, options, log)


FORMAT = Format(
    "parquet", "a Parquet table", lambda source: source.file.head.startswith(b"PAR1"), read, interleaved=True
)
