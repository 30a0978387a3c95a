"""What an experiment is: rows, budgets and the cells that they make; and how far fitting them is."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dialog_cvae.errors import ConfigError
from training import arguments, fit
from training.config import FitConfig
from training.state import STATE_FILE
from training.sweep.cell_task import LOG_FILE, CellTask, Ending
from training.sweep.cells import DEFAULT_THREADS, Cell
from training.sweep.run import run_sweep
from training.sweep.runners import Ended, Engine, on_one_machine
from training.sweep.summary import CellResult

SizeName = Literal["smoke", "small", "paper"]
SIZES: tuple[SizeName, ...] = ("smoke", "small", "paper")
FITS = "fits"  # folder below --out
Layer = Mapping[str, Any]


class Row(NamedTuple):
    """A line of an experiment's table: one variant, fitted for every seed.

    Attributes:
        key: its name in folders: lower-case letters, digits, hyphens.
        name: for people.
        layer: fields over the recipe's.
        paper: the paper's figures, by the names of ours.
        of: key of the row whose runs it measures, if not its own.
        best: whether it measures the best validation's weights, and not those of the last update.
    """

    key: str
    name: str
    layer: Layer
    paper: Mapping[str, float] = {}
    of: str = ""
    best: bool = False


class Budget(NamedTuple):
    """What a size costs.

    Attributes:
        recipe: that the cells start from.
        layer: fields over it.
        seeds: by default.
        draws: of z for the importance-weighted likelihood.
        scored: sentences of the test split at most that it, and the mutual information, are measured on.
        about: for people, in a sentence.
        by_row: fields over a row's own, by its key.
    """

    recipe: str
    layer: Layer
    seeds: int
    draws: int
    scored: int
    about: str
    by_row: Mapping[str, Layer] = {}


@dataclass(frozen=True)
class Experiment:
    """Rows and budgets.

    Attributes:
        name: of the subcommand.
        title: of the page.
        rows: lines of the table.
        budgets: by size.
        settings: what else decides its results, by size; as JSON.
    """

    name: str
    title: str
    rows: Sequence[Row]
    budgets: Mapping[SizeName, Budget]
    settings: Mapping[SizeName, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What the command line asks for.

    Attributes:
        out: folder of the experiment.
        size: which budget.
        seeds: of every row.
        given: fields over budget and row.
        jobs, device: see `training.sweep.run`.
        fits: whether to fit what is missing.
        rows: keys of the rows that were chosen, as they were given; empty for all.
    """

    out: Path
    size: SizeName
    seeds: Sequence[int]
    given: Layer
    jobs: int | None = None
    device: str = "auto"
    fits: bool = True
    rows: str = ""


class Fitted(NamedTuple):
    """A row with its finished runs.

    Attributes:
        row: the row.
        cells: by seed, those that are done.
        folders: of them.
        asked: seeds that were asked for.
    """

    row: Row
    cells: Mapping[int, Cell]
    folders: Mapping[int, Path]
    asked: int


def cells_of(experiment: Experiment, asked: Asked) -> dict[tuple[str, int], Cell]:
    """The cells by row and seed; all rows of a seed before the next seed.

    Raises:
        ConfigError: the fields contradict each other.
    """
    budget = experiment.budgets[asked.size]
    cells = {}
    for seed in asked.seeds:
        for row in (each for each in experiment.rows if not each.of):
            config = _config(budget, row, asked.given, seed)
            cells[row.key, seed] = Cell(budget.recipe, config, {"row": row.key})
    return cells


def _config(budget: Budget, row: Row, given: Layer, seed: int) -> FitConfig:
    config = arguments.layered(
        arguments.recipe(budget.recipe), budget.layer, row.layer, budget.by_row.get(row.key, {}), given
    )
    threads = config.train.threads or DEFAULT_THREADS
    return arguments.layered(config, {"train": {"seed": seed, "threads": threads}})


def fitted(experiment: Experiment, asked: Asked) -> tuple[list[Fitted], dict[str, str], bool]:
    """Fit what is missing.

    Returns:
        The rows, why cells failed, by name, and whether fitting was stopped.

    Raises:
        ConfigError: a folder holds a run of another configuration, or nothing is finished.
    """
    cells, root = cells_of(experiment, asked), asked.out / FITS
    failures, stopped = dict[str, str](), False
    if asked.fits:
        engine = _engine(asked, list(cells.values()))
        print(f"{experiment.name}: {len(cells)} cells in {root}: {engine}", flush=True)
        results = run_sweep(list(cells.values()), root, engine)
        failures = {each.cell.name: f"{each.reason} (log: {each.folder / LOG_FILE})" for each in _failed(results)}
        stopped = any(each.status == "stopped" for each in results)
    done = {place: cell for place, cell in cells.items() if cell.standing(root) == "finished"}
    if not done and not stopped:
        reasons = "".join(f"; {name}: {reason}" for name, reason in list(failures.items())[:1])
        raise ConfigError(f"out: none of the {len(cells)} cells in {root} is finished{reasons}")
    rows = []
    for row in experiment.rows:
        own = {seed: cell for (key, seed), cell in done.items() if key == (row.of or row.key)}
        rows.append(Fitted(row, own, {seed: root / cell.name for seed, cell in own.items()}, len(asked.seeds)))
    return rows, failures, stopped


def _failed(results: Sequence[CellResult]) -> list[CellResult]:
    return [result for result in results if result.status == "failed"]


def _engine(asked: Asked, cells: Sequence[Cell]) -> Engine:
    if asked.size == "smoke":
        return HereAndNow()
    return on_one_machine(cells, asked.jobs, asked.device)


class HereAndNow:
    """Fits in this process, one after the other: where starting a process takes longer than its fit."""

    def run(self, tasks: Sequence[CellTask], ended: Ended) -> None:
        """See `training.sweep.runners.Engine.run`."""
        for index, task in enumerate(tasks):
            ended(index, Ending("stopped") if task.stop.exists() else _fit_here(task))

    def __str__(self) -> str:
        return "one after the other, in this process"


def _fit_here(task: CellTask) -> Ending:
    task.folder.mkdir(parents=True, exist_ok=True)
    options = [*task.options, f"--out={task.folder}", "--device=cpu"]
    options += ["--resume"] if (task.folder / STATE_FILE).exists() else []
    with (task.folder / LOG_FILE).open("a") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        status = fit.main(options)
    if status >= 128:
        task.stop.touch()
        return Ending("stopped")
    lines = (task.folder / LOG_FILE).read_text().splitlines()
    return Ending("done") if status == 0 else Ending("failed", (lines or [""])[-1].removeprefix("error: "))


def say(line: str) -> None:
    """Tell how far it is."""
    print(line, file=sys.stderr, flush=True)
