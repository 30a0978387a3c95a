"""A sweep while it runs: one live table on a terminal, else a line for each event.

All that is shown is read from the cells' folders, so that it is the same wherever the cells run.
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
from training.sweep.cells import Cell, Standing

REFRESH_SECONDS = 1.0
PACE_RECORDS = 20  # recent records of metrics that the speed is measured over
_AROUND = 6  # lines of a terminal that the table's frame takes
_ORDER = ("running", "stopping", "failed", "stopped", "waiting", "done")  # where not all rows fit
_BEGUN: Mapping[Standing, str] = {"new": "waiting", "started": "waiting", "finished": "done"}


class Moment(NamedTuple):
    """When a run was seen at a step."""

    seconds: float
    step: int


class Row:
    """What is known of a cell.

    Args:
        cell: the cell.
        folder: of its run.
        standing: before the sweep.
    """

    def __init__(self, cell: Cell, folder: Path, standing: Standing) -> None:
        self.name, self.state = cell.name, _BEGUN[standing]
        self._folder, self._batch_size = folder, cell.config.train.batch_size
        self._said = self._log_size()
        self.step, self.total = 0, 0
        self.elbo: float | None = None
        self.kl: float | None = None
        self.validated = 0  # step of the last validation
        self._pace: deque[Moment] = deque(maxlen=PACE_RECORDS)
        if standing != "new":
            self.look(time.monotonic())
            self._pace.clear()
        self.before = self.step  # the sweep began

    def look(self, now: float) -> None:
        """Read the folder; what cannot be read, because it is being replaced, is read next time."""
        if self.state == "waiting" and self._log_size() > self._said:
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
            self.validated, self.elbo, self.kl = record["step"], record.get("elbo"), record.get("kl")

    def end(self, ending: Ending) -> None:
        """Take note of how it ended."""
        self.look(time.monotonic())
        self.state = ending.status

    @property
    def steps_per_second(self) -> float | None:
        """Recent speed, validations included."""
        if self.state != "running" or len(self._pace) < 2:
            return None
        first, last = self._pace[0], self._pace[-1]
        return max(0, last.step - first.step) / (last.seconds - first.seconds)

    @property
    def examples_per_second(self) -> float | None:
        """Recent speed, validations included."""
        speed = self.steps_per_second
        return None if speed is None else speed * self._batch_size

    @property
    def seconds_left(self) -> float | None:
        """Until its last step, at its recent speed; it may stop earlier."""
        speed = self.steps_per_second
        return (self.total - self.step) / speed if speed and self.total else None

    def texts(self) -> tuple[str, ...]:
        """Its cells of the table; see `COLUMNS`."""
        speed = self.examples_per_second
        return (
            self.name,
            self.state,
            f"{self.step}/{self.total}" if self.total else "",
            "" if self.elbo is None else f"{self.elbo:.2f}",
            "" if self.kl is None else f"{self.kl:.2f}",
            "" if speed is None else f"{speed:.0f}",
            duration(self.seconds_left),
        )

    def _log_size(self) -> int:
        log = self._folder / LOG_FILE
        return log.stat().st_size if log.exists() else 0


COLUMNS = ("cell", "state", "step", "valid ELBO", "valid KL", "examples/s", "left")


class LiveTable:
    """Shows a sweep from entering to leaving the context.

    Args:
        cells: all of them.
        out: folder of the sweep.
        standings: of the cells, before the sweep.
        stop: file that comes into being when the sweep is to stop.
        console: where to; default stdout.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        out: Path,
        standings: Sequence[Standing],
        stop: Path,
        console: Console | None = None,
    ) -> None:
        self._rows = [Row(cell, out / cell.name, standing) for cell, standing in zip(cells, standings, strict=True)]
        self._stop = stop
        self._console = console or Console(highlight=False)
        self._live: Live | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
        self._lock = threading.Lock()  # of rows and console: cells end in threads of their own
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._live is not None:
            self._refresh(self._live)
            self._live.stop()

    def ended(self, index: int, ending: Ending) -> None:
        """Tell how the cell of this index ended."""
        row = self._rows[index]
        with self._lock:
            row.end(ending)
            again = f", started again {ending.restarts} times" if ending.restarts else ""
            why = f": {ending.reason}" if ending.reason else ""
            self._say(f"{row.name}: {ending.status} after step {row.step}{again}{why}")

    def table(self) -> Table:
        """As many rows as the terminal has room for, those first in which something happens."""
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
        while not self._over.wait(REFRESH_SECONDS):
            with self._lock:
                for row in self._rows:
                    if row.state in ("waiting", "running", "stopping"):
                        self._look(row)
            if self._live is not None:
                self._refresh(self._live)

    def _look(self, row: Row) -> None:
        state, validated = row.state, row.validated
        row.look(time.monotonic())
        if state == "waiting" and row.state == "running":
            self._say(f"{row.name}: {f'goes on after step {row.before}' if row.before else 'started'}")
        if row.validated > validated and row.elbo is not None and row.kl is not None:
            left = duration(row.seconds_left)
            self._say(
                f"{row.name}: step {row.validated}/{row.total}: valid ELBO {row.elbo:.3f}, KL {row.kl:.3f}"
                f"{f', {left} left' if left else ''}"
            )
        if row.state == "running" and self._stop.exists():
            row.state = "stopping"
            self._say(f"{row.name}: stopping")

    def _refresh(self, live: Live) -> None:
        with self._lock:
            live.update(self.table(), refresh=True)

    def _say(self, line: str) -> None:
        if self._live is None:
            self._console.print(line, markup=False, soft_wrap=True)


def duration(seconds: float | None) -> str:
    """A rounded duration with its unit; empty where it is not known."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
