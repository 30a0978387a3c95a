"""Remedies against posterior collapse at one budget, on the Penn Treebank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments import sentence_plots
from experiments.measures import estimates, measured_rows
from experiments.page import INTERVAL, Column, Page, Section, facts, table
from experiments.plan import Asked, Budget, Experiment, Fitted, Layer, Row, SizeName
from experiments.ptb import BUDGETS as PTB_BUDGETS
from experiments.ptb import CYCLICAL, MONOTONIC

COLUMNS: tuple[Column, ...] = (
    ("iw_nll", "IW -log p", 2),
    ("iw_perplexity", "IW PPL", 2),
    ("elbo", "ELBO", 2),
    ("reconstruction", "Rec", 2),
    ("kl", "KL", 2),
    ("mi", "MI", 2),
    ("active_units", "active units", 1),
    ("nats_from_z", "nats from z", 2),
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
BUDGETS: Mapping[SizeName, Budget] = PTB_BUDGETS
EXPERIMENT = Experiment("remedies", "Remedies against posterior collapse, at one budget", ROWS, BUDGETS)
ABOUT = (
    "Every row has the same number of updates, of whatever weights: a lagging decoder and an autoencoder have fewer of "
    "the whole model. Settings were not tuned. The learning rate is constant; beta is monotonic unless a row says "
    "otherwise. A remedy is worth its name if the importance-weighted likelihood stays that of the language model "
    "while MI and active units rise: a high KL alone is no merit."
)


def report(experiment: Experiment, asked: Asked, rows: Sequence[Fitted]) -> Page:
    """Measure and draw."""
    budget = experiment.budgets[asked.size]
    found = measured_rows(rows, budget)
    means = {key: estimates(list(seeds.values())) for key, seeds in found.items()}
    names = {each.row.key: each.row.name for each in rows}
    points = {names[key]: (figures["mi"].mean, figures["iw_nll"].mean) for key, figures in means.items()}
    labels = ("mutual information (nats)", "importance-weighted -log p(x) (nats)")
    sentence_plots.draw_trade(points, labels, asked.out / "remedies.png")
    sections = [
        Section("", [*facts(experiment, asked, budget), "", *table(rows, means, COLUMNS), "", INTERVAL, "", ABOUT])
    ]
    content = {"figures": found, "estimates": means}
    return Page(experiment, asked, sections, {"remedies.png": "What z knows, and what that costs"}, content)
