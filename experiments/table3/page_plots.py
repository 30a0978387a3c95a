"""The plots on the page of Table 3.

Open it to add a plot to the page, or to change which rows a plot shows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.plots.charts import draw_bars
from experiments.plots.curves import draw_curves, draw_kl_by_dimension
from experiments.plots.latent_maps import draw_latents
from experiments.table3.cells import VARIANTS
from experiments.table3.evaluated import Evaluated

DIVERSITY_BARS = {
    "distinct_replies_per_context": "different replies of a context",
    "self_bleu_2": "self-BLEU-2",
    "distinct_2_fixed": "distinct-2 of 10,000 tokens",
    "act_entropy": "entropy of dialog acts (nats)",
}


def draw(found: Evaluated, out: Path) -> dict[str, str]:
    """Draw what there is to draw into a folder; titles by file."""
    titles = _curves(found, out)
    if found.cells:
        kl = {
            result.row.name: [np.array(one.figures["kl_per_dimension"]) for one in found.of(result).values()]
            for result in found.cells
        }
        draw_kl_by_dimension(kl, out / "kl-by-dimension.png")
        titles["kl-by-dimension.png"] = "KL by latent dimension, sorted"
    means = {
        result.row.name: {name: value.mean for name, value in result.estimates.items()}
        for result in found.results
        if result.figures
    }
    shown = {name: label for name, label in DIVERSITY_BARS.items() if any(name in row for row in means.values())}
    draw_bars(means, shown, out / "diversity.png")
    titles["diversity.png"] = "Diversity of replies"
    return titles | _latents(found, out)


def _curves(found: Evaluated, out: Path) -> dict[str, str]:
    """Learning curves, without and with bag of words."""
    titles = {}
    for bow in (False, True):
        runs = {
            str(VARIANTS[result.row.key]): result.records
            for result in found.cells
            if VARIANTS[result.row.key].bow == bow
        }
        if runs:
            file = f"curves-{'bow' if bow else 'cvae'}.png"
            draw_curves(runs, out / file)
            titles[file] = f"Learning curves, {'CVAE+BoW' if bow else 'CVAE'}: mean over seeds, least and greatest"
    return titles


def _latents(found: Evaluated, out: Path) -> dict[str, str]:
    """Posterior means of the paper's M and C, if their latent codes have a plane."""
    models = {
        name: one.model.posterior_mean
        for _, evaluations in found.pairs
        for name, one in evaluations.items()
        if one.model is not None and one.model.posterior_mean.shape[1] > 1
    }
    if not models:
        return {}
    acts = [c.utterances[position].dialog_act for c in found.held_out.conversations for position in c.reply_positions]
    draw_latents(models, acts, out / "latents.png", seed=found.settings.seed)
    return {"latents.png": "Posterior means, two principal components, by the dialog act of the response"}
