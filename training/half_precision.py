"""Rounds weights to half precision, and measures how much that changes them.

Open it to change how exact a copy must be.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.errors import CheckpointError
from dialog_cvae.storage.checkpoint import Checkpoint
from training.export_parts import with_change

PRECISIONS: dict[str, type[np.floating[Any]]] = {"fp16": np.float16, "fp32": np.float32}
NORMALISED = ("recognition_network.", "mean_norm.")
MOST_CHANGE = 1e-3  # twice the largest change of a normal number in half precision, 2^-11


class Rounding(NamedTuple):
    """The row that rounding changed most; a vector counts as one row.

    Attributes:
        change: norm of the difference / norm of the row; 0 if nothing changed.
        row: name of the row, for messages.
    """

    change: float
    row: str


def rounded(checkpoint: Checkpoint, precision: str) -> tuple[Checkpoint, Rounding]:
    """The checkpoint with its weights rounded, except the `NORMALISED` ones, and the largest change.

    Args:
        checkpoint: of finite weights.
        precision: fp16 or fp32.

    Raises:
        CheckpointError: a weight is outside that precision's range, or a row changes by more than `MOST_CHANGE`.
    """
    kind = PRECISIONS[precision]
    kept = NORMALISED if checkpoint.config.model.posterior_norm else ()
    with np.errstate(over="ignore"):
        weights = {
            name: np.asarray(weight, np.float32 if name.startswith(kept) else kind)
            for name, weight in checkpoint.weights.items()
        }
    roundings = []
    for name, weight in checkpoint.weights.items():
        if not np.isfinite(weights[name]).all():
            limit, value = np.finfo(kind).max, np.abs(weight).max()
            _refuse(f"weight {name} reaches {value:g}, but {precision} ends at {limit:g}", precision)
        roundings.append(_rounding(name, weight, weights[name]))
    worst = max(roundings)
    if worst.change > MOST_CHANGE:
        _refuse(
            f"{precision} would change {worst.row} by {worst.change:.2g} of its norm, and {MOST_CHANGE:g} is the limit",
            precision,
        )
    checkpoint = replace(checkpoint, weights=weights)
    return (with_change(checkpoint, f"weights rounded to {precision}") if worst.change else checkpoint), worst


def _rounding(name: str, before: NDArray[Any], after: NDArray[Any]) -> Rounding:
    """The largest change in one weight; rows of zeros do not change."""
    exact = np.asarray(before, np.float64)
    if not exact.size:
        return Rounding(0.0, f"weight {name}")
    rows = exact.reshape(len(exact) if exact.ndim > 1 else 1, -1)
    differences = np.linalg.norm(rows - after.reshape(rows.shape), axis=1)
    changes = np.divide(differences, np.linalg.norm(rows, axis=1), out=np.zeros(len(rows)), where=differences > 0)
    worst = int(changes.argmax())
    row = f"row {worst} of weight {name}" if exact.ndim > 1 else f"weight {name}"
    return Rounding(float(changes[worst]), row)


def _refuse(reason: str, precision: str) -> NoReturn:
    raise CheckpointError(reason + (" (--precision fp32 keeps it)" if precision == "fp16" else ""))
