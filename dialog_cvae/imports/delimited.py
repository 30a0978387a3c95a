"""Tables as text: CSV, with commas or semicolons, and TSV. The first line names the columns.

Open this if a table is not recognised or is read wrongly.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from dialog_cvae.errors import DataError
from dialog_cvae.imports.column_names import NAMES, REQUIRED, find_pair, spelling
from dialog_cvae.imports.message import Format, Log, Message, Options
from dialog_cvae.imports.source import MAX_LINE, File, Source
from dialog_cvae.imports.tables import messages_of_table

_SEPARATORS: Final = (",", "\t", ";", "|")
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
    if first.lstrip("\ufeff ").startswith(("[[", '["')):  # JSON
        return False
    return has_known_columns(source.file)


def has_known_columns(file: File) -> bool:
    """Whether the first line names a speaker and a text, or a message and its answer."""
    separator, first = _beginning(file)
    names = {spelling(name.strip(' "')) for name in first.split(separator)}
    return all(names & set(NAMES[what]) for what in REQUIRED) or find_pair(names) is not None


def rows(source: Source, options: Options, log: Log) -> Iterator[tuple[int, list[str]]]:
    """The rows with the line at which each ends, the names of the columns first; blank lines are left out.

    A table with tabs is read twice, because many programs write tabs without quoting; a note says if one did, or may
    have.

    Raises:
        DataError: a row has more or fewer fields than the first, or a quote is not closed.
    """
    file = source.file
    csv.field_size_limit(MAX_LINE)
    separator, header = _beginning(file)
    skipped = int(_named_separator(file) is not None)
    mark = _quoting(file, options, skipped, log) if separator == "\t" and '"' not in header else '"'
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
                reason = f"has {len(row)} fields, but the first line {width}"
                raise DataError(file.name, reason, skipped + table.line_num)
            yield skipped + table.line_num, row
    except csv.Error as error:
        reason = "a quoted field is not closed" if "unexpected end" in str(error) else str(error)
        where = f" in the row that begins in line {skipped + begin}" if begin < table.line_num else ""
        raise DataError(file.name, f"not a table: {reason}{where}", skipped + table.line_num) from None


def _lines(file: File, options: Options, skipped: int) -> Iterator[str]:
    return islice(file.lines(options.encoding), skipped, None)


def _quoting(file: File, options: Options, skipped: int, log: Log) -> str | None:
    """The mark that quotes fields of a table with tabs; None if the marks are text. Notes what is not sure."""
    line, is_text = _mark_in_text(_lines(file, options, skipped))
    if is_text:
        log.notes.append(f"quotation marks are read as text, because of line {skipped + line}")
    elif line:
        log.notes.append(
            "quotation marks are read as quoting: check whether the field that begins in line "
            f"{skipped + line} holds several rows"
        )
    return None if is_text else '"'


def _mark_in_text(lines: Iterable[str]) -> tuple[int, bool]:
    """The line of a table with tabs whose quotation mark seems to be text (0: none), and whether all marks are text.

    A quoted field with line ends divides the tabs of its row among its first and last line. If both have as many as
    the first line of the table, the mark may be text that begins a field, as it also may if a line is wrongly quoted.
    They are text if all lines have as many; if no line is wrongly quoted, also no field with line ends may have doubled
    marks, as quoting requires.
    """
    taken: list[tuple[int, int]] = []  # number and tabs of the first and the last line of a row
    widths: dict[int, None] = {}  # numbers of tabs, that of the first line first

    def noted() -> Iterator[str]:
        for number, line in enumerate(lines, 1):
            if line.strip("\r\n"):
                taken[1:] = [(number, line.count("\t"))]
                widths[taken[-1][1]] = None
            yield line

    read_lines, sign, is_doubled = noted(), 0, False
    try:
        for row in csv.reader(read_lines, delimiter="\t", strict=True):
            is_doubled = is_doubled or any('"' in field and "\n" in field for field in row)
            if not sign and len(taken) > 1 and {tabs for _, tabs in taken} == {next(iter(widths))}:
                sign = taken[0][0]
            taken.clear()
    except csv.Error:
        is_doubled = False
        sign = sign or (taken[0][0] if taken else 0)
        for _ in read_lines:  # to see all lines
            pass
    return sign, sign > 0 and len(widths) == 1 and not is_doubled


def read(source: Source, options: Options, log: Log) -> Iterator[Message]:
    """The messages of a table.

    Raises:
        DataError: a column is missing, or a row is malformed.
    """
    table = rows(source, options, log)
    _, header = next(table, (0, []))
    found = ((f"line {line}", row) for line, row in table)
    yield from messages_of_table(source.file.name, header, found, options, log)


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
