"""The rows of an experiment: what is fitted, for which seeds, and what was found.

Open it to add a row to a table, or to see where the run of a row is. A `Row` is what an experiment declares, a `Run` is
its fit for one seed, and a `Result` is the row with its finished runs and their figures.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from dialog_cvae.data.corpora import resolve
from dialog_cvae.errors import ConfigError
from training import arguments
from training.folder import NO_SWITCHBOARD
from training.metrics_log import read_metrics
from training.sweep.cells import DEFAULT_THREADS, Cell
from training.sweep.summary import Estimate, estimate
from training.task import task_of

FITS = "fits"  # folder below --out
Layer = Mapping[str, Any]
"""Fields of a configuration, nested as it is."""
Figures = Mapping[str, float]
"""What was measured, by name."""


class Row(NamedTuple):
    """A line of an experiment's table: one variant, fitted for every seed.

    Attributes:
        key: unique in the table; lower-case letters, digits, hyphens.
        name: shown in the table.
        layer: fields over those of the experiment.
        paper: the paper's figures, by the names of ours.
        of: key of the row whose runs are measured, if not its own.
        best: whether the weights of the best validation are measured, and not those of the last update.
        variation: names and values in the names of its folders, before the seed; default: row=KEY.
        fits: folder below --out that holds its runs.
    """

    key: str
    name: str
    layer: Mapping[str, Any] = {}
    paper: Mapping[str, float] = {}
    of: str = ""
    best: bool = False
    variation: Mapping[str, str] | None = None
    fits: str = FITS


class Run(NamedTuple):
    """The fit of a row for one seed.

    Attributes:
        row: the row.
        cell: the fit: its whole configuration.
        root: folder whose `cell.name` holds the run.
    """

    row: Row
    cell: Cell
    root: Path

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.root / self.cell.name

    @property
    def name(self) -> str:
        """Unique among all runs, and usable as a folder's name."""
        return self.cell.name if self.row.fits == FITS else f"{self.row.key},{self.cell.name}"


@dataclass(frozen=True)
class Result:
    """What was found for a row.

    Attributes:
        row: the row.
        runs: finished runs by seed.
        asked: number of seeds that were asked for; 0 for a row that needs no fit.
        figures: by seed.
    """

    row: Row
    runs: Mapping[int, Run] = field(default_factory=dict)
    asked: int = 0
    figures: Mapping[int, Figures] = field(default_factory=dict)

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Mean and interval over the seeds, of every figure that all of them have."""
        found = list(self.figures.values())
        common = [name for name in found[0] if all(name in one for one in found)] if found else []
        return {name: estimate([one[name] for one in found]) for name in common}

    @property
    def records(self) -> list[list[dict[str, Any]]]:
        """What each run logged, a list a seed."""
        return [read_metrics(run.folder) for run in self.runs.values()]

    @property
    def first(self) -> Path:
        """Folder of the run with the first seed; there must be one."""
        return next(iter(self.runs.values())).folder

    @property
    def seeds(self) -> str:
        """How many seeds are done, and of how many if some are missing."""
        done = len(self.figures)
        return "" if not self.asked else str(done) if done == self.asked else f"{done} of {self.asked}"


def named(rows: Sequence[Row], keys: str, option: str, sets: Sequence[str] = ()) -> list[Row]:
    """The rows that an option names, with those whose runs they measure, in the table's order.

    Args:
        rows: of the table.
        keys: with commas between.
        option: its name, for the error.
        sets: other values of the option, for the error.

    Raises:
        ConfigError: a row is unknown.
    """
    wanted, known = keys.split(","), [row.key for row in rows]
    if unknown := [key for key in wanted if key not in known]:
        raise ConfigError(f"{option}: there is no row {unknown[0]!r}, only {', '.join([*sets, *known])}")
    wanted += [row.of for row in rows if row.key in wanted and row.of]
    return [row for row in rows if row.key in wanted]


def runs_of(
    rows: Sequence[Row],
    recipe: str,
    seeds: Sequence[int],
    out: Path,
    below: Sequence[Layer] = (),
    above: Sequence[Layer] = (),
) -> list[Run]:
    """The runs of the rows; all rows of a seed come before the next seed.

    Args:
        rows: of the table; those that measure another row's runs have none of their own.
        recipe: a recipe's name.
        seeds: distinct.
        out: folder of the experiment.
        below: fields over the recipe's and below a row's own, the last layer's last.
        above: fields over a row's own.

    Raises:
        ConfigError: a field is unknown or out of range, or fields contradict each other.
    """
    runs, on_sample = [], False
    for seed in seeds:
        for row in (each for each in rows if not each.of):
            config = arguments.layered(arguments.recipe(recipe), *below, row.layer, *above)
            threads = config.train.threads or DEFAULT_THREADS
            config = arguments.layered(config, {"train": {"seed": seed, "threads": threads}})
            corpus = resolve(config.corpus)
            on_sample |= config.corpus.name == "auto" and corpus.name == "sample"
            config = task_of(config).settled(config.model_copy(update={"corpus": corpus}))
            variation = {"row": row.key} if row.variation is None else row.variation
            runs.append(Run(row, Cell(recipe, config, variation), out / row.fits))
    if on_sample:
        print(NO_SWITCHBOARD, file=sys.stderr, flush=True)
    return runs


def results_of(rows: Sequence[Row], finished: Sequence[Run], asked: int) -> list[Result]:
    """The rows with their finished runs, and no figures yet."""
    results = []
    for row in rows:
        runs = {run.cell.seed: run for run in finished if run.row.key == (row.of or row.key)}
        results.append(Result(row, runs, asked))
    return results
