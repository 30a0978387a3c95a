"""Schedules where the decoder is a pre-trained language model, the case in which a posterior collapses first.

Open it to add a schedule to the comparison, or to change the budget of its rows. All rows have the same budget. They
differ in beta's schedule and in the bag-of-words loss; the last row also has free bits, as the recipe of the shipped
adapters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval.measures import Measure
from experiments.experiment import Budget, Experiment, SizeName, Study
from experiments.framework.page import Page, pictures
from experiments.framework.rows import Layer, Result, Row
from experiments.framework.tables import table
from experiments.plots.curves import draw_curves

COLUMNS = (
    Measure("iw_nll", "IW -log p", 2),
    Measure("without_z", "-log p without z", 2),
    Measure("elbo", "ELBO", 2),
    Measure("reconstruction", "Rec", 2),
    Measure("kl", "KL", 2),
    Measure("mi", "MI", 2),
    Measure("active_units", "active units", 1),
    Measure("nats_from_z", "nats from z", 2),
)
SCHEDULES: Mapping[str, Layer] = {
    "constant": {"kind": "constant"},
    "monotonic": {"kind": "monotonic", "ratio": 0.25},
    "cyclical": {"kind": "cyclical", "cycles": 2, "hold": 0.4, "ratio": 0.2},
}


def _row(schedule: str, bow: bool, free_bits: float = 0.0) -> Row:
    remedies = f"{', bag of words' if bow else ''}{f', {free_bits:g} free nats a dimension' if free_bits else ''}"
    key = f"{schedule}{'-bow' if bow else ''}{'-free' if free_bits else ''}"
    layer = {"beta": SCHEDULES[schedule], "language": {"bow": bow}, "train": {"free_bits": free_bits}}
    return Row(key, f"{schedule} beta{remedies}", layer)


ROWS = (
    Row(
        "lm", "adapters without z (exact)", {"language": {"latent_size": 0, "bow": False}, "train": {"free_bits": 0.0}}
    ),
    *(_row(schedule, bow) for bow in (False, True) for schedule in SCHEDULES),
    _row("cyclical", bow=True, free_bits=0.1),
)
SMOKE = Budget(
    "smollm2",
    {
        "language": {"rank": 2, "latent_size": 4, "hidden_size": 8},
        "train": {"max_steps": 4, "batch_size": 4, "segment": 2, "validate_every": 2, "valid_examples": 4},
    },
    1,
    2,
    8,
    "4 updates of 4 replies, to see that it runs.",
)
SMALL = Budget(
    "smollm2",
    {
        "learning_rate": {"peak": 1e-3},  # that of the published figures
        "train": {"max_steps": 160, "batch_size": 20, "validate_every": 80, "valid_examples": 128},
    },
    1,
    10,
    300,
    "160 updates of 20 replies, a 37th of a pass over Switchboard. An update takes about 4 s of one core.",
)
FULL = Budget("smollm2", {}, 3, 100, 6_000, "one pass of the recipe; meant for a GPU, or for days.")
BUDGETS: Mapping[SizeName, Budget] = {"smoke": SMOKE, "small": SMALL, "paper": FULL}
ABOUT = (
    "All figures are nats for each reply of the first test conversations. z is useful if KL and nats from z are "
    "high and the importance-weighted -log p ({draws} draws) is no larger than that of the same network "
    "without z and that of the first row. Nats from z: by how much a z from the prior is worse than one from the "
    "posterior. MI counts what z knows of reply and context together, and may exceed the KL, of which the prior's "
    "knowledge of the context is no part: it can be highest where z has collapsed. The learning rate is the same in "
    "all rows and falls to 0."
)


def report(study: Study, results: Sequence[Result]) -> Page:
    """Measure and draw."""
    curves = {each.row.name: each.records for each in results if each.runs}
    draw_curves(curves, study.options.out / "decoder.png")
    about = ABOUT.format(draws=study.budget.draws)
    plots = {"decoder.png": "Reconstruction and KL in the course of training"}
    return study.page(results, [study.opening(table(results, COLUMNS), about), pictures(plots)])


EXPERIMENT = Experiment("decoder", "Schedules for a pre-trained language model as decoder", ROWS, BUDGETS, report)
