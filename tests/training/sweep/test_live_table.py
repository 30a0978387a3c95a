"""The live table of a sweep: rows, output with and without a terminal, durations."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

from rich.console import Console

from training.sweep.cell_task import LOG_FILE, Ending
from training.sweep.cells import Cell, grid
from training.sweep.live_table import LiveTable, Row


def test_rows_show_the_progress_in_the_folder(cell: Cell, whole_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / cell.name
    row = Row(cell, folder, "new")
    row.read(0.0)
    assert row.texts() == (cell.name, "waiting", "", "", "", "", "")
    shutil.copytree(whole_run, folder)
    lines = (whole_run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / LOG_FILE).write_text("$ python\n")
    for seconds, count in ((10.0, 2), (14.0, 6)):  # two steps; then five, of which the third was validated
        (folder / "metrics.jsonl").write_text("".join(lines[:count]) + '{"half')
        row.read(seconds)
    third = json.loads(lines[3])
    assert third["kind"] == "valid"
    speed = (5 - 2) / 4 * 7
    assert row.texts() == (
        cell.name, "running", "5/12", f"{third['elbo']:.2f}", f"{third['kl']:.2f}", f"{speed:.0f}", "9 s",
    )  # fmt: skip
    row.end(Ending("done"))
    assert row.texts()[1:3] == ("done", "5/12")


def test_a_terminal_shows_a_table_and_other_output_lines(cell: Cell, whole_run: Path, tmp_path: Path) -> None:
    shutil.copytree(whole_run, tmp_path / cell.name)
    shown = {}
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=100, height=20)
        with LiveTable([cell], tmp_path, ["started"], tmp_path / "stop", console) as table:
            table.ended(0, Ending("failed", "no [such] luck", 2))
        shown[terminal] = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown[False] == f"{cell.name}: failed after step 12, restarted 2 times: no [such] luck\n"
    for word in ("valid ELBO", "examples/s", cell.name, "12/12", "failed", "1 failed"):
        assert word in shown[True], word


def test_a_full_terminal_shows_active_cells_first(cell: Cell, corpus_file: Path, tmp_path: Path) -> None:
    cells = grid("paper", [], range(30), {"corpus": {"name": str(corpus_file)}})
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=15)
    table = LiveTable(cells, tmp_path, ["new"] * 30, tmp_path / "stop", console)
    table.ended(29, Ending("failed"))
    shown = table.table()
    assert shown.row_count == 9
    assert shown.caption == "1 failed, 29 waiting"
    assert next(iter(shown.columns[0].cells)) == "seed=29"
