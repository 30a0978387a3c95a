"""The runs that Table 3 is made of: what they are called, where they are, and how far.

The paper's four are on the diagonal: in the released code M has a monotonic beta and a constant learning rate, C a
cyclical beta and a cyclical learning rate. The other four tell the two apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dialog_cvae.errors import CheckpointError, ConfigError
from training import arguments
from training.sweep.cells import Axis, Cell, Standing, grid, short_name

FITS, FITS_WITHOUT_Z = "fits", "fits-without-z"
SCHEDULES, RATES = ("monotonic", "cyclical"), ("constant", "cosine_restarts")
AXES = (Axis("beta.kind", SCHEDULES), Axis("learning_rate.kind", RATES), Axis("model.bow", ("false", "true")))
DEFAULTS = {"train": {"early_stopping": False}}
"""Over the recipe: all cells get the same number of updates."""
WITHOUT_Z = {"model": {"latent_size": 0}, "beta": {"kind": "monotonic"}, "learning_rate": {"kind": "constant"}}
"""The encoder and decoder alone; the schedule of beta then says nothing."""


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
        """As the paper calls it."""
        return "CVAE+BoW" if self.bow else "CVAE"

    def __str__(self) -> str:
        rate = "constant" if self.rate == "constant" else "cyclical"
        return f"{self.model}, {self.schedule} β, {rate} η"


class Planned(NamedTuple):
    """A run of the table.

    Attributes:
        variant: None for the decoder without z.
        cell: its fit.
        root: folder whose `cell.name` holds the run.
    """

    variant: Variant | None
    cell: Cell
    root: Path

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.root / self.cell.name

    @property
    def name(self) -> str:
        """Unique among all, and a folder's name."""
        return self.cell.name if self.variant else f"without-z,{self.cell.name}"


class Found(NamedTuple):
    """How far a run is.

    Attributes:
        planned: which.
        standing: broken where its folder cannot be read.
        reason: why it is broken.
    """

    planned: Planned
    standing: Standing | Literal["broken"]
    reason: str = ""


def plan(
    recipe: str, seeds: Sequence[int], layers: Sequence[Mapping[str, Any]], out: Path, *, diagonal: bool
) -> list[Planned]:
    """All runs of the table, a seed after the other.

    Args:
        recipe: a recipe's name.
        seeds: distinct.
        layers: fields over the recipe's, the last layer's last.
        out: folder of the table.
        diagonal: only the paper's four, without those that tell beta and learning rate apart.

    Raises:
        ConfigError: a field is unknown, out of range, contradicts another or is what the table varies.
    """
    varied = {axis.field for axis in AXES}
    if given := sorted({name for layer in layers for name in arguments.flat(layer)} & varied):
        raise ConfigError(f"{short_name(given[0])}: the cells of the table have several, but one value is given")
    cells = grid(recipe, AXES, seeds, DEFAULTS, *layers)
    if not cells[0].config.model.latent_size:
        raise ConfigError("model.latent_size: must be at least 1, but is 0; the table has a row without z beside")
    planned = [Planned(_variant(cell), cell, out / FITS) for cell in cells]
    without = grid(recipe, (), seeds, DEFAULTS, *layers, WITHOUT_Z)
    planned += [Planned(None, cell, out / FITS_WITHOUT_Z) for cell in without]
    return [one for one in planned if one.variant is None or one.variant.on_diagonal or not diagonal]


def look(planned: Sequence[Planned]) -> list[Found]:
    """How far each run is.

    Raises:
        ConfigError: a folder holds a run of another configuration, with which the table would compare unlike budgets.
    """
    found = []
    for one in planned:
        try:
            found.append(Found(one, one.cell.standing(one.root)))
        except CheckpointError as error:
            found.append(Found(one, "broken", str(error)))
    return found


def _variant(cell: Cell) -> Variant:
    config = cell.config
    return Variant(config.model.bow, config.beta.kind, config.learning_rate.kind)
