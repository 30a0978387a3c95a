"""The supplement's study: cycles M, ratio R and the shape of the rise, on the Penn Treebank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from experiments import sentence_plots
from experiments.measures import estimates, measured_rows
from experiments.page import INTERVAL, Page, Section, facts, table
from experiments.plan import Asked, Budget, Experiment, Fitted, Row, SizeName
from experiments.ptb import COLUMNS, PAPER, SMALL, SMOKE
from training.sweep.summary import Estimate

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
EXPERIMENT = Experiment(
    "cycles", "Number of cycles, ratio and shape (the supplement's study, on the Penn Treebank)", ROWS, BUDGETS
)
ABOUT = (
    "The learning rate is constant in all cells, so that nothing but beta differs; M = 1 is the monotonic schedule. "
    "The paper's supplement says that a larger M does better for various R; its figures are not published as numbers."
)


def report(experiment: Experiment, asked: Asked, rows: Sequence[Fitted]) -> Page:
    """Measure and draw."""
    budget = experiment.budgets[asked.size]
    found = measured_rows(rows, budget)
    means = {key: estimates(list(seeds.values())) for key, seeds in found.items()}
    maps = {title: matrix(means, name) for name, title in MAPS}
    sentence_plots.draw_heat_maps(
        maps, [str(each) for each in CYCLES], [f"{each:g}" for each in RATIOS], asked.out / "cycles.png"
    )
    sections = [
        Section("", [*facts(experiment, asked, budget), "", *table(rows, means, COLUMNS), "", INTERVAL, "", ABOUT])
    ]
    content = {"figures": found, "estimates": means}
    return Page(experiment, asked, sections, {"cycles.png": "M and R, linear rise"}, content)


def matrix(means: Mapping[str, Mapping[str, Estimate]], name: str) -> list[list[float]]:
    """A figure for every M (rows) and R (columns); NaN where there is none."""

    def value(cycles: int, ratio: float) -> float:
        found = means.get(key_of(cycles, ratio), {}).get(name)
        return math.nan if found is None else found.mean

    return [[value(cycles, ratio) for ratio in RATIOS] for cycles in CYCLES]
