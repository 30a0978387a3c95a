"""Section 6.3 of the paper: what a frozen latent code knows about the sentiment of a Yelp sentence (Figures 6, 9).

Open it to change the compared models, or how the classifier is trained on their codes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dialog_cvae.data.corpora import Split
from dialog_cvae.data.readers.yelp import LABELS
from dialog_cvae.errors import ConfigError
from eval.latent.likelihood import posteriors
from eval.measures import Measure
from eval.metrics.probe import Probe, probe
from eval.report import markdown_table
from experiments.experiment import Budget, Experiment, Study
from experiments.framework.fitting import say
from experiments.framework.page import Page, Section, pictures
from experiments.framework.rows import Result, Row, Run
from experiments.framework.tables import shown, table
from experiments.measures import best_model, cached_json, sentences_of
from experiments.plots.curves import draw_accuracy
from experiments.plots.latent_maps import draw_neighbours
from training.state import checksum_of
from training.sweep.summary import Estimate, estimate

PROBE_FILE = "probe.json"
COUNTS = (100, 500, 1_000, 4_440, 10_000, 44_409)
COLUMNS = (
    Measure("reconstruction", "Rec", 2),
    Measure("kl", "KL", 3),
    Measure("elbo", "ELBO", 2),
    Measure("mi", "MI", 2),
    Measure("active_units", "active units", 1),
)
ROWS = (
    Row("ae", "AE", {"train": {"autoencoder_share": 1.0}}, best=True),
    Row("vae-m", "VAE M", {"beta": {"kind": "monotonic", "ratio": 0.1}}, best=True),
    Row("vae-c", "VAE C", {"beta": {"kind": "cyclical"}, "learning_rate": {"kind": "cosine_restarts"}}, best=True),
    Row("vae-c-constant-rate", "cyclical beta, constant rate", {"beta": {"kind": "cyclical"}}, best=True),
)
INTERVAL = (
    "Ours: mean ± half of the 95% interval (Student's t) over seeds; with one seed over draws of labels, of which "
    "there is only one for all labels."
)
_TINY = {"embedding_size": 8, "decoder_size": 8, "filters": 4, "latent_size": 4}
ABOUT = (
    "The test accuracy of a linear classifier on posterior means, the encoder frozen, of the best validation's "
    "weights: logistic regression fitted to convergence, its penalty chosen within the labels that it is "
    "given; {draws} draws of labels each. The numbers behind "
    "the paper's Figure 6 are not published; it says that the cyclical schedule is the most accurate "
    "everywhere. Naming the more frequent class always is right {chance:.1%} of the time."
)


def check(runs: Sequence[Run]) -> None:
    """Refuse models without a code.

    Raises:
        ConfigError: a run has no z.
    """
    if any(not run.cell.config.sentence.latent_size for run in runs):
        raise ConfigError("sentence.latent_size: must be at least 1, because z is classified, but is 0")


def report(study: Study, results: Sequence[Result]) -> Page:
    """Measure and draw."""
    settings = study.settings
    probes = {
        each.row.key: {seed: probed(run.folder, settings) for seed, run in each.runs.items()}
        for each in results
        if each.runs
    }
    accuracy = accuracies(probes)
    chance = next(iter(next(iter(probes.values())).values()))[0]["chance"]
    about = ABOUT.format(draws=settings["draws"], chance=chance)
    plots = _draw(results, accuracy, chance, int(settings["mapped"]), study.options.out)
    sections = [
        study.opening(_table(results, accuracy), about, INTERVAL),
        Section("What the models are", [table(results, COLUMNS)]),
        pictures(plots),
    ]
    return study.page(results, sections, probes=probes, accuracy=accuracy)


def codes(run: Path, split: Split) -> tuple[NDArray[Any], NDArray[Any]]:
    """Posterior means (N, Z) of a split by a run's best weights, and the classes (N,)."""
    sentences = sentences_of(run, split)
    return posteriors(best_model(run), sentences).posterior_mean, sentences.label


def probed(run: Path, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The classifier's results by number of labels; what was measured before is read."""
    origin = {"state": checksum_of(run), "counts": list(settings["counts"]), "draws": settings["draws"]}

    def make() -> list[dict[str, Any]]:
        say(f"classifying by {run.name}")
        (train, labels), (test, truth) = codes(run, "train"), codes(run, "test")
        found = probe(train, labels, test, truth, settings["counts"], draws=settings["draws"])
        return [each._asdict() for each in found]

    return list(cached_json(run / PROBE_FILE, origin, "probes", make))


def accuracies(probes: Mapping[str, Mapping[int, Sequence[Mapping[str, Any]]]]) -> dict[str, dict[int, Estimate]]:
    """By row and number of labels: over seeds, or over draws where there is one seed."""
    found: dict[str, dict[int, Estimate]] = {}
    for key, seeds in probes.items():
        found[key] = {}
        for same in zip(*seeds.values(), strict=True):
            values = [each["accuracy"] for each in same] if len(same) > 1 else same[0]["each"]
            found[key][same[0]["labels"]] = estimate([100 * value for value in values])
    return found


def _table(results: Sequence[Result], accuracy: Mapping[str, Mapping[int, Estimate]]) -> list[str]:
    counts = sorted({count for own in accuracy.values() for count in own})
    lines = [
        [each.row.name, *(shown(accuracy.get(each.row.key, {}).get(count), 1) for count in counts)] for each in results
    ]
    return markdown_table(["accuracy (%) with so many labels", *(f"{count:,}" for count in counts)], lines)


def _draw(
    results: Sequence[Result],
    accuracy: Mapping[str, Mapping[int, Estimate]],
    chance: float,
    mapped: int,
    out: Path,
) -> dict[str, str]:
    names = {each.row.key: each.row.name for each in results}
    curves = {names[key]: [_point(labels, one, chance) for labels, one in own.items()] for key, own in accuracy.items()}
    draw_accuracy(curves, out / "yelp-accuracy.png")
    found = {each.row.name: codes(each.first, "test") for each in results if each.runs}
    truth = next(iter(found.values()))[1]
    named = [LABELS[label - 1] if label else None for label in truth]
    draw_neighbours({name: means for name, (means, _) in found.items()}, named, out / "yelp-tsne.png", points=mapped)
    return {
        "yelp-accuracy.png": "Accuracy by number of labels, with the 95% interval",
        "yelp-tsne.png": "t-SNE of posterior means of test sentences, coloured by sentiment",
    }


def _point(labels: int, found: Estimate, chance: float) -> Probe:
    """A point of the curve."""
    half = None if found.half is None else found.half / 100
    return Probe(labels, found.n, found.mean / 100, half, math.nan, (), chance)


EXPERIMENT = Experiment(
    "yelp",
    "Yelp: sentiment in a frozen latent code (section 6.3, Figures 6 and 9)",
    ROWS,
    {
        "smoke": Budget(
            "yelp-small",
            {"tokenizer": {"vocab_size": 200}, "sentence": _TINY, "train": {"max_steps": 8, "validate_every": 4}},
            1,
            2,
            20,
            "8 updates of a tiny model, to see that it runs.",
        ),
        "small": Budget(
            "yelp-small",
            {},
            1,
            10,
            400,
            "an eighth of the released code's z, 4,000 updates (3 passes) where it has 100 passes.",
        ),
        "medium": Budget(
            "yelp",
            {"train": {"epochs": 20}},
            1,
            50,
            1_000,
            "the released code's sizes and 20 passes where it has 100. A row takes 40 minutes of one core with "
            "`--train.precision bf16`, on a processor that has it.",
        ),
        "paper": Budget("yelp", {}, 5, 100, 5_000, "the released code's sizes and 100 passes; meant for a GPU."),
    },
    report,
    {
        "smoke": {"counts": (10, 40), "draws": 2, "mapped": 60},
        "small": {"counts": COUNTS, "draws": 5, "mapped": 1_500},
        "medium": {"counts": COUNTS, "draws": 5, "mapped": 1_500},
        "paper": {"counts": COUNTS, "draws": 5, "mapped": 5_000},
    },
    check=check,
)
