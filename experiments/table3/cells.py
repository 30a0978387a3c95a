"""The cells of Table 3: what is fitted in each row, and where its runs are.

Open it to add a row to the table, or to change what all its cells have in common. The paper's four are on the diagonal:
in the released code M has a monotonic beta and a constant learning rate, C a cyclical beta and a cyclical learning
rate. The other four tell the two apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dialog_cvae.errors import ConfigError
from experiments.framework.effects import Square
from experiments.framework.rows import Row, Run, named, runs_of
from experiments.table3.measures import PAPER
from training import arguments
from training.sweep.cells import short_name

ALL, DIAGONAL = "all", "diagonal"
FITS_WITHOUT_Z = "fits-without-z"
SCHEDULES, RATES = ("monotonic", "cyclical"), ("constant", "cosine_restarts")
VARIED = ("model.bow", "learning_rate.kind", "beta.kind")
DEFAULTS = {"train": {"early_stopping": False}}
"""Over the recipe: all cells get the same number of updates."""


class Variant(NamedTuple):
    """What distinguishes cells of one seed: bag of words, schedule of beta, schedule of the learning rate."""

    bow: bool
    schedule: str
    rate: str

    @property
    def on_diagonal(self) -> bool:
        """Whether it is one of the paper's four."""
        return SCHEDULES.index(self.schedule) == RATES.index(self.rate)

    @property
    def model(self) -> str:
        """The paper's name of the model."""
        return "CVAE+BoW" if self.bow else "CVAE"

    @property
    def key(self) -> str:
        """The key of its row."""
        return f"cvae{'-bow' if self.bow else ''}-{self.schedule}-{self._rate}"

    @property
    def _rate(self) -> str:
        return "constant" if self.rate == "constant" else "cyclical"

    @property
    def row(self) -> Row:
        """What is fitted, and the paper's figures on the diagonal."""
        layer = {"model": {"bow": self.bow}, "beta": {"kind": self.schedule}, "learning_rate": {"kind": self.rate}}
        values = arguments.flat(layer)
        variation = {short_name(name): str(values[name]).lower() for name in VARIED}
        letter = "MC"[SCHEDULES.index(self.schedule)]
        name = f"{self} (the paper's {letter})" if self.on_diagonal else str(self)
        paper = PAPER[self.bow, self.schedule] if self.on_diagonal else {}
        return Row(self.key, name, layer, paper, best=True, variation=variation)

    def __str__(self) -> str:
        return f"{self.model}, {self.schedule} β, {self._rate} η"


VARIANTS = {
    variant.key: variant
    for bow in (False, True)
    for schedule in SCHEDULES
    for rate in RATES
    for variant in [Variant(bow, schedule, rate)]
}
"""All eight, by the keys of their rows."""
WITHOUT_Z = Row(
    "without-z",
    "decoder without z",
    {"model": {"latent_size": 0}, "beta": {"kind": "monotonic"}, "learning_rate": {"kind": "constant"}},
    best=True,
    variation={},
    fits=FITS_WITHOUT_Z,
)
"""The encoder and decoder alone, for which the schedule of beta means nothing."""


def square(bow: bool) -> Square:
    """The four cells in which beta and the learning rate are crossed."""
    m, c = SCHEDULES
    constant, cyclical = RATES
    cells = ((m, constant), (c, constant), (m, cyclical), (c, cyclical))
    return Square(*(Variant(bow, schedule, rate).key for schedule, rate in cells))


def rows_of(cells: str) -> list[Row]:
    """The rows that are fitted.

    Args:
        cells: all, the eight cells and the decoder without z; diagonal, the paper's four and the decoder without z; or
            keys of rows with commas between.

    Raises:
        ConfigError: a key is unknown.
    """
    rows = [*(variant.row for variant in VARIANTS.values()), WITHOUT_Z]
    if cells == ALL:
        return rows
    if cells == DIAGONAL:
        return [row for row in rows if row is WITHOUT_Z or VARIANTS[row.key].on_diagonal]
    return named(rows, cells, "cells", sets=(ALL, DIAGONAL))


def plan(
    recipe: str, seeds: Sequence[int], layers: Sequence[Mapping[str, Any]], out: Path, cells: str = ALL
) -> list[Run]:
    """All runs of the table; all rows of a seed come before the next seed.

    Args:
        recipe: a recipe's name.
        seeds: distinct.
        layers: fields over the recipe's, the last layer's last.
        out: folder of the table.
        cells: as `rows_of` takes them.

    Raises:
        ConfigError: a cell or a field is unknown, or a field is out of range, contradicts another or is what the table
            varies.
    """
    if given := sorted({name for layer in layers for name in arguments.flat(layer)} & set(VARIED)):
        raise ConfigError(f"{short_name(given[0])}: the cells of the table have several, but one value is given")
    runs = runs_of(rows_of(cells), recipe, seeds, out, below=[DEFAULTS, *layers])
    if any(run.row is not WITHOUT_Z and not run.cell.config.model.latent_size for run in runs):
        raise ConfigError("model.latent_size: must be at least 1, but is 0; the table has a row without z already")
    return runs
