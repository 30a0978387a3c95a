"""Tables as text: CSV, with commas or semicolons, and TSV. The first line names the columns.

Open this if a table is not recognised or is read wrongly.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
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


def rows(source: Source, options: Options, log: Log) -> Iterator[tuple[int, list[str]]]:
    """The rows with the line at which each ends, the names of the columns first; blank lines are left out.

    A table with tabs is read twice, because many programs write tabs without quoting; a note says if one did.

    Raises:
        DataError: a row has more or fewer fields than the first, or a quote is not closed.
    """
    file = source.file
    csv.field_size_limit(MAX_LINE)
    separator, header = _beginning(file)
    skipped = int(_named_separator(file) is not None)
    hint = ""
    if separator == "\t" and '"' not in header and (line := _mark_in_text(_lines(file, options, skipped))):
        hint = f"quotation marks are read as text, because of line {skipped + line}"
        log.notes.append(hint)
    mark = None if hint else '"'
    table = csv.reader(_lines(file, options, skipped), delimiter=separator, quotechar=mark, strict=True)
    width, begin = 0, 1
    try:
        for row in table:
            begin = table.line_num + 1
            if not row:
                continue
            if not width:
                row[0] = row[0].lstrip("\ufeff")
                width = len(row)
            elif len(row) != width:
                reason = f"has {len(row)} fields, but the first line {width}{f'; {hint}' if hint else ''}"
                raise DataError(file.name, reason, skipped + table.line_num)
            yield skipped + table.line_num, row
    except csv.Error as error:
        reason = "a quoted field is not closed" if "unexpected end" in str(error) else str(error)
        where = f" in the row that begins in line {skipped + begin}" if begin < table.line_num else ""
        raise DataError(file.name, f"not a table: {reason}{where}", skipped + table.line_num) from None


def _lines(file: File, options: Options, skipped: int) -> Iterator[str]:
    return islice(file.lines(options.encoding), skipped, None)


def _mark_in_text(lines: Iterable[str]) -> int:
    """The line of a table with tabs whose quotation mark is text, not quoting; 0 if there is none.

    Without quoting, all lines have as many tabs as the first. A quoted field with line ends divides them among its
    first and last line, so if both have all of them, the mark is text that begins a field. It also is if a line with
    all tabs is wrongly quoted.
    """
    taken: list[tuple[int, int]] = []  # number and tabs of the first and the last line of a row

    def noted() -> Iterator[str]:
        for number, line in enumerate(lines, 1):
            if line.strip("\r\n"):
                taken[1:] = [(number, line.count("\t"))]
            yield line

    table = csv.reader(noted(), delimiter="\t", strict=True)
    width, is_broken = 0, False
    while not is_broken:
        taken.clear()
        try:
            if next(table, None) is None:
                break
        except csv.Error:
            is_broken = True
        width = width or (taken[0][1] if taken else 0)
        if (is_broken or len(taken) > 1) and {tabs for _, tabs in taken} == {width}:
            return taken[0][0]
    return 0


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a table.

    Raises:
        DataError: a column is missing, or a row is malformed.
    """
    name = source.file.name
    table = rows(source, options, log)
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
