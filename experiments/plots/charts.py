"""Plots of a table's figures: bars, a matrix with its values, and dots in the plane of two figures.

Open it to change the look of bars, heat maps or named dots.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.plots import style


def draw_bars(figures: Mapping[str, Mapping[str, float]], measures: Mapping[str, str], path: Path) -> None:
    """A bar for each row, and a panel for each measure; a measure that a row lacks leaves a gap.

    Args:
        figures: of each row by name.
        measures: name of a figure, and its label.
        path: the PNG.
    """
    figure = style.new_figure(3.5 * len(measures), 1.5 + 0.3 * len(figures))
    panels = style.panels(figure, len(measures))
    for axes, (name, label) in zip(panels, measures.items(), strict=True):
        values = [row.get(name, np.nan) for row in figures.values()]
        names = list(figures) if axes is panels[0] else [""] * len(figures)
        axes.barh(range(len(values)), values, color="tab:blue")
        axes.set(xlabel=label, yticks=range(len(values)), yticklabels=names)
        axes.invert_yaxis()
        style.finish(axes)
    style.save(figure, path)


def draw_heat_maps(
    maps: Mapping[str, Sequence[Sequence[float]]],
    rows: tuple[str, Sequence[str]],
    columns: tuple[str, Sequence[str]],
    path: Path,
) -> None:
    """Matrices of figures, each with its values written in.

    Args:
        maps: by title; NaN where there is none.
        rows: what varies down the matrix, and its values.
        columns: what varies across, and its values.
        path: the PNG.
    """
    (down, down_values), (across, across_values) = rows, columns
    figure = style.new_figure(1.6 + (0.9 * len(across_values) + 1.2) * len(maps), 1.4 + 0.55 * len(down_values))
    for axes, (title, values) in zip(style.panels(figure, len(maps)), maps.items(), strict=True):
        matrix = np.array(values, dtype=float)
        axes.imshow(matrix, cmap="viridis", aspect="auto")
        middle = (np.nanmin(matrix) + np.nanmax(matrix)) / 2 if np.isfinite(matrix).any() else 0.0
        for (row, column), value in np.ndenumerate(matrix):
            if math.isfinite(value):
                colour = "black" if value > middle else "white"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=style.SMALL)
        axes.set(title=title, xlabel=across, ylabel=down)
        axes.set_xticks(range(len(across_values)), across_values)
        axes.set_yticks(range(len(down_values)), down_values)
    style.save(figure, path)


def draw_plane(points: Mapping[str, tuple[float, float]], labels: tuple[str, str], path: Path) -> None:
    """A dot with its name for each row, in the plane of two figures."""
    figure = style.new_figure(7.5, 5)
    (axes,) = style.panels(figure, 1)
    for number, (name, (x, y)) in enumerate(points.items()):
        axes.scatter(x, y, color=f"C{number % 10}")
        axes.annotate(name, (x, y), textcoords="offset points", xytext=(5, 4), fontsize=style.SMALL)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.margins(0.25)
    style.finish(axes)
    style.save(figure, path)
