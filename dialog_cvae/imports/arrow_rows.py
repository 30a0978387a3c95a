"""Rows of Parquet and Arrow files, by pyarrow, a batch at a time.

Open this to change how such rows are read. A row may hold a list of turns, as in chat-completion and ShareGPT data
sets; all other rows are read as a table with named columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any, Final, NamedTuple

from dialog_cvae import extras
from dialog_cvae.errors import DataError
from dialog_cvae.imports.column_names import NAMES, spelling
from dialog_cvae.imports.columns import check_unique, chosen_columns
from dialog_cvae.imports.message import Log, Message, Options
from dialog_cvae.imports.row_transcripts import is_read, read_rows, transcript_column
from dialog_cvae.imports.source import File
from dialog_cvae.imports.table_rows import TableRows
from dialog_cvae.imports.turns import CHAT, FIELDS, NAMED, SHAREGPT, find_keys, messages_of

_ROWS: Final = 4096  # rows of a batch
_SAMPLE: Final = 200  # rows whose values help to choose the columns


class Table(NamedTuple):
    """An open table: pyarrow's schema, and its record batches with some of the columns."""

    schema: Any
    batches: Callable[[Sequence[str]], Iterator[Any]]


Opener = Callable[[File], AbstractContextManager[Table]]


@contextmanager
def parquet_table(file: File) -> Iterator[Table]:
    """A Parquet file.

    Raises:
        DataError: here or while it is read: pyarrow is missing, or the file is damaged.
    """
    pa = _arrow(file)
    from pyarrow import parquet

    with file.opened() as raw, _whole(file, "Parquet", pa):
        table = parquet.ParquetFile(raw, pre_buffer=False)
        yield Table(
            table.schema_arrow,
            lambda names: table.iter_batches(_ROWS, columns=list(names), use_threads=False),
        )


@contextmanager
def arrow_table(file: File) -> Iterator[Table]:
    """An Arrow file, as a stream or with a table of contents.

    Raises:
        DataError: here or while it is read: pyarrow is missing, or the file is damaged.
    """
    pa = _arrow(file)

    with file.opened() as raw, _whole(file, "Arrow", pa):
        is_stream = not file.head.startswith(b"ARROW1")
        reader = pa.ipc.open_stream(raw) if is_stream else pa.ipc.open_file(raw)

        def batches(names: Sequence[str]) -> Iterator[Any]:
            found = reader if is_stream else (reader.get_batch(i) for i in range(reader.num_record_batches))
            for batch in found:
                for begin in range(0, batch.num_rows, _ROWS):
                    yield batch.select(list(names)).slice(begin, _ROWS)

        yield Table(reader.schema, batches)


def messages_of_tables(
    files: Iterable[tuple[str, File]], opener: Opener, options: Options, log: Log
) -> Iterator[Message]:
    """The messages of the parts of one table.

    Args:
        files: each with its split; a conversation stays within its split, because each split may number ids from 0.
        opener: opens a file.
        options: how the columns are read.
        log: receives notes and counts.

    Raises:
        DataError: pyarrow is missing, a file is damaged, or its columns do not hold text.
    """
    for number, (split, file) in enumerate(files):
        noted = log if number == 0 else Log()  # the choice of columns is reported once
        with opener(file) as table:
            for message in _messages(file, table, opener, options, noted, number):
                yield message._replace(conversation=f"{split}\0{message.conversation}")
        if noted is not log:
            log.left_out.update(noted.left_out)
            log.changed.update(noted.changed)


def _messages(file: File, table: Table, opener: Opener, options: Options, log: Log, part: int) -> Iterator[Message]:
    import pyarrow as pa

    names = table.schema.names
    # Lists of turns.
    paths = _turn_paths(table.schema)
    keys = find_keys((*CHAT, *SHAREGPT, *NAMED), paths.__contains__)
    if keys is not None and not options.columns:
        wanted = [name for name in (keys.turns, *FIELDS) if name in names]
        check_unique(file.name, names, wanted)
        log.notes.append(f"each row is a conversation, with its turns in {keys.turns!r}")
        for number, row in enumerate(_rows(file, table, wanted, pa), 1):
            try:
                yield from messages_of(dict(zip(wanted, row, strict=True)), keys, f"{part}.{number}", log)
            except ValueError as error:
                raise DataError(file.name, f"row {number}: {error}") from None
        return
    # A message in each row.
    ids = {*NAMES["id"], *NAMES["reply_to"]}
    header = [name for name in names if spelling(name) not in ids or not _is_nested(table.schema, name)]

    def values(column: str) -> Iterable[object]:
        return _first_values(file, opener, column, pa)

    if (column := transcript_column(file.name, header, options, values)) is not None:
        wanted = [name for name in header if name in (column, *options.columns.values()) or is_read(name)]
        yield from read_rows(wanted, column, options, log, _rows(file, table, wanted, pa), _SAMPLE, part)
        return
    chosen = chosen_columns(file.name, header, options, log, values)
    for what, name in list(chosen.items()):
        if _is_nested(table.schema, name) and what not in NAMES:
            del chosen[what]
        elif _is_nested(table.schema, name):
            kind = table.schema.field(name).type
            raise DataError(file.name, f"column {name!r} ({what}) holds {kind}, not one value in each row")
    wanted = list(dict.fromkeys(chosen.values()))
    rows = ((f"row {number}", row) for number, row in enumerate(_rows(file, table, wanted, pa), 1))
    yield from TableRows(file.name, wanted, chosen, options, log, part).messages(rows)


def _is_nested(schema: Any, name: str) -> bool:
    from pyarrow import types

    return bool(types.is_nested(schema.types[schema.names.index(name)]))


def _first_values(file: File, opener: Opener, column: str, pa: Any) -> list[object]:
    """The first values of a column; the file is opened again, because a stream is read only once."""
    with opener(file) as table:
        return [value for (value,) in islice(_rows(file, table, [column], pa), _SAMPLE)]


def _rows(file: File, table: Table, names: Sequence[str], pa: Any) -> Iterator[tuple[Any, ...]]:
    """The rows of some columns; times have at most microseconds, as Python has.

    Raises:
        DataError: Python cannot represent a value.
    """
    above = 0
    for batch in table.batches(names):
        columns = []
        for name in names:
            column = batch.column(batch.schema.get_field_index(name))
            if pa.types.is_timestamp(column.type):
                column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
            try:
                columns.append(column.to_pylist())
            except (UnicodeDecodeError, OverflowError, ValueError):
                raise _unreadable(file, name, column, above) from None
        above += batch.num_rows
        yield from zip(*columns, strict=True)


def _unreadable(file: File, name: str, column: Any, above: int) -> DataError:
    """The error for the first value of a column, after `above` rows, that Python cannot represent."""
    for row, value in enumerate(column, above + 1):
        try:
            value.as_py()
        except UnicodeDecodeError:
            return DataError(file.name, f"row {row}: column {name!r} is not UTF-8")
        except (OverflowError, ValueError) as error:
            return DataError(file.name, f"row {row}: column {name!r} cannot be read ({error})")
    return DataError(file.name, f"column {name!r} cannot be read")


def _turn_paths(schema: Any) -> set[str]:
    """Paths of the fields of all columns that hold lists of objects, such as "messages[].role"."""
    from pyarrow import types

    found = set()
    for name, kind in zip(schema.names, schema.types, strict=True):
        if (types.is_list(kind) or types.is_large_list(kind)) and types.is_struct(kind.value_type):
            fields = (kind.value_type.field(place) for place in range(kind.value_type.num_fields))
            found |= {f"{name}[].{field.name}" for field in fields}
    return found


@contextmanager
def _whole(file: File, kind: str, pa: Any) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(file.name, f"not a whole {kind} file ({first})") from None


def _arrow(file: File) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ModuleNotFoundError:
        raise DataError(file.name, extras.explanation("import", ["pyarrow"])) from None
    return pyarrow
