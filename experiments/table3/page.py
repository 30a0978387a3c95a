"""From evaluations to the page of Table 3: its rows, contrasts, notes, plots and samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.contexts import count_contexts
from eval.evaluation import Evaluation
from eval.evaluation_settings import Settings
from eval.held_out import HeldOut
from eval.report import comparison_table
from experiments import plots
from experiments.table3.cells import RATES, SCHEDULES, Found, Planned, Variant
from experiments.table3.contrasts import Contrast, Effect, contrasts, effects
from experiments.table3.report import Page, Row
from experiments.table3.rows import Failure
from training.metrics_log import read_metrics
from training.state import Progress, load_progress

DIVERSITY = {
    "distinct_replies_per_context": "different replies of a context",
    "self_bleu_2": "self-BLEU-2",
    "distinct_2_fixed": "distinct-2 of 10,000 tokens",
    "act_entropy": "entropy of dialog acts (nats)",
}
RETRIEVED = (
    "The references were built from the replies to similar training contexts, which are what the rows of nearest "
    "neighbours reply: those two rows are scored against themselves. Judge them by what was said alone, below."
)
WITHOUT_Z = "decoder without z"


@dataclass(frozen=True)
class Results:
    """All that the page is made from.

    Attributes:
        found: how far each cell is.
        failures: why fitting failed, by the names of cells.
        evaluations: by the names of rows: cells that are finished, and rows without a model.
        held_out: what was evaluated on.
        references: what the references are, for people.
        built: whether they were built from training contexts.
        settings: of the evaluations.
    """

    found: Sequence[Found]
    failures: Mapping[str, str]
    evaluations: Mapping[str, Evaluation | Failure]
    held_out: HeldOut
    references: str
    built: bool
    settings: Settings

    @property
    def evaluated(self) -> list[Planned]:
        """The cells that have figures."""
        return [one.planned for one in self.found if isinstance(self.evaluations.get(one.planned.name), Evaluation)]


def assembled(results: Results, out: Path) -> Page:
    """The page; its plots are drawn into `out`."""
    rows = _rows(results)
    return Page(
        facts=_facts(results),
        rows=rows,
        effects=_effects(rows, results),
        notes=_notes(results),
        about_models=_about_models(results),
        samples=_samples(rows),
        plots=_plots(rows, results, out),
        settings=results.settings.model_dump(mode="json"),
    )


def _rows(results: Results) -> list[Row]:
    """Cells, then the decoder without z, then rows without a model."""
    seeds: defaultdict[Variant | None, dict[int, Evaluation]] = defaultdict(dict)
    asked: defaultdict[Variant | None, int] = defaultdict(int)
    evaluations = dict(results.evaluations)
    for planned in (one.planned for one in results.found):
        asked[planned.variant] += 1
        evaluation = evaluations.pop(planned.name, None)
        if isinstance(evaluation, Evaluation):
            seeds[planned.variant][planned.cell.seed] = evaluation
    variants = [Variant(bow, schedule, rate) for bow in (False, True) for schedule in SCHEDULES for rate in RATES]
    rows = [Row(_name(variant), variant, seeds[variant], asked[variant]) for variant in variants if variant in asked]
    rows.append(Row(WITHOUT_Z, None, seeds[None], asked[None]))
    others = {name: found for name, found in evaluations.items() if isinstance(found, Evaluation)}
    return rows + [Row(name, None, {results.settings.seed: found}) for name, found in others.items()]


def _name(variant: Variant) -> str:
    letter = "C" if variant.schedule == SCHEDULES[1] else "M"
    return f"{variant} (the paper's {letter})" if variant.on_diagonal else str(variant)


def _effects(rows: Sequence[Row], results: Results) -> list[tuple[Contrast, list[Effect]]]:
    scores = {
        row.variant: {seed: evaluation.columns for seed, evaluation in row.evaluations.items()}
        for row in rows
        if row.variant is not None and row.evaluations
    }
    conversations = [
        conversation.id for conversation in results.held_out.conversations for _ in conversation.utterances[1:]
    ]
    tested = ((one, effects(one, scores, conversations, seed=results.settings.seed)) for one in contrasts(scores))
    return [(contrast, found) for contrast, found in tested if found]


def _facts(results: Results) -> list[str]:
    """What was fitted and evaluated on what."""
    held_out, settings, decoding = results.held_out, results.settings, results.settings.decoding
    facts = []
    if results.evaluated:
        cell, progress = results.evaluated[0].cell, [load_progress(one.folder) for one in results.evaluated]
        train, windows = cell.config.train, sum(len(c.utterances) for c in held_out.train or ())
        steps = sorted({one.step for one in progress})
        updates = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
        passes = f", {steps[-1] * train.batch_size / windows:.2f} passes over {windows:,} windows" if windows else ""
        facts.append(
            f"Fitted: recipe {cell.recipe} on {held_out.name}, {updates} updates of {train.batch_size} windows in each "
            f"cell{passes}; {train.precision}; early stopping {'on' if train.early_stopping else 'off'}; of each run "
            "the checkpoint of its best validation ELBO."
        )
    facts.append(
        f"Evaluated: split {held_out.split}, {len(held_out.conversations)} conversations, "
        f"{count_contexts(held_out.conversations):,} contexts; {settings.samples} replies to each, z from the prior, "
        f"{'the likeliest token each time' if decoding.temperature == 0 else f'temperature {decoding.temperature:g}'}."
    )
    vectors = "none, so no A-bow and E-bow" if held_out.vectors is None else Path(held_out.vectors).name
    return [*facts, f"References: {results.references}.", f"Word vectors: {vectors}."]


def _about_models(results: Results) -> str:
    """How what the models know was measured, with the sizes that decide what a figure means."""
    figures = [found.figures for found in results.evaluations.values() if isinstance(found, Evaluation)]
    mixture = next((one for one in figures if "mutual_information_cap" in one), None)
    weighted = next((one for one in figures if "iw_samples" in one), None)
    parts = ["Over all responses, in nats for each. Nats from z: reconstruction lost when z comes from the prior."]
    if mixture is not None:
        windows, cap = mixture["mutual_information_windows"], mixture["mutual_information_cap"]
        parts.append(
            f"MI: I(z; window) with the aggregate posterior as a mixture over {windows:,} windows, plug-in (at most "
            f"{cap:.2f}) and with each window's own part left out; it counts what z knows of response and context "
            "together, and may exceed the KL, of which the prior's knowledge of the context is no part. Marginal KL: "
            "of the aggregate posterior and the aggregate prior."
        )
    if weighted is not None:
        parts.append(f"IW-NLL: importance-weighted, {weighted['iw_samples']} draws, a tighter bound than the ELBO.")
    few = next((one["iw_few"] for one in figures if "iw_few" in one), None)
    if few is not None:
        parts.append(f"With {few['samples']} draws: {few['responses']} responses, by seed, in table3.json (iw_few).")
    return " ".join(parts)


def _notes(results: Results) -> list[str]:
    """What is missing or failed, and what makes rows hard to compare."""
    notes = [RETRIEVED] if results.built else []
    for one in results.found:
        name, outcome = one.planned.name, results.evaluations.get(one.planned.name)
        if name in results.failures:
            notes.append(f"Failed: {name}: {results.failures[name]}")
        elif isinstance(outcome, Failure):
            notes.append(f"Failed: {name}: {outcome.reason}")
        elif outcome is None:
            notes.append(f"Missing: {name} is not finished")
    progress = {one.name: load_progress(one.folder) for one in results.evaluated}
    notes += _unlike(progress, "number of updates", lambda one: f"{one.step:,}")
    notes += _unlike(progress, "training conversations", lambda one: one.data[:8])
    return notes


def _unlike(progress: Mapping[str, Progress], what: str, value: Callable[[Progress], str]) -> list[str]:
    """A note where cells differ in what they should share."""
    first: dict[str, str] = {}
    for name, one in progress.items():
        first.setdefault(value(one), name)
    return [f"Not comparable: of unequal {what}: {' and '.join(first.values())}"] if len(first) > 1 else []


def _pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """M and C of the paper's diagonal that have a seed in common, without and with bag of words."""
    cells = {row.variant: row for row in rows if row.variant is not None and row.variant.on_diagonal}
    both = [
        tuple(cells.get(Variant(bow, schedule, rate)) for schedule, rate in zip(SCHEDULES, RATES, strict=True))
        for bow in (False, True)
    ]
    return [(m, c) for m, c in both if m and c and m.evaluations.keys() & c.evaluations.keys()]


def _common(pair: tuple[Row, Row]) -> tuple[int, dict[str, Evaluation]]:
    """The first seed that two rows have in common, and what it gave each of them."""
    seed = min(pair[0].evaluations.keys() & pair[1].evaluations.keys())
    return seed, {row.name: row.evaluations[seed] for row in pair}


def _samples(rows: Sequence[Row]) -> str:
    """Replies of the paper's M and C side by side, as in its Table 2; empty where there are no such two."""
    for pair in _pairs(rows):
        seed, evaluations = _common(pair)
        table = comparison_table({name: one.answered for name, one in evaluations.items()})
        return f"Of the runs with seed {seed}. {table}"
    return ""


def _plots(rows: Sequence[Row], results: Results, out: Path) -> dict[str, str]:
    """Draw what there is to draw; titles by file."""
    titles: dict[str, str] = {}
    cells = [row for row in rows if row.variant is not None and row.evaluations]
    for bow in (False, True):
        runs: defaultdict[str, list[plots.Records]] = defaultdict(list)
        for one in results.evaluated:
            if one.variant is not None and one.variant.bow == bow:
                runs[str(one.variant)].append(read_metrics(one.folder))
        if runs:
            file = f"curves-{'bow' if bow else 'cvae'}.png"
            plots.draw_curves(runs, out / file)
            titles[file] = f"Learning curves, {'CVAE+BoW' if bow else 'CVAE'}: mean over seeds, least and greatest"
    if cells:
        kl = {
            row.name: [np.array(one.figures["kl_per_dimension"]) for one in row.evaluations.values()] for row in cells
        }
        plots.draw_kl_by_dimension(kl, out / "kl-by-dimension.png")
        titles["kl-by-dimension.png"] = "KL by latent dimension, sorted"
    means = {row.name: {name: value.mean for name, value in row.estimates.items()} for row in rows if row.evaluations}
    shown = {name: label for name, label in DIVERSITY.items() if any(name in row for row in means.values())}
    plots.draw_diversity(means, shown, out / "diversity.png")
    titles["diversity.png"] = "Diversity of replies"
    models = {
        name: one.model.posterior_mean
        for pair in _pairs(rows)
        for name, one in _common(pair)[1].items()
        if one.model is not None and one.model.posterior_mean.shape[1] > 1
    }
    if models:
        said = [utterance for conversation in results.held_out.conversations for utterance in conversation.utterances]
        plots.draw_latents(models, [one.dialog_act for one in said], out / "latents.png", seed=results.settings.seed)
        titles["latents.png"] = "Posterior means, two principal components, by the dialog act of the response"
    return titles
