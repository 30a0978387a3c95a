"""Figures of the pages: learning curves, KL by dimension, diversity of replies, maps of posterior means, and the
accuracy of a classifier on them.
"""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.storage.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from eval.metrics.probe import Probe

Records = Sequence[Mapping[str, Any]]
Array = NDArray[np.floating[Any]]

CURVES = (("elbo", "ELBO"), ("reconstruction", "reconstruction"), ("kl", "KL"))
POINTS = 2_000  # of the map, at most, for each model
NAMED_LABELS = 8  # colours of the map; rarer labels share one
DPI = 120


def draw_curves(runs: Mapping[str, Sequence[Records]], path: Path) -> None:
    """Validation ELBO, reconstruction and KL against steps: mean over seeds, and the band from least to greatest.

    The paper's Figure 5, for the cells given.

    Args:
        runs: for each line its runs' records of `metrics.jsonl`, one run a seed.
        path: the PNG.
    """
    figure = _figure(13, 4)
    for axes, (name, label) in zip(figure.subplots(1, len(CURVES)), CURVES, strict=True):
        for line, seeds in runs.items():
            steps, low, mean, high = _band(seeds, name)
            (drawn,) = axes.plot(steps, mean, marker="o", markersize=3, label=line)
            axes.fill_between(steps, low, high, color=drawn.get_color(), alpha=0.2, linewidth=0)
        axes.set(xlabel="step", ylabel=f"validation {label} (nats per response)")
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    _save(figure, path)


def draw_kl_by_dimension(kl: Mapping[str, Sequence[Array]], path: Path) -> None:
    """KL of each latent dimension, largest first: the mean over seeds of the sorted values.

    Args:
        kl: for each line one array (Z,) a seed, in nats.
        path: the PNG.
    """
    figure = _figure(8, 4.5)
    axes = figure.subplots()
    for line, seeds in kl.items():
        ordered = np.mean([np.sort(values)[::-1] for values in seeds], axis=0)  # (Z,)
        axes.plot(np.arange(1, len(ordered) + 1), np.maximum(ordered, 1e-6), label=line)
    axes.axhline(0.01, color="gray", linestyle=":", linewidth=1)
    axes.set(yscale="log", xlabel="latent dimension, by its KL", ylabel="KL (nats per response)")
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)


def draw_diversity(figures: Mapping[str, Mapping[str, float]], measures: Mapping[str, str], path: Path) -> None:
    """How much replies differ, a bar a row, a panel a measure; what a row lacks stays empty.

    Args:
        figures: of each row by name.
        measures: name of a figure, and its label.
        path: the PNG.
    """
    figure = _figure(3.5 * len(measures), 1.5 + 0.3 * len(figures))
    panels = np.atleast_1d(figure.subplots(1, len(measures), sharey=True))
    for axes, (name, label) in zip(panels, measures.items(), strict=True):
        values = [row.get(name, np.nan) for row in figures.values()]
        axes.barh(range(len(values)), values, color="tab:blue")
        axes.set(xlabel=label, yticks=range(len(values)), yticklabels=list(figures))
        axes.grid(alpha=0.3, axis="x")
    panels[0].invert_yaxis()
    _save(figure, path)


def draw_latents(means: Mapping[str, Array], labels: Sequence[str | None], path: Path, *, seed: int = 0) -> None:
    """Posterior means on their first two principal components, coloured by label; a panel a model, one scale for all.

    Args:
        means: of each model (W, Z), the same windows.
        labels: (W,) of each window, such as the dialog act of its response.
        path: the PNG.
        seed: of the choice where there are more than POINTS windows.
    """
    from sklearn.decomposition import PCA

    chosen = _chosen(len(labels), POINTS, seed)
    shown = _shown_labels([labels[index] for index in chosen])
    figure = _figure(3.5 + 4.5 * len(means), 5)
    panels = np.atleast_1d(figure.subplots(1, len(means), sharex=True, sharey=True))
    for axes, (name, values) in zip(panels, means.items(), strict=True):
        pca = PCA(2, svd_solver="full")
        with np.errstate(invalid="ignore"):  # where all posteriors are one, there is no variance to share
            points = pca.fit_transform(values[chosen].astype(np.float64))  # (P, 2)
        _scatter(axes, points, shown)
        explained = np.nan_to_num(pca.explained_variance_ratio_).sum()
        axes.set(title=f"{name}\n{explained:.0%} of the variance", xlabel="first component", ylabel="second component")
    figure.legend(*panels[-1].get_legend_handles_labels(), loc="outside right upper", markerscale=2)
    _save(figure, path)


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
    figure = _figure(2 + 4.5 * len(means), 5)
    for axes, (name, values) in zip(np.atleast_1d(figure.subplots(1, len(means))), means.items(), strict=True):
        codes = values[chosen].astype(np.float64)
        places = np.zeros((len(codes), 2))
        if np.ptp(codes, axis=0).any():  # else all codes are one, which nothing sets apart
            perplexity = min(30.0, (len(codes) - 1) / 3)
            places = TSNE(2, init="pca", perplexity=perplexity, random_state=seed).fit_transform(codes)
        _scatter(axes, places, shown)
        axes.set(title=name, xticks=(), yticks=())
    figure.legend(*figure.axes[-1].get_legend_handles_labels(), loc="outside right upper", markerscale=2)
    _save(figure, path)


def draw_accuracy(curves: Mapping[str, Sequence[Probe]], path: Path) -> None:
    """The paper's Figure 6: accuracy of a linear classifier against the labels that it had, with its 95% interval.

    Args:
        curves: for each model, by number of labels.
        path: the PNG.
    """
    figure = _figure(7, 4.5)
    axes = figure.subplots()
    for line, found in curves.items():
        labels, means = [one.labels for one in found], [one.accuracy for one in found]
        halves = [one.half or 0.0 for one in found]
        axes.errorbar(labels, means, yerr=halves, marker="o", markersize=4, capsize=3, label=line)
    chance = max(one.chance for found in curves.values() for one in found)
    axes.axhline(chance, color="gray", linestyle=":", label="the most frequent class")
    axes.set(xscale="log", xlabel="labels", ylabel="test accuracy")
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)


_OTHER = "other"


def _chosen(count: int, most: int, seed: int) -> NDArray[np.int64]:
    """Which of `count` things are shown: all, or `most` at random, in their order."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def _scatter(axes: Axes, points: Array, shown: Sequence[str]) -> None:
    """Points (P, 2) in the colours of their labels, all rare labels in grey."""
    for label in sorted(set(shown), key=lambda label: (label == _OTHER, label)):
        x, y = points[[one == label for one in shown]].T
        axes.scatter(x, y, s=6, alpha=0.6, label=label, color="lightgray" if label == _OTHER else None)


def _shown_labels(labels: Sequence[str | None]) -> list[str]:
    """The frequent labels, and one for all others."""
    counts = Counter(label for label in labels if label is not None)
    named = {label for label, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:NAMED_LABELS]}
    return [label if label is not None and label in named else _OTHER for label in labels]


def _band(seeds: Sequence[Records], name: str) -> tuple[list[int], list[float], list[float], list[float]]:
    """Steps at which any seed was validated, and least, mean and greatest value over the seeds."""
    values: defaultdict[int, list[float]] = defaultdict(list)
    for records in seeds:
        for record in records:
            if record["kind"] == "valid" and record.get(name) is not None:
                values[record["step"]].append(record[name])
    steps = sorted(values)
    return (
        steps,
        [min(values[step]) for step in steps],
        [float(np.mean(values[step])) for step in steps],
        [max(values[step]) for step in steps],
    )


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # without pyplot no display is looked for

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    write_atomically(path, buffer.getvalue())
