"""The files of readers: what a page or a spreadsheet may have done to them, and what is refused."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from dialog_cvae.errors import ConfigError, DataError
from eval.blind.ratings import read_ratings
from eval.blind.sheet_files import QUESTIONS, csv_bytes


@pytest.fixture
def answers(key) -> dict[str, list[str]]:
    """An answer to each question about each reply; some are empty."""
    rng = np.random.default_rng(0)
    return {one: [str(value) for value in rng.choice(["0", "1", ""], 3)] for one in key.texts}


@pytest.fixture
def expected(answers) -> np.ndarray:
    return np.array([[float(cell or "nan") for cell in row] for row in answers.values()])


@pytest.fixture
def filled(made, answers) -> list[list[str]]:
    """The rows of the table with the answers."""
    table = list(csv.reader(io.StringIO(csv_bytes(made[0]).decode("utf-8-sig"), newline="")))
    return [[*row[:-3], *answers[row[0]]] if row and row[0] in answers else row for row in table]


def short(answers: dict[str, list[str]]) -> str:
    """The file of the page."""
    lines = [",".join(["id", *QUESTIONS]), *(",".join([one, *row]) for one, row in answers.items())]
    return "\r\n".join([*lines, ""])


def as_csv(rows: list[list[str]], separator: str = ",", end: str = "\r\n", quoting: int = csv.QUOTE_MINIMAL) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=separator, lineterminator=end, quoting=quoting).writerows(rows)
    return buffer.getvalue()


def written(tmp_path: Path, content: str, encoding: str = "utf-8", name: str = "ann.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode(encoding, errors="replace"))
    return path


def test_the_file_of_the_page_is_read(key, tmp_path, answers, expected):
    found = read_ratings([written(tmp_path, short(answers))], key)
    assert found.readers == ("ann",)
    np.testing.assert_array_equal(found.values[0], expected)
    np.testing.assert_array_equal(found.missing, np.isnan(expected).sum(axis=0)[None])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(("end", "quoting"), [("\r\n", csv.QUOTE_MINIMAL), ("\n", csv.QUOTE_ALL)])
def test_what_spreadsheets_save_is_read(key, tmp_path, filled, expected, encoding, separator, end, quoting):
    path = written(tmp_path, as_csv(filled, separator, end, quoting), encoding)
    np.testing.assert_array_equal(read_ratings([path], key).values[0], expected)


def test_older_sheets_with_the_rules_above_the_header_are_read(key, tmp_path, filled, expected):
    rules = [["Read the conversation, then judge."], *([f"{name}: a rule, with a comma"] for name in QUESTIONS), []]
    path = written(tmp_path, as_csv([*rules, *filled]), "utf-8-sig")
    np.testing.assert_array_equal(read_ratings([path], key).values[0], expected)


def test_rows_may_be_sorted_and_columns_added_and_texts_changed(key, tmp_path, filled, expected):
    start = next(i for i, row in enumerate(filled) if row[:1] == ["id"])
    body = sorted(filled[start + 1 :], key=lambda row: row[3])
    rows = [
        ["my note", *filled[start], "x"],
        *(["", row[0], "t", "c", "r", *row[4:], "y"] for row in body),
        [],
        [""] * 9,
    ]
    rows[0] = ["note", "ID", *rows[0][2:]]
    rows[0][5] = " Fluent "
    np.testing.assert_array_equal(read_ratings([written(tmp_path, as_csv(rows))], key).values[0], expected)


def test_replies_that_are_not_in_the_file_are_missing(key, tmp_path, answers):
    first = dict(list(answers.items())[:2])
    found = read_ratings([written(tmp_path, short(first))], key)
    assert np.isnan(found.values[0, 2:]).all()
    assert (found.missing >= len(key.texts) - 2).all()


def other_sheet(key) -> str:
    digits = "000000" if key.sheet != "s000000" else "000001"
    return f"s{digits}-001-01"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda key, rows: rows[2].__setitem__(1, "2"), r"ann\.csv, row 3: fluent must be 0, 1 or empty, but is '2'"),
        (lambda key, rows: rows[2].__setitem__(3, "yes"), r"ann\.csv, row 3: specific must be .* but is 'yes'"),
        (lambda key, rows: rows[2].__setitem__(2, "1,0"), r"ann\.csv, row 3: fits must be .* but is '1,0'"),
        (lambda key, rows: rows[1].__setitem__(0, ""), r"ann\.csv, row 2: unknown id ''"),
        (lambda key, rows: rows[4].__setitem__(0, f"{key.sheet}-9-9"), r"ann\.csv, row 5: unknown id"),
        (lambda key, rows: rows[3].__setitem__(0, rows[1][0]), r"ann\.csv, row 4: duplicate id .*, which is in row 2"),
        (
            lambda key, rows: rows[1].__setitem__(0, other_sheet(key)),
            r"row 2: id s\S+ is of sheet s00000\d, but the key",
        ),
        (lambda key, rows: rows[0].__setitem__(1, "fluency"), r"ann\.csv: has no row with the column names id, fluent"),
        (lambda key, rows: rows[0].append("fits"), r"ann\.csv, row 1: duplicate column fits"),
    ],
)
def test_what_is_wrong_is_refused_with_file_and_row(key, tmp_path, answers, change, message):
    rows = list(csv.reader(io.StringIO(short({one: ["1", "0", "1"] for one in answers}), newline="")))
    change(key, rows)
    with pytest.raises(DataError, match=message):
        read_ratings([written(tmp_path, as_csv(rows))], key)


def test_a_row_is_counted_as_a_spreadsheet_counts_it(key, tmp_path, filled):
    """Cells with several lines are one row."""
    assert "\n" in filled[-1][2]
    filled[-1][-1] = "5"
    with pytest.raises(DataError, match=rf"ann\.csv, row {len(filled)}: specific"):
        read_ratings([written(tmp_path, as_csv(filled))], key)


@pytest.mark.parametrize("content", ["", "\0\0", "no table", '"open quote\nid,fluent,fits,specific'])
def test_other_files_are_refused(key, tmp_path, content):
    with pytest.raises(DataError, match=r"ann\.csv: has no row with the column names"):
        read_ratings([written(tmp_path, content)], key)


def test_a_broken_quote_is_refused_and_swallows_no_rows(key, tmp_path, answers):
    lines = short(answers).splitlines()
    lines[2] = f'"{lines[2]}'
    with pytest.raises(DataError, match=r"ann\.csv, row 3: is not a row of a table \("):
        read_ratings([written(tmp_path, "\n".join(lines))], key)


def test_missing_and_duplicate_files_are_refused(key, tmp_path, answers):
    path = written(tmp_path, short(answers))
    with pytest.raises(ConfigError, match=r"READER: duplicate file .*ann\.csv"):
        read_ratings([path, path], key)
    with pytest.raises(DataError, match=r"bo\.csv: cannot be read"):
        read_ratings([path, tmp_path / "bo.csv"], key)


def test_readers_are_named_by_their_files(key, tmp_path, answers):
    first, second = tmp_path / "1", tmp_path / "2"
    paths = []
    for folder in (first, second):
        folder.mkdir()
        paths.append(written(folder, short(answers)))
    assert read_ratings(paths, key).readers == tuple(map(str, paths))
