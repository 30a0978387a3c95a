"""Plots of lines: learning curves, KL by latent dimension, and the accuracy of a classifier by number of labels.

Open it to add a line plot, or to change how a line combines its seeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experiments.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from eval.metrics.probe import Probe

Records = Sequence[Mapping[str, Any]]
"""Records of `metrics.jsonl`."""
Runs = Mapping[str, Sequence[Records]]
"""For each line the records of its runs, one run a seed."""
Array = NDArray[np.floating[Any]]

CURVES = (("elbo", "ELBO"), ("reconstruction", "reconstruction"), ("kl", "KL"))


def draw_curves(runs: Runs, path: Path) -> None:
    """Validation ELBO, reconstruction and KL against steps: mean over seeds, and the band from least to greatest.

    The paper's Figure 5, for the rows given.
    """
    figure = style.new_figure(13, 4)
    axes = style.panels(figure, len(CURVES))
    for own, (name, label) in zip(axes, CURVES, strict=True):
        _draw_lines(own, runs, name, marker="o", markersize=3)
        own.set(xlabel="step", ylabel=f"validation {label} (nats)")
        style.finish(own, legend=own is axes[0])
    style.save(figure, path)


def draw_bounded_curves(runs: Runs, floor: float, path: Path) -> None:
    """The same with the negative ELBO above its floor, and the loss: the paper's Figure 3.

    The first panel has both what the paper plots, the loss with its beta (thin), and the negative ELBO (thick), which
    no model can bring below the floor.

    Args:
        runs: of each line.
        floor: the entropy of the data in nats.
        path: the PNG.
    """
    figure = style.new_figure(13, 4)
    bound, reconstruction, kl = style.panels(figure, 3)
    _draw_lines(bound, runs, "loss", kind="train", labelled=False, linewidth=0.8, alpha=0.6)
    _draw_lines(bound, runs, "elbo", sign=-1, linewidth=2)
    bound.axhline(floor, **style.REFERENCE, label="entropy of the data")
    low, high = bound.get_ylim()  # of what was drawn
    span = min(0.0, low), max(1.75 * floor, high)
    bound.set(title="negative ELBO (thick); loss with beta (thin)", ylim=span)
    _draw_lines(reconstruction, runs, "reconstruction")
    _draw_lines(kl, runs, "kl")
    reconstruction.set(title="reconstruction", ylim=(0, None))
    kl.set(title="KL", ylim=(0, None))
    for axes in (bound, reconstruction, kl):
        axes.set(xlabel="step", ylabel="nats")
        style.finish(axes, legend=axes is bound)
    style.save(figure, path)


def draw_kl_by_dimension(kl: Mapping[str, Sequence[Array]], path: Path) -> None:
    """KL of each latent dimension, largest first: the mean over seeds of the sorted values.

    Args:
        kl: for each line one array (Z,) a seed, in nats.
        path: the PNG.
    """
    figure = style.new_figure(8, 4.5)
    (axes,) = style.panels(figure, 1)
    for line, seeds in kl.items():
        ordered = np.mean([np.sort(values)[::-1] for values in seeds], axis=0)  # (Z,)
        axes.plot(np.arange(1, len(ordered) + 1), np.maximum(ordered, 1e-6), label=line)
    axes.axhline(0.01, **style.REFERENCE)
    axes.set(yscale="log", xlabel="latent dimension, by its KL", ylabel="KL (nats per response)")
    style.finish(axes, legend=True)
    style.save(figure, path)


def draw_accuracy(curves: Mapping[str, Sequence[Probe]], path: Path) -> None:
    """The paper's Figure 6: test accuracy of a linear classifier against the labels that it had, with 95% intervals.

    Args:
        curves: for each model, by number of labels.
        path: the PNG.
    """
    figure = style.new_figure(7, 4.5)
    (axes,) = style.panels(figure, 1)
    for line, found in curves.items():
        labels, means = [one.labels for one in found], [one.accuracy for one in found]
        halves = [one.half or 0.0 for one in found]
        axes.errorbar(labels, means, yerr=halves, marker="o", markersize=4, capsize=3, label=line)
    chance = max(one.chance for found in curves.values() for one in found)
    axes.axhline(chance, **style.REFERENCE, label="the most frequent class")
    axes.set(xscale="log", xlabel="labels", ylabel="test accuracy")
    style.finish(axes, legend=True)
    style.save(figure, path)


def _draw_lines(
    axes: Axes, runs: Runs, name: str, *, kind: str = "valid", sign: int = 1, labelled: bool = True, **look: Any
) -> None:
    """A figure of the records of a kind against steps: a line's mean over its seeds, with its band."""
    for number, (line, seeds) in enumerate(runs.items()):
        steps, values = _over_seeds(seeds, kind, name)
        means = [sign * float(np.mean(found)) for found in values]
        low, high = ([sign * end(found) for found in values] for end in (min, max))
        colour = f"C{number % 10}"
        axes.plot(steps, means, color=colour, label=line if labelled else None, **look)
        axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)


def _over_seeds(seeds: Sequence[Records], kind: str, name: str) -> tuple[list[int], list[list[float]]]:
    """Steps at which any seed has the figure, and its values there."""
    values: defaultdict[int, list[float]] = defaultdict(list)
    for records in seeds:
        for record in records:
            if record["kind"] == kind and record.get(name) is not None:
                values[record["step"]].append(record[name])
    return sorted(values), [values[step] for step in sorted(values)]
