"""Tables as text: CSV, with commas or semicolons, and TSV. The first line names the columns.

Open this if a table is not recognised or is read wrongly.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.columns import NAMES, REQUIRED, chosen_columns, find_pair, spelling
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.source import MAX_LINE, File, Source
from dialog_cvae.imports.table_rows import TableRows

_SEPARATORS: Final = (",", "\t", ";", "|")
_SAMPLE: Final = 200  # rows whose values help to choose the columns
SUFFIXES: Final = (".csv", ".tsv", ".tab")
_QUOTED: Final = re.compile(r'"[^"]*(?:"|$)')  # a quoted part of a line
_NAMED: Final = re.compile(r'"?sep=([,;|\t])"?[ \t]*\r?\n', re.IGNORECASE)


def recognise(source: Source) -> bool:
    """Whether the first line has two known names of columns, or the file has the name of a table."""
    head = source.file.head_text
    separator, first = _beginning(source.file)
    if source.file.paths or separator not in first or "\0" in head:
        return False
    if source.file.path.lower().endswith(SUFFIXES):
        return True
    names = {spelling(name.strip(' "')) for name in first.split(separator)}
    return all(names & set(NAMES[what]) for what in REQUIRED) or find_pair(names) is not None


def rows(source: Source, options: Options) -> Iterator[tuple[int, list[str]]]:
    """The rows with the line at which each ends, the names of the columns first; blank lines are left out.

    Raises:
        DataError: a row has more or fewer fields than the first, or a quote is not closed.
    """
    file = source.file
    csv.field_size_limit(MAX_LINE)
    lines = file.lines(options.encoding)
    skipped = int(_named_separator(file) is not None)
    for _ in range(skipped):
        next(lines, None)
    table = csv.reader(lines, delimiter=_beginning(file)[0], strict=True)
    width = 0
    try:
        for row in table:
            if not row:
                continue
            if not width:
                row[0] = row[0].lstrip("\ufeff")
                width = len(row)
            elif len(row) != width:
                raise DataError(
                    file.name, f"has {len(row)} fields, but the first line {width}", skipped + table.line_num
                )
            yield skipped + table.line_num, row
    except csv.Error as error:
        reason = "a quoted field is not closed" if "unexpected end" in str(error) else str(error)
        raise DataError(file.name, f"not a table: {reason}", skipped + table.line_num) from None


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a table.

    Raises:
        DataError: a column is missing, or a row is malformed.
    """
    name = source.file.name
    table = rows(source, options)
    _, header = next(table, (0, []))
    first = list(islice(table, _SAMPLE))
    chosen = chosen_columns(name, header, options, log, lambda column: (row[header.index(column)] for _, row in first))
    found = ((f"line {line}", row) for line, row in chain(first, table))
    yield from TableRows(name, header, chosen, options, log).messages(found)


def _beginning(file: File) -> tuple[str, str]:
    """The separator, and the line with the names of the columns."""
    lines = file.head_text.lstrip("\ufeff").splitlines()
    named = _named_separator(file)
    first = next(iter(lines[named is not None :]), "")
    if named is not None:
        return named, first
    unquoted = _QUOTED.sub("", first)
    shown = unquoted if any(sign in unquoted for sign in _SEPARATORS) else first
    return max(_SEPARATORS, key=shown.count), first


def _named_separator(file: File) -> str | None:
    """The separator in a line for Excel above the table, such as "sep=;"; None without such a line."""
    found = _NAMED.match(file.head_text.lstrip("\ufeff"))
    return found[1] if found else None


FORMAT = Format("csv", "a table as text (CSV or TSV)", recognise, read, interleaved=True)
