"""The supplement's study: cycles M, ratio R and the shape of the rise, on the Penn Treebank.

Open it to change which numbers of cycles, ratios and shapes are compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from experiments.experiment import Budget, Experiment, SizeName, Study
from experiments.framework.page import Page, pictures
from experiments.framework.rows import Result, Row
from experiments.framework.tables import table
from experiments.plots.charts import draw_heat_maps
from experiments.ptb import COLUMNS, PAPER, SMALL, SMOKE

CYCLES = (1, 2, 4, 8)
RATIOS = (0.25, 0.5, 0.75, 1.0)
SHAPES = ("linear", "sigmoid", "cosine")
MAPS = (("kl", "KL (nats)"), ("elbo", "ELBO (nats)"), ("reconstruction", "reconstruction (nats)"))


def key_of(cycles: int, ratio: float, shape: str = "linear") -> str:
    """The key of a row."""
    return f"m{cycles}-r{round(100 * ratio)}-{shape}"


def _row(cycles: int, ratio: float, shape: str = "linear") -> Row:
    beta = {"kind": "cyclical", "cycles": cycles, "ratio": ratio, "shape": shape, "start": 0.0}
    return Row(key_of(cycles, ratio, shape), f"M = {cycles}, R = {ratio:g}, {shape}", {"beta": beta})


def _shorter(budget: Budget) -> Budget:
    train = {"max_steps": 2_000, "epochs": None}
    about = f"{budget.about} Here 2,000 updates a cell, half of that, with the whole schedule in them."
    return budget._replace(layer={**budget.layer, "train": train}, about=about)


ROWS = (
    *(_row(cycles, ratio) for cycles in CYCLES for ratio in RATIOS),
    *(_row(4, 0.5, shape) for shape in SHAPES[1:]),
)
BUDGETS: Mapping[SizeName, Budget] = {"smoke": SMOKE, "small": _shorter(SMALL), "paper": PAPER._replace(seeds=3)}
ABOUT = (
    "The learning rate is constant in all cells, so that nothing but beta differs; M = 1 is the monotonic schedule. "
    "The paper's supplement says that a larger M does better for various R; its figures are not published as numbers."
)


def report(study: Study, results: Sequence[Result]) -> Page:
    """Measure and draw."""
    maps = {title: matrix(results, name) for name, title in MAPS}
    rows, columns = ("M", [str(each) for each in CYCLES]), ("R", [f"{each:g}" for each in RATIOS])
    draw_heat_maps(maps, rows, columns, study.options.out / "cycles.png")
    sections = [study.opening(table(results, COLUMNS), ABOUT), pictures({"cycles.png": "M and R, linear rise"})]
    return study.page(results, sections)


def matrix(results: Sequence[Result], name: str) -> list[list[float]]:
    """A figure for every M (rows) and R (columns) with a linear rise; NaN where there is none."""
    found = {result.row.key: result.estimates[name].mean for result in results if name in result.estimates}
    return [[found.get(key_of(cycles, ratio), math.nan) for ratio in RATIOS] for cycles in CYCLES]


EXPERIMENT = Experiment(
    "cycles", "Number of cycles, ratio and shape (the supplement's study, on the Penn Treebank)", ROWS, BUDGETS, report
)
