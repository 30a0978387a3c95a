"""Pairs of a message and its answer in JSON, such as prompt and completion: one a line, or a list.

Open this if such a file is not recognised. Its keys are read as the columns of a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Final

from dialog_cvae.imports.column_names import find_pair
from dialog_cvae.imports.columns import chosen_columns
from dialog_cvae.imports.json_stream import records
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.source import File, Source
from dialog_cvae.imports.table_rows import TableRows
from dialog_cvae.imports.turns import PREFIXES

_SAMPLE: Final = 200  # records whose values help to choose the keys


def recognise(source: Source) -> bool:
    """Whether the records have the keys of a pair."""
    return _prefix(source.file) is not None


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of all records.

    Raises:
        DataError: the file is malformed, keys are missing, or a value is not text.
    """
    file = source.file
    found = records(file, options.encoding, PREFIXES[_prefix(file) or ""])
    first = list(islice(found, _SAMPLE))
    header = sorted({key for _, record in first for key in record})
    chosen = chosen_columns(file.name, header, options, log, lambda column: (record.get(column) for _, record in first))
    rows = ((place, [record.get(key) for key in header]) for place, record in chain(first, found))
    yield from TableRows(file.name, header, chosen, options, log).messages(rows)


def _prefix(file: File) -> str | None:
    """What comes before the keys of a pair in the paths of a file."""
    for prefix in PREFIXES:
        keys = {path.removeprefix(prefix).lower() for path in file.paths if path.startswith(prefix)}
        pair = find_pair(keys)
        if pair is not None and not any(path.startswith((f"{each}.", f"{each}[]")) for each in pair for path in keys):
            return prefix
    return None


FORMAT = Format("pairs", "pairs of a message and its answer in JSON", recognise, read, interleaved=True)
