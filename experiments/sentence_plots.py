"""Figures of the experiments with sentences."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dialog_cvae.storage.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Records = Sequence[Mapping[str, Any]]
DPI = 110
FRAME_DPI = 50
DOTS = 80  # draws of z for each posterior
REACH = 4.0  # of the latent plane that is shown, in standard deviations of the prior
FRAME_SECONDS = 0.12


def draw_toy_curves(runs: Mapping[str, Records], floor: float, path: Path) -> None:
    """The paper's Figure 3: the ELBO, reconstruction and KL over steps.

    The first panel has both what the paper plots, the loss with its beta (thin), and the negative ELBO (thick), which
    no model can bring below the floor.

    Args:
        runs: records of `metrics.jsonl` for each line.
        floor: the entropy of the data in nats.
        path: the PNG.
    """
    figure = _figure(14, 4.2)
    panels = figure.subplots(1, 3)
    for number, (line, records) in enumerate(runs.items()):
        colour = f"C{number}"
        steps, loss = _series(records, "train", "loss")
        panels[0].plot(steps, loss, color=colour, linewidth=0.8, alpha=0.6)
        steps, elbo = _series(records, "valid", "elbo")
        panels[0].plot(steps, [-value for value in elbo], color=colour, linewidth=2, label=line)
        for axes, name in zip(panels[1:], ("reconstruction", "kl"), strict=True):
            axes.plot(*_series(records, "valid", name), color=colour, label=line)
    panels[0].axhline(floor, color="black", linestyle=":", label="entropy of the data, ln 10")
    panels[0].set(ylabel="nats", title="negative ELBO (thick); loss with beta (thin)", ylim=(0, 4 * floor / 2.3))
    panels[1].set(title="reconstruction", ylim=(0, None))
    panels[2].set(title="KL", ylim=(0, None))
    for axes in panels:
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    _save(figure, path)


def draw_divisions(runs: Mapping[str, Mapping[int, Any]], steps: Sequence[int], path: Path) -> None:
    """The paper's Figure 4: draws of z from the posterior of each sequence, a row a schedule, a column a step.

    Args:
        runs: for each schedule, by step, the posteriors' `mean` and `logvar`, (N, 2) each.
        steps: that are shown, all of them in every run.
        path: the PNG.
    """
    figure = _figure(2.1 * len(steps), 2.3 * len(runs))
    grid = np.array(figure.subplots(len(runs), len(steps), sharex=True, sharey=True)).reshape(len(runs), len(steps))
    for step, axes in zip(steps, grid[0], strict=True):
        axes.set_title(f"step {step:,}", fontsize="medium")
    for row, (name, places) in zip(grid, runs.items(), strict=True):
        row[0].set_ylabel(name)
        for axes, step in zip(row, steps, strict=True):
            _scatter(axes, places[step])
    _save(figure, path)


def animate_divisions(runs: Mapping[str, Mapping[int, Any]], path: Path) -> None:
    """The same as an animation over all steps that were recorded: a GIF."""
    from PIL import Image

    steps = sorted(set.intersection(*(set(places) for places in runs.values())))
    frames = []
    for step in steps:
        figure = _figure(3 * len(runs), 3.3)
        figure.suptitle(f"step {step:,}")
        for axes, (name, places) in zip(
            np.atleast_1d(figure.subplots(1, len(runs), sharey=True)), runs.items(), strict=True
        ):
            _scatter(axes, places[step])
            axes.set_title(name, fontsize="medium")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=FRAME_DPI)
        frames.append(Image.open(buffer).convert("P", palette=Image.Palette.ADAPTIVE, colors=32))
    buffer = io.BytesIO()
    frames[0].save(
        buffer, format="GIF", save_all=True, append_images=frames[1:], duration=int(1000 * FRAME_SECONDS), loop=0
    )
    write_atomically(path, buffer.getvalue())


def draw_heat_maps(
    maps: Mapping[str, Sequence[Sequence[float]]], rows: Sequence[str], columns: Sequence[str], path: Path
) -> None:
    """Matrices of figures, each with its values written in.

    Args:
        maps: by title; NaN where there is none.
        rows: labels, values of M.
        columns: labels, values of R.
        path: the PNG.
    """
    figure = _figure(1.6 + (0.9 * len(columns) + 1.2) * len(maps), 1.4 + 0.55 * len(rows))
    for axes, (title, values) in zip(np.atleast_1d(figure.subplots(1, len(maps))), maps.items(), strict=True):
        matrix = np.array(values, dtype=float)
        axes.imshow(matrix, cmap="viridis", aspect="auto")
        middle = (np.nanmin(matrix) + np.nanmax(matrix)) / 2 if np.isfinite(matrix).any() else 0.0
        for (row, column), value in np.ndenumerate(matrix):
            if math.isfinite(value):
                colour = "black" if value > middle else "white"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize="small")
        axes.set(title=title, xticks=range(len(columns)), xticklabels=columns, yticks=range(len(rows)))
        axes.set_yticklabels(rows)
        axes.set(xlabel="R", ylabel="M")
    _save(figure, path)


def draw_trade(points: Mapping[str, tuple[float, float]], labels: tuple[str, str], path: Path) -> None:
    """A dot with its name for each row, in a plane of two figures."""
    figure = _figure(7.5, 5)
    axes = figure.subplots()
    for number, (name, (x, y)) in enumerate(points.items()):
        axes.scatter(x, y, color=f"C{number % 10}")
        axes.annotate(name, (x, y), textcoords="offset points", xytext=(5, 4), fontsize="small")
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.margins(0.25)
    axes.grid(alpha=0.3)
    _save(figure, path)


def _scatter(axes: Axes, place: Any) -> None:
    """Draws of z from every posterior; the circle holds 95% of the prior."""
    rng = np.random.default_rng(0)
    for number, (mean, logvar) in enumerate(zip(place["mean"], place["logvar"], strict=True)):
        z = np.array(mean) + np.exp(0.5 * np.array(logvar)) * rng.standard_normal((DOTS, 2))
        axes.scatter(z[:, 0], z[:, 1], s=2, color=f"C{number % 10}")
    angle = np.linspace(0, 2 * np.pi, 100)
    radius = math.sqrt(-2 * math.log(0.05))
    axes.plot(radius * np.cos(angle), radius * np.sin(angle), color="gray", linewidth=0.5)
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), xticks=(-3, 0, 3), yticks=(-3, 0, 3), aspect="equal")


def _series(records: Records, kind: str, name: str) -> tuple[list[int], list[float]]:
    chosen = [record for record in records if record["kind"] == kind and record.get(name) is not None]
    return [record["step"] for record in chosen], [record[name] for record in chosen]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # without pyplot no display is looked for

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    write_atomically(path, buffer.getvalue())
