"""Plots of latent codes: posterior means in a plane by their labels, and posteriors of a plane over training.

Open it to change how codes are projected to a plane, or how many points and labels are shown.

Shape legend: W windows or sentences, N sequences, Z latent dimensions, P points that are shown.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experiments.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.floating[Any]]
Places = Mapping[int, Mapping[str, Any]]
"""Posteriors by step: `mean` and `logvar`, (N, 2) each."""

POINTS = 2_000  # most points of each model in a map by principal components
NAMED_LABELS = 8  # colours of a map; rarer labels share one
OTHER = "other"
DRAWS = 80  # draws of z for each posterior
REACH = 4.0  # half the width of the plane that is shown, in standard deviations of the prior


def draw_latents(means: Mapping[str, Array], labels: Sequence[str | None], path: Path, *, seed: int = 0) -> None:
    """Posterior means on their first two principal components, coloured by label; a panel a model, one scale for all.

    Args:
        means: of each model (W, Z), the same windows.
        labels: (W,) of each window, such as the dialog act of its response.
        path: the PNG.
        seed: of the choice if there are more than POINTS windows.
    """
    from sklearn.decomposition import PCA

    chosen = _chosen(len(labels), POINTS, seed)
    shown = _shown_labels([labels[index] for index in chosen])
    figure = style.new_figure(3.5 + 4.5 * len(means), 5)
    for axes, (name, values) in zip(style.panels(figure, len(means), share=True), means.items(), strict=True):
        pca = PCA(2, svd_solver="full")
        with np.errstate(invalid="ignore"):  # if all posteriors are equal, there is no variance to share
            points = pca.fit_transform(values[chosen].astype(np.float64))  # (P, 2)
        _draw_points(axes, points, shown)
        explained = np.nan_to_num(pca.explained_variance_ratio_).sum()
        axes.set(title=f"{name}\n{explained:.0%} of the variance", xlabel="first component", ylabel="second component")
    _add_legend(figure)
    style.save(figure, path)


def draw_neighbours(
    means: Mapping[str, Array], labels: Sequence[str | None], path: Path, *, seed: int = 0, points: int = 5_000
) -> None:
    """Posterior means by t-SNE (van der Maaten and Hinton, 2008), coloured by label; a panel a model.

    The paper's supplement, Figure 9, whose code takes 5,000 test sentences and scikit-learn's defaults from a start by
    principal components. Near points were near; sizes of clusters and distances between them mean nothing.

    Args:
        means: of each model (W, Z), the same sentences.
        labels: (W,) of each sentence.
        path: the PNG.
        seed: of the choice of sentences and of t-SNE.
        points: at most, for each model; 3 at least.
    """
    from sklearn.manifold import TSNE

    chosen = _chosen(len(labels), points, seed)
    shown = _shown_labels([labels[index] for index in chosen])
    figure = style.new_figure(2 + 4.5 * len(means), 5)
    for axes, (name, values) in zip(style.panels(figure, len(means)), means.items(), strict=True):
        codes = values[chosen].astype(np.float64)
        places = np.zeros((len(codes), 2))
        if np.ptp(codes, axis=0).any():  # else all codes are equal, and nothing sets them apart
            perplexity = min(30.0, (len(codes) - 1) / 3)
            places = TSNE(2, init="pca", perplexity=perplexity, random_state=seed).fit_transform(codes)
        _draw_points(axes, places, shown)
        axes.set(title=name, xticks=(), yticks=())
    _add_legend(figure)
    style.save(figure, path)


def draw_divisions(runs: Mapping[str, Places], steps: Sequence[int], path: Path) -> None:
    """The paper's Figure 4: draws of z from the posterior of each sequence, a row a schedule, a column a step.

    Args:
        runs: for each schedule its posteriors.
        steps: that are shown, all of them in every run.
        path: the PNG.
    """
    figure = style.new_figure(2.1 * len(steps), 2.3 * len(runs))
    grid = figure.subplots(len(runs), len(steps), sharex=True, sharey=True, squeeze=False)
    for step, axes in zip(steps, grid[0], strict=True):
        axes.set_title(f"step {step:,}", fontsize="medium")
    for row, (name, places) in zip(grid, runs.items(), strict=True):
        row[0].set_ylabel(name)
        for axes, step in zip(row, steps, strict=True):
            _draw_posteriors(axes, places[step])
    style.save(figure, path)


def animate_divisions(runs: Mapping[str, Places], path: Path) -> None:
    """The same as an animation over all steps that were recorded: a GIF."""

    def frame(step: int) -> Figure:
        figure = style.new_figure(3 * len(runs), 3.3)
        figure.suptitle(f"step {step:,}")
        for axes, (name, places) in zip(style.panels(figure, len(runs), share=True), runs.items(), strict=True):
            _draw_posteriors(axes, places[step])
            axes.set_title(name, fontsize="medium")
        return figure

    steps = sorted(set.intersection(*(set(places) for places in runs.values())))
    style.save_animation((frame(step) for step in steps), path)


def _draw_posteriors(axes: Axes, place: Mapping[str, Any]) -> None:
    """Draws of z from every posterior; the circle holds 95% of the prior."""
    rng = np.random.default_rng(0)
    for number, (mean, logvar) in enumerate(zip(place["mean"], place["logvar"], strict=True)):
        z = np.array(mean) + np.exp(0.5 * np.array(logvar)) * rng.standard_normal((DRAWS, 2))
        axes.scatter(z[:, 0], z[:, 1], s=2, color=f"C{number % 10}")
    angle = np.linspace(0, 2 * np.pi, 100)
    radius = math.sqrt(-2 * math.log(0.05))
    axes.plot(radius * np.cos(angle), radius * np.sin(angle), color="gray", linewidth=0.5)
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), xticks=(-3, 0, 3), yticks=(-3, 0, 3), aspect="equal")


def _draw_points(axes: Axes, points: Array, labels: Sequence[str]) -> None:
    """Points (P, 2) in the colours of their labels (P,), all rare labels in grey."""
    for label in sorted(set(labels), key=lambda label: (label == OTHER, label)):
        x, y = points[[one == label for one in labels]].T
        axes.scatter(x, y, s=6, alpha=0.6, label=label, color="lightgray" if label == OTHER else None)


def _add_legend(figure: Figure) -> None:
    handles = figure.axes[-1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right upper", markerscale=2)


def _chosen(count: int, most: int, seed: int) -> NDArray[np.int64]:
    """Which of `count` things are shown: all, or `most` at random, in their order."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def _shown_labels(labels: Sequence[str | None]) -> list[str]:
    """The frequent labels, and one for all others."""
    counts = Counter(label for label in labels if label is not None)
    named = {label for label, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:NAMED_LABELS]}
    return [label if label is not None and label in named else OTHER for label in labels]
