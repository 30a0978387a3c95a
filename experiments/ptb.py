"""Section 6.1 of the paper: language modelling on the Penn Treebank (Table 1, Figure 5, Table 4).

Open it to change a row, the paper's figures below it, or a budget; `cycles` and `remedies` take their budgets from
here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dialog_cvae.model.svi import update_cost
from dialog_cvae.model_config import SentenceModelConfig, SviConfig
from eval.measures import Measure
from experiments.experiment import Budget, Experiment, SizeName, Study
from experiments.framework.effects import Contrast, Effect, Square, effects
from experiments.framework.page import Page, Section, effects_content, pictures
from experiments.framework.rows import Layer, Result, Row
from experiments.framework.tables import compact_effects_table, table
from experiments.measures import config_of, pace
from experiments.plots.curves import draw_curves

COLUMNS = (
    Measure("reconstruction", "Rec", 2),
    Measure("kl", "KL", 3),
    Measure("elbo", "ELBO", 2),
    Measure("perplexity_bound", "PPL (bound)", 2),
    Measure("iw_nll", "IW -log p", 2),
    Measure("iw_perplexity", "IW PPL", 2),
    Measure("mi", "MI", 2),
    Measure("active_units", "active units", 1),
)
EFFECTS_IN = tuple(one for one in COLUMNS if one.name in ("reconstruction", "kl", "elbo", "iw_nll"))
MONOTONIC: Layer = {"kind": "monotonic", "ratio": 9 / 40}
CYCLICAL: Layer = {"kind": "cyclical", "cycles": 4, "ratio": 0.45}
RESTARTS: Layer = {"kind": "cosine_restarts", "cycles": 4}
HALF: Layer = {"stop": 0.5}


def _paper(reconstruction: float, kl: float, elbo: float, perplexity: float | None = None) -> dict[str, float]:
    figures = {"reconstruction": reconstruction, "kl": kl, "elbo": elbo}
    return figures if perplexity is None else figures | {"perplexity_bound": perplexity}


SVI: Layer = {"svi": {"steps": 10}}
M, C, MC, CC = "vae-m", "vae-c", "vae-m-cyclical-rate", "vae-c-constant-rate"
SCHEDULES = Square(neither=M, first=CC, second=MC, both=C)
"""The factors of Table 4: beta and the learning rate, each cyclical instead of constant or monotonic."""
ROWS = (
    Row("lm", "language model without z (exact)", {"sentence": {"latent_size": 0}}),
    Row("vae-constant", "VAE, constant beta 1", {"beta": {"kind": "constant"}}),
    Row(M, "VAE M: monotonic beta, constant rate", {"beta": MONOTONIC}, _paper(101.73, 0.907, -102.63, 108.09)),
    Row(
        C,
        "VAE C: cyclical beta, cyclical rate",
        {"beta": CYCLICAL, "learning_rate": RESTARTS},
        _paper(100.51, 1.955, -102.46, 107.25),
    ),
    Row(CC, "cyclical beta, constant rate", {"beta": CYCLICAL}, _paper(101.30, 1.457, -102.76)),
    Row(
        MC,
        "monotonic beta, cyclical rate",
        {"beta": MONOTONIC, "learning_rate": RESTARTS},
        _paper(101.74, 0.748, -102.49),
    ),
    Row(
        "vae-m-half",
        "VAE M, beta at most 0.5",
        {"beta": {**MONOTONIC, **HALF}},
        _paper(97.36, 9.605, -106.96, 132.57),
    ),
    Row(
        "vae-c-half",
        "VAE C, beta at most 0.5",
        {"beta": {**CYCLICAL, **HALF}, "learning_rate": RESTARTS},
        _paper(95.22, 9.484, -104.70, 118.78),
    ),
    Row(
        "sa-m-best",
        "SA-VAE M, best validation",
        {},
        _paper(100.75, 1.796, -102.54, 107.64),
        of="sa-m",
        best=True,
    ),
    Row("sa-m", "SA-VAE M, last update", {"beta": MONOTONIC, "train": SVI}, _paper(101.83, 1.053, -102.89, 109.33)),
    Row(
        "sa-c",
        "SA-VAE C",
        {"beta": CYCLICAL, "learning_rate": RESTARTS, "train": SVI},
        _paper(100.50, 2.261, -102.76, 108.71),
    ),
)
PAPER_RATIO = 472 / 30  # seconds of a pass of the paper's SA-VAE and of its VAE
TINY = {"embedding_size": 8, "encoder_size": 8, "decoder_size": 8, "latent_size": 4}
SMOKE = Budget(
    "ptb",
    {"tokenizer": {"vocab_size": 200}, "sentence": TINY, "train": {"max_steps": 8, "validate_every": 4}},
    1,
    3,
    20,
    "8 updates of a tiny model, to see that it runs.",
    {key: {"train": {"svi": {"steps": 2}}} for key in ("sa-m", "sa-c")},
)
SMALL = Budget(
    "ptb-small",
    {},
    1,
    20,
    400,
    "LSTMs of 64 where the paper has 256, 4,000 updates (3 passes) where it has 40 passes, dropout 0.2 at rate 2e-3; "
    "the 2,000 most frequent words (86% of the text), so that perplexities are not those of 10,000. An update of the "
    "VAE takes 0.03 s of a core.",
    {key: {"train": {"svi": {"steps": 4}, "max_steps": 1_000}} for key in ("sa-m", "sa-c")},
)
MEDIUM = Budget(
    "ptb",
    {"train": {"epochs": 10}},
    1,
    50,
    1_000,
    "the released code's sizes and 10 passes where it has 40.",
    {key: {"train": {"epochs": None, "max_steps": 1_000}} for key in ("sa-m", "sa-c")},
)
PAPER = Budget("ptb", {}, 5, 500, 3_761, "the released code's sizes and 40 passes; meant for a GPU.")
BUDGETS: Mapping[SizeName, Budget] = {"smoke": SMOKE, "small": SMALL, "medium": MEDIUM, "paper": PAPER}
WITH_SVI: Mapping[SizeName, Budget] = {
    **BUDGETS,
    "small": SMALL._replace(about=f"{SMALL.about} SA-VAE has 4 steps of refinement in place of 10, and 1,000 updates."),
    "medium": MEDIUM._replace(
        about=f"{MEDIUM.about} A row takes half an hour of one core with `--train.precision bf16`, on a processor that "
        "has it; SA-VAE, with 1,000 updates, over an hour."
    ),
}
"""BUDGETS, with what they mean for this experiment's own rows; others share BUDGETS."""
ABOUT = (
    "Rec is -log p(x | z) with one z from q, PPL (bound) is exp(-ELBO / tokens) with `</s>`: both as in Table 1. The "
    "language model's figures are exact, a bound's are not: beside it stands the importance-weighted likelihood "
    "({draws} draws, {scored} sentences), from which a perplexity should be read. MI is the plug-in estimate on "
    "the same sentences."
)
ABOUT_EFFECTS = (
    "Main effects of the 2 x 2 of Table 4: half the sum of the two differences, for each seed; then C - M. The paper "
    "calls the gain of C over M the schedule's of beta; M and C differ in the learning rate too."
)


def report(study: Study, results: Sequence[Result]) -> Page:
    """Measure and draw."""
    about = ABOUT.format(draws=study.budget.draws, scored=f"{study.budget.scored:,}")
    compared = main_effects(results)
    lines = (
        compact_effects_table(compared)
        if compared
        else ["No cells that can be compared are finished for the same seed."]
    )
    plots = draw(results, (M, C, CC, MC, "vae-constant"), study.options.out)
    sections = [
        study.opening(table(results, COLUMNS), about),
        Section("What the refinement costs", [cost(results)]),
        Section("Table 4: schedules of beta and of the learning rate", [lines, [ABOUT_EFFECTS]]),
        pictures(plots),
    ]
    return study.page(results, sections, effects=effects_content(compared))


def draw(results: Sequence[Result], keys: Sequence[str], out: Path) -> dict[str, str]:
    """Learning curves of some rows, as in Figure 5."""
    runs = {each.row.name: each.records for each in results if each.row.key in keys and each.runs}
    if not runs:
        return {}
    draw_curves(runs, out / "ptb-curves.png")
    return {"ptb-curves.png": "Validation curves: mean over seeds, and from the least to the greatest"}


def main_effects(results: Sequence[Result]) -> list[tuple[Contrast, list[Effect]]]:
    """Main effects of the 2 x 2 of Table 4, and C - M; only those whose rows have a seed in common."""
    scores = {result.row.key: result.figures for result in results}
    asked = (
        Contrast("cyclical instead of monotonic beta", SCHEDULES.main_first),
        Contrast("cyclical instead of constant rate", SCHEDULES.main_second),
        Contrast("C instead of M", SCHEDULES.together),
    )
    found = ((contrast, effects(contrast, scores, EFFECTS_IN)) for contrast in asked)
    return [(contrast, own) for contrast, own in found if own]


def cost(results: Sequence[Result]) -> list[str]:
    """How much longer an update of SA-VAE takes than one of the VAE, measured and by its count of matrix products.

    Counted are matrix products with the weights of encoder (E) and decoder (D), each of one multiplication a weight and
    word. An update of the VAE has 3 (E + D): forward, to the inputs, to the weights. A step of refinement goes forward
    and back to z, 2 D; differentiating it takes each of these products once more to what it was multiplied with and
    once to the weights, 4 D.
    """
    runs = {each.row.key: each.first for each in results if each.runs}
    if not {M, "sa-m"} <= runs.keys():
        return ["The cells of VAE M and SA-VAE M are not both finished."]
    config = config_of(runs["sa-m"])
    steps, ratio = config.train.svi.steps, pace(runs["sa-m"]) / pace(runs[M])
    least, with_ten = (least_products(config.sentence, config.tokenizer.vocab_size, each) for each in (steps, 10))
    return [
        f"An update of SA-VAE M with {steps} steps took {ratio:.1f} times as long as one of VAE M (medians); the "
        f"paper's, with 10, {PAPER_RATIO:.1f} times. By the count of matrix products it is {least:.1f} times the work "
        f"where the steps are differentiated exactly ({with_ten:.1f} times with 10 steps). A measured ratio can be "
        "lower, because both also spend time on work that the steps do not repeat."
    ]


def least_products(sizes: SentenceModelConfig, words: int, steps: int) -> float:
    """Products of an SA-VAE's update in units of the VAE's; see `cost`."""
    layers, latent = sizes.layers, sizes.latent_size if sizes.z_to_inputs else 0
    encoder = 4 * sizes.encoder_size * (sizes.embedding_size + sizes.encoder_size * (2 * layers - 1))
    decoder = 4 * sizes.decoder_size * (sizes.embedding_size + latent + sizes.decoder_size * (2 * layers - 1))
    decoder += sizes.decoder_size * words
    return update_cost(encoder, decoder, SviConfig(steps=steps))


EXPERIMENT = Experiment(
    "ptb",
    "Penn Treebank (section 6.1: Table 1, Figure 5; section 6.4: Table 4)",
    ROWS,
    WITH_SVI,
    report,
)
