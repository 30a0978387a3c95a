"""Shows the progress of a sweep: a live table on a terminal, otherwise a line for each event.

Open this to add a column. Everything is read from the cells' folders, so it works for cells on other machines too.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from dialog_cvae.errors import DialogCvaeError
from training.metrics_log import read_metrics
from training.state import load_progress
from training.sweep.cell_task import LOG_FILE, Ending
from training.sweep.cells import Cell, CellState
from training.time_left import duration

REFRESH_SECONDS = 1.0
PACE_RECORDS = 20  # recent records of metrics for measuring the speed
_AROUND = 6  # lines of the terminal around the table's rows
_ORDER = ("running", "stopping", "failed", "stopped", "waiting", "done")  # order of rows, if not all fit
_FIRST_STATE: Mapping[CellState, str] = {"new": "waiting", "started": "waiting", "finished": "done"}


class Moment(NamedTuple):
    """A step of a run, and the time when it was read."""

    seconds: float
    step: int


class Row:
    """The progress of one cell.

    Args:
        cell: the cell.
        folder: of its run.
        state: of the run before the sweep.
    """

    def __init__(self, cell: Cell, folder: Path, state: CellState) -> None:
        self.name, self.state = cell.name, _FIRST_STATE[state]
        self._folder, self._batch_size = folder, cell.config.train.batch_size
        self._log_size_before = self._log_size()
        self.step, self.total = 0, 0
        self.elbo: float | None = None
        self.kl: float | None = None
        self.reconstruction: float | None = None
        self.validated = 0  # step of the last validation
        self._pace: deque[Moment] = deque(maxlen=PACE_RECORDS)
        if state != "new":
            self.read(time.monotonic())
            self._pace.clear()
        self.step_before = self.step  # the step when the sweep began

    def read(self, now: float) -> None:
        """Read the folder; a file that is being replaced and cannot be read is read next time."""
        if self.state == "waiting" and self._log_size() > self._log_size_before:
            self.state = "running"
        try:
            records = read_metrics(self._folder)
            self.total = self.total or load_progress(self._folder).total_steps
        except (DialogCvaeError, OSError):
            return
        for record in records[-1:]:
            if record["step"] != self.step:
                self.step = record["step"]
                self._pace.append(Moment(now, self.step))
        for record in [record for record in records if record["kind"] == "valid"][-1:]:
            self.validated = record["step"]
            self.elbo, self.kl, self.reconstruction = (record.get(name) for name in ("elbo", "kl", "reconstruction"))

    def end(self, ending: Ending) -> None:
        """Record how the cell ended."""
        self.read(time.monotonic())
        self.state = ending.status

    @property
    def steps_per_second(self) -> float | None:
        """Recent speed, with the time for validation."""
        if self.state != "running" or len(self._pace) < 2:
            return None
        first, last = self._pace[0], self._pace[-1]
        return max(0, last.step - first.step) / (last.seconds - first.seconds)

    @property
    def examples_per_second(self) -> float | None:
        """Recent speed, with the time for validation."""
        speed = self.steps_per_second
        return None if speed is None else speed * self._batch_size

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the last step at the recent speed; the run may stop earlier."""
        speed = self.steps_per_second
        return (self.total - self.step) / speed if speed and self.total else None

    @property
    def validation(self) -> str:
        """The last validation's ELBO and KL, of an autoencoder its reconstruction; empty if they are not finite."""
        if self.elbo is not None and self.kl is not None:
            return f"ELBO {self.elbo:.3f}, KL {self.kl:.3f}"
        return "" if self.reconstruction is None else f"reconstruction {self.reconstruction:.3f}"

    def texts(self) -> tuple[str, ...]:
        """The row's values; see `COLUMNS`."""
        speed = self.examples_per_second
        return (
            self.name,
            self.state,
            f"{self.step}/{self.total}" if self.total else "",
            "" if self.elbo is None else f"{self.elbo:.2f}",
            "" if self.kl is None else f"{self.kl:.2f}",
            "" if speed is None else f"{speed:.0f}",
            _left(self.seconds_left),
        )

    def _log_size(self) -> int:
        log = self._folder / LOG_FILE
        return log.stat().st_size if log.exists() else 0


COLUMNS = ("cell", "state", "step", "valid ELBO", "valid KL", "examples/s", "left")


class LiveTable:
    """A context manager that shows a sweep while the context is open.

    Args:
        cells: all of them.
        out: folder of the sweep.
        states: of the cells before the sweep.
        stop: file that is created when the sweep must stop.
        console: for the output; default stdout.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        out: Path,
        states: Sequence[CellState],
        stop: Path,
        console: Console | None = None,
    ) -> None:
        self._rows = [Row(cell, out / cell.name, state) for cell, state in zip(cells, states, strict=True)]
        self._stop = stop
        self._console = console or Console(highlight=False)
        self._live: Live | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
        self._lock = threading.Lock()  # protects rows and console, because cells end in other threads
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()
        if self._live is not None:
            self._refresh(self._live)
            self._live.stop()

    def ended(self, index: int, ending: Ending) -> None:
        """Show how the cell with this index ended."""
        row = self._rows[index]
        with self._lock:
            row.end(ending)
            again = f", restarted {ending.restarts} times" if ending.restarts else ""
            why = f": {ending.reason}" if ending.reason else ""
            self._print(f"{row.name}: {ending.status} after step {row.step}{again}{why}")

    def table(self) -> Table:
        """The table, with as many rows as fit on the terminal; running cells come first."""
        room = max(3, self._console.height - _AROUND)
        rows = self._rows
        if len(rows) > room:
            rows = sorted(rows, key=lambda row: _ORDER.index(row.state))[:room]
        counts = Counter(row.state for row in self._rows)
        table = Table(
            box=box.SIMPLE, caption=", ".join(f"{counts[state]} {state}" for state in _ORDER if counts[state])
        )
        for name in COLUMNS:
            table.add_column(name, justify="left" if name in COLUMNS[:2] else "right", overflow="fold")
        for row in rows:
            table.add_row(*row.texts())
        return table

    def _watch(self) -> None:
        while not self._closed.wait(REFRESH_SECONDS):
            with self._lock:
                for row in self._rows:
                    if row.state in ("waiting", "running", "stopping"):
                        self._update(row)
            if self._live is not None:
                self._refresh(self._live)

    def _update(self, row: Row) -> None:
        state, validated = row.state, row.validated
        row.read(time.monotonic())
        if state == "waiting" and row.state == "running":
            self._print(f"{row.name}: {f'continues after step {row.step_before}' if row.step_before else 'started'}")
        if row.validated > validated and (found := row.validation):
            left = _left(row.seconds_left)
            self._print(
                f"{row.name}: step {row.validated}/{row.total}: valid {found}{f', {left} left' if left else ''}"
            )
        if row.state == "running" and self._stop.exists():
            row.state = "stopping"
            self._print(f"{row.name}: stopping")

    def _refresh(self, live: Live) -> None:
        with self._lock:
            live.update(self.table(), refresh=True)

    def _print(self, line: str) -> None:
        if self._live is None:
            self._console.print(line, markup=False, soft_wrap=True)


def _left(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)
