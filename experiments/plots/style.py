"""How all plots look, and how they are written: at once, and in the place of an older one.

Open it to change the resolution, a grid or a colour of every plot.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dialog_cvae.storage.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120
FRAME_DPI = 50  # dots per inch of an animation
FRAME_SECONDS = 0.12
FRAME_COLOURS = 32
SMALL = "small"  # size of text within a plot
REFERENCE: Mapping[str, Any] = {"color": "gray", "linestyle": ":", "linewidth": 1}  # style of a line to compare with


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    from matplotlib.figure import Figure  # without pyplot, which looks for a display

    return Figure(figsize=(width, height), layout="constrained")


def panels(figure: Figure, count: int, *, share: bool = False) -> list[Axes]:
    """So many plots side by side, with one scale for all if they share it."""
    return list(np.atleast_1d(figure.subplots(1, count, sharex=share, sharey=share)))


def finish(axes: Axes, *, legend: bool = False) -> None:
    """The grid, and the legend."""
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    if legend:
        axes.legend(fontsize=SMALL)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG."""
    write_atomically(path, _png(figure, DPI))


def save_animation(frames: Iterable[Figure], path: Path) -> None:
    """Write a GIF that repeats."""
    from PIL import Image

    images = [
        Image.open(io.BytesIO(_png(frame, FRAME_DPI))).convert(
            "P", palette=Image.Palette.ADAPTIVE, colors=FRAME_COLOURS
        )
        for frame in frames
    ]
    buffer = io.BytesIO()
    milliseconds = int(1000 * FRAME_SECONDS)
    images[0].save(buffer, format="GIF", save_all=True, append_images=images[1:], duration=milliseconds, loop=0)
    write_atomically(path, buffer.getvalue())


def _png(figure: Figure, dpi: int) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
