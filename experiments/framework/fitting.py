"""Fit the runs of an experiment that are missing, and say how far each one is.

Open it to see what is fitted again, what is taken from disk, and what is refused.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from dialog_cvae.errors import CheckpointError
from experiments.framework.rows import Run
from training import fit
from training.state import STATE_FILE
from training.sweep.cell_task import LOG_FILE, CellTask, Ending
from training.sweep.cells import Cell, CellState
from training.sweep.run import run_sweep
from training.sweep.runners import Ended, Engine


class Found(NamedTuple):
    """How far a run is.

    Attributes:
        run: which.
        standing: broken if its folder cannot be read.
        reason: why it is broken.
    """

    run: Run
    standing: CellState | Literal["broken"]
    reason: str = ""


class Fitted(NamedTuple):
    """How the runs are after fitting.

    Attributes:
        found: how far each run is.
        failures: why runs failed, by name.
        stopped: whether fitting was stopped.
    """

    found: Sequence[Found]
    failures: Mapping[str, str]
    stopped: bool = False

    @property
    def finished(self) -> list[Run]:
        """The runs that can be measured."""
        return [one.run for one in self.found if one.standing == "finished"]

    def notes(self, failures: Mapping[str, str] | None = None) -> list[str]:
        """What failed, a line each, and what is missing, a line for each row.

        Args:
            failures: why finished runs could not be measured, by name.
        """
        reasons = {**self.failures, **(failures or {})}
        missing: defaultdict[str, list[str]] = defaultdict(list)
        for run in (one.run for one in self.found if one.standing != "finished" and one.run.name not in reasons):
            missing[run.row.name].append(str(run.cell.seed))
        return [
            *(f"Failed: {name}: {reason}" for name, reason in reasons.items()),
            *(f"Not finished: {name}, seed {', '.join(seeds)}" for name, seeds in missing.items()),
        ]


def run_states(runs: Sequence[Run]) -> Fitted:
    """How far each run is; nothing is fitted.

    Raises:
        ConfigError: a folder holds a run of another configuration, so the table would compare unequal budgets.
    """
    found = []
    for run in runs:
        try:
            found.append(Found(run, run.cell.state(run.root)))
        except CheckpointError as error:
            found.append(Found(run, "broken", str(error)))
    return Fitted(found, {one.run.name: one.reason for one in found if one.standing == "broken"})


def fit_missing(runs: Sequence[Run], out: Path, engine_for: Callable[[Sequence[Cell]], Engine]) -> Fitted:
    """Fit what is not finished; a run whose folder is broken is left as it is.

    Args:
        runs: of the experiment.
        out: its folder, for messages.
        engine_for: what runs these cells.

    Raises:
        ConfigError: a folder holds a run of another configuration, or the engine cannot run.
        DataError: a corpus is missing.
    """
    found, failures, _ = run_states(runs)
    counts = Counter(one.standing for one in found)
    print(f"{len(found)} cells in {out}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    rest: defaultdict[Path, list[Run]] = defaultdict(list)
    for one in found:
        if one.standing in ("new", "started"):
            rest[one.run.root].append(one.run)
    for root, missing in rest.items():
        cells = [run.cell for run in missing]
        engine = engine_for(cells)
        print(f"fitting {len(cells)} cells in {root}: {engine}", flush=True)
        results = run_sweep(cells, root, engine)
        for run, result in zip(missing, results, strict=True):
            if result.status == "failed":
                failures = {**failures, run.name: f"{result.reason} (log: {result.folder / LOG_FILE})"}
        if any(result.status == "stopped" for result in results):
            return Fitted(found, failures, stopped=True)
    found, broken, _ = run_states(runs)
    return Fitted(found, {**broken, **failures})


class InThisProcess:
    """Fits one run after the other in this process, for fits that are shorter than starting a process.

    Args:
        device: auto, cpu or cuda.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def run(self, tasks: Sequence[CellTask], ended: Ended) -> None:
        """See `training.sweep.runners.Engine.run`."""
        for index, task in enumerate(tasks):
            ended(index, Ending("stopped") if task.stop.exists() else _fit_here(task, self._device))

    def __str__(self) -> str:
        return "one after the other, in this process"


def _fit_here(task: CellTask, device: str) -> Ending:
    task.folder.mkdir(parents=True, exist_ok=True)
    options = [*task.options, f"--out={task.folder}", "--no-report", f"--device={device}"]
    options += ["--resume"] if (task.folder / STATE_FILE).exists() else []
    path = task.folder / LOG_FILE
    with path.open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        status = fit.main(options)
    if status >= 128:
        task.stop.touch()
        return Ending("stopped")
    lines = path.read_text(encoding="utf-8").splitlines()
    return Ending("done") if status == 0 else Ending("failed", (lines or [""])[-1].removeprefix("error: "))


def say(line: str) -> None:
    """Log progress to standard error."""
    print(line, file=sys.stderr, flush=True)
