"""The files that readers return: from a page's or a spreadsheet's CSV to arrays.

Open it to change which files are accepted. A spreadsheet may save a table with commas, semicolons or tabs, in UTF-8,
UTF-16 or an encoding of Windows, sort its rows, and add columns. Only the columns of ids and answers are read.

Shape legend: R readers, I replies of the sheet, Q questions.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.errors import ConfigError, DataError
from eval.blind.sheet import Key
from eval.blind.sheet_files import QUESTIONS

Array = NDArray[np.float64]

ID = "id"
VALUES = {"0": 0.0, "1": 1.0, "": np.nan}
_SEPARATORS = (",", ";", "\t")
_BEFORE_HEADER = 30  # first rows to search for the header: older sheets have the rules above it
_ID = re.compile(r"(s[0-9a-f]{6})-\d+-\d+")


class Ratings(NamedTuple):
    """The answers of all readers.

    Attributes:
        readers: their names.
        values: (R, I, Q), 1 for yes, 0 for no, NaN where there is no answer.
    """

    readers: tuple[str, ...]
    values: Array

    @property
    def missing(self) -> NDArray[np.int64]:
        """How many replies lack an answer, by reader and question, (R, Q)."""
        counts: NDArray[np.int64] = np.isnan(self.values).sum(axis=1)
        return counts


def read_ratings(paths: Sequence[Path], key: Key) -> Ratings:
    """Read the files of all readers.

    Args:
        paths: one file for each reader, at least one.
        key: of the sheet.

    Raises:
        ConfigError: a file is given twice.
        DataError: a file is missing or malformed, or belongs to another sheet; the message names file and row.
    """
    resolved = [path.resolve() for path in paths]
    for index, path in enumerate(resolved):
        if path in resolved[:index]:
            raise ConfigError(f"READER: duplicate file {paths[index]}")
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):  # files of the same name in several folders
        names = [str(path) for path in paths]
    return Ratings(tuple(names), np.stack([_read(path, key) for path in paths]))


def _read(path: Path, key: Key) -> Array:
    """The answers of one reader, (I, Q)."""
    rows = {one: row for row, one in enumerate(key.texts)}
    values = np.full((len(rows), len(QUESTIONS)), np.nan)
    seen: dict[str, int] = {}
    for number, one, cells in _answers(path):
        match = _ID.fullmatch(one)
        if match and match[1] != key.sheet:
            raise _error(path, number, f"id {one} is of sheet {match[1]}, but the key is of sheet {key.sheet}")
        if one not in rows:
            raise _error(path, number, f"unknown id {one!r}")
        if one in seen:
            raise _error(path, number, f"duplicate id {one}, which is in row {seen[one]} too")
        seen[one] = number
        for column, (question, cell) in enumerate(zip(QUESTIONS, cells, strict=True)):
            if cell not in VALUES:
                raise _error(path, number, f"{question} must be 0, 1 or empty, but is {cell!r}")
            values[rows[one], column] = VALUES[cell]
    return values


def _answers(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Each reply's row number, as a spreadsheet counts rows, its id and its answers."""
    table, header = _table(path)
    names = [cell.strip().casefold() for cell in table[header]]
    id_column, columns = names.index(ID), [names.index(question) for question in QUESTIONS]
    for number, cells in enumerate(table[header + 1 :], start=header + 2):
        if not any(cell.strip() for cell in cells):
            continue
        padded = [cell.strip() for cell in cells] + [""] * (len(names) - len(cells))
        yield number, padded[id_column], [padded[column] for column in columns]


def _table(path: Path) -> tuple[list[list[str]], int]:
    """All rows of a file, and the index of the header among them."""
    text = _text(path)
    for separator in _SEPARATORS:
        table, broken = _rows(text, separator)
        for index, row in enumerate(table[:_BEFORE_HEADER]):
            names = [cell.strip().casefold() for cell in row]
            if {ID, *QUESTIONS} <= set(names):
                twice = [name for name in (ID, *QUESTIONS) if names.count(name) > 1]
                if twice:
                    raise _error(path, index + 1, f"duplicate column {twice[0]}")
                if broken:
                    raise _error(path, len(table) + 1, f"is not a row of a table ({broken})")
                return table, index
    raise DataError(path, f"has no row with the column names {', '.join((ID, *QUESTIONS))} among the first rows")


def _rows(text: str, separator: str) -> tuple[list[list[str]], str]:
    """The rows before the first broken one, for example with an open quote, and the error of that row."""
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True):
            rows.append(row)  # one by one, to keep the rows before an error
    except csv.Error as error:
        return rows, str(error)
    return rows, ""


def _text(path: Path) -> str:
    """The content of a file. Ids and answers are ASCII, so an unknown encoding does no harm."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _error(path: Path, row: int, reason: str) -> DataError:
    return DataError(f"{path}, row {row}", reason)
