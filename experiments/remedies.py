"""Remedies against posterior collapse at one budget, on the Penn Treebank.

Open it to add a remedy to the comparison: a row in `ROWS`.
"""

from __future__ import annotations

from collections.abc import Sequence

from eval.measures import Measure
from experiments.experiment import Experiment, Study
from experiments.framework.page import Page, pictures
from experiments.framework.rows import Layer, Result, Row
from experiments.framework.tables import table
from experiments.plots.charts import draw_plane
from experiments.ptb import BUDGETS, CYCLICAL, MONOTONIC

COLUMNS = (
    Measure("iw_nll", "IW -log p", 2),
    Measure("iw_perplexity", "IW PPL", 2),
    Measure("elbo", "ELBO", 2),
    Measure("reconstruction", "Rec", 2),
    Measure("kl", "KL", 2),
    Measure("mi", "MI", 2),
    Measure("active_units", "active units", 1),
    Measure("nats_from_z", "nats from z", 2),
)


def _row(key: str, name: str, train: Layer, sentence: Layer | None = None, beta: Layer = MONOTONIC) -> Row:
    return Row(key, name, {"beta": beta, "train": train, "sentence": sentence or {}})


ROWS = (
    _row("lm", "language model without z (exact)", {}, {"latent_size": 0}),
    _row("monotonic", "monotonic beta alone", {}),
    _row("cyclical", "cyclical beta alone", {}, beta=CYCLICAL),
    _row("free-bits", "free bits, 4 nats in total", {"free_bits": 4.0}),
    _row("free-bits-dimension", "free bits, 0.125 nats a dimension", {"free_bits": 0.125, "free_bits_in": "dimension"}),
    _row("word-dropout", "word dropout 0.3", {"word_dropout": 0.3}),
    _row("skip", "skip connections to z", {}, {"skip": True}),
    _row("lagging", "lagging decoder, 4 updates ahead for 0.2 of the run", {"lagging_updates": 4}),
    _row("controlled", "KL controlled to 4 nats", {"kl_target": 4.0}),
    _row("normalised", "normalised posterior means, gamma 0.5", {}, {"posterior_norm": 0.5}),
    _row("autoencoder", "autoencoder first, 0.2 of the run", {"autoencoder_share": 0.2}),
    _row("fbp", "autoencoder first, then free bits, 4 nats", {"autoencoder_share": 0.2, "free_bits": 4.0}),
    _row("cyclical-free-bits", "cyclical beta with free bits, 4 nats", {"free_bits": 4.0}, beta=CYCLICAL),
)
ABOUT = (
    "Every row has the same number of updates, of whatever weights: a lagging decoder and an autoencoder have fewer of "
    "the whole model. Settings were not tuned. The learning rate is constant; beta is monotonic unless a row says "
    "otherwise. A remedy is worth its name if the importance-weighted likelihood stays that of the language model "
    "while MI and active units rise: a high KL alone is no merit."
)


def report(study: Study, results: Sequence[Result]) -> Page:
    """Measure and draw."""
    points = {
        each.row.name: (each.estimates["mi"].mean, each.estimates["iw_nll"].mean)
        for each in results
        if {"mi", "iw_nll"} <= each.estimates.keys()
    }
    labels = ("mutual information (nats)", "importance-weighted -log p(x) (nats)")
    draw_plane(points, labels, study.options.out / "remedies.png")
    plots = {"remedies.png": "What z knows, and what that costs"}
    return study.page(results, [study.opening(table(results, COLUMNS), ABOUT), pictures(plots)])


EXPERIMENT = Experiment("remedies", "Remedies against posterior collapse, at one budget", ROWS, BUDGETS, report)
