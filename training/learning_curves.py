"""Learning curves of a run, as the paper's Figure 5 shows them, from its metrics.

Open this to add a curve.
"""

from __future__ import annotations

import io
from math import nan
from pathlib import Path
from typing import Any

from dialog_cvae.storage.files import write_atomically

CURVES_FILE = "learning_curves.png"


def draw_learning_curves(records: list[dict[str, Any]], path: Path, title: str) -> None:
    """Reconstruction, KL, the ELBO, and the schedules, over steps: one PNG.

    Args:
        records: of `metrics.jsonl`.
        path: the PNG, written atomically.
        title: of the figure.
    """
    from matplotlib.figure import Figure

    train = [record for record in records if record["kind"] == "train"]
    valid = [record for record in records if record["kind"] == "valid"]
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(2, 2, sharex=True)
    for axes, name, label in (
        (panels[0, 0], "reconstruction", "reconstruction (nats per response)"),
        (panels[0, 1], "kl", "KL (nats per response)"),
    ):
        axes.plot(*_curve(train, name), color="tab:blue", alpha=0.5, label="training")
        axes.plot(*_curve(valid, name), color="tab:red", marker="o", markersize=3, label="validation")
        axes.set_ylabel(label)
        axes.legend()
    panels[1, 0].plot(*_curve(valid, "elbo"), color="tab:red", marker="o", markersize=3)
    panels[1, 0].set_ylabel("validation ELBO at beta 1 (nats)")
    panels[1, 1].plot(*_curve(train, "beta"), color="tab:green", label="beta")
    panels[1, 1].set_ylabel("beta")
    rate = panels[1, 1].twinx()
    rate.plot(*_curve(train, "learning_rate"), color="tab:gray", linestyle="--", label="learning rate")
    rate.set_ylabel("learning rate (dashed)")
    rate.set_ylim(bottom=0)
    for axes in panels.flat:
        axes.grid(alpha=0.3)
    for axes in panels[1]:
        axes.set_xlabel("step")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(path, buffer.getvalue())


def _curve(records: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Steps and values; a value that was not finite leaves a gap."""
    return [record["step"] for record in records], [nan if record[name] is None else record[name] for record in records]
