"""The page of Table 3: its tables, effects, notes, plots and samples.

Open it to change what the page says; `experiments.table3.measures` has its columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from eval.contexts import count_contexts, reply_texts, windows
from eval.evaluation import Evaluation
from eval.measures import DIVERSITY, MAIN
from eval.report import comparison_table
from experiments.framework.effects import Contrast, Effect, effects
from experiments.framework.page import Page, Section, bullets, effects_content, pictures, row_content
from experiments.framework.tables import effects_table, further_table, table
from experiments.table3.cells import VARIANTS, Variant, square
from experiments.table3.evaluated import Evaluated
from experiments.table3.measures import FURTHER, STRATA, TESTED
from experiments.table3.page_plots import draw
from training.state import Progress, load_progress

NAME = "table3"
ABOUT_MAIN = (
    "Our figure: mean ± half of the 95% interval (Student's t) over seeds. Rec-P and KL are over the windows that the "
    "official loader keeps, Rec-P a mean over its batches. B4 is BLEU-4 by the smoothing of NLTK up to 3.4.5, which "
    "the paper used, and by today's. The paper's figures are against its published test set, with several references "
    "for each context. Against references that were built, or the one reply that was said, the level is another: "
    "compare the order of rows, and each row with those without a model, not our values with the paper's."
)
ABOUT_EFFECTS = (
    "The scores of a context are averaged over seeds, then weighted as the title says. Interval and p are those of a "
    "paired bootstrap over conversations (10,000 resamples), p also adjusted by Holm's method over the measures of a "
    "contrast; both take the seeds as they are. The last column takes the conversations as they are: mean ± half of "
    "the 95% interval over seeds. Believe an effect that shows in both."
)
RETRIEVED = (
    "The references were built from the replies to similar training contexts. So the two rows of nearest neighbours "
    "are scored against themselves: judge them by what was said alone, below. And the other references are retrieved "
    "replies too, no measure of people."
)


def assembled(found: Evaluated, out: Path) -> Page:
    """The page; its plots are drawn into `out`."""
    facts, notes, results = _facts(found), _notes(found), found.results
    compared = _effects(found)
    opening = [bullets(facts), table(results, MAIN, difference=True), [ABOUT_MAIN], bullets(notes)]
    sections = [
        Section("", [block for block in opening if block]),
        Section("What the models know", [further_table(results, FURTHER), [_about_models(found)]]),
        Section("How replies differ", [further_table(results, DIVERSITY)]),
        Section("Where replies match", [further_table(results, STRATA)]),
        *([Section("Differences", [[ABOUT_EFFECTS]])] if compared else []),
        *(Section(contrast.name, [effects_table(own)], level=3) for contrast, own in compared),
        pictures(draw(found, out)),
        *_samples(found),
    ]
    content = {
        "settings": found.settings.model_dump(mode="json"),
        "facts": facts,
        "rows": [{**row_content(one), "variant": _varied(VARIANTS.get(one.row.key))} for one in results],
        "effects": effects_content(compared),
        "notes": notes,
    }
    return Page(NAME, "Table 3", sections, content, found.failures)


def questions() -> list[Contrast]:
    """What is asked of the cells: C - M at each learning rate, on the paper's diagonal, and the 2 x 2."""
    asked = []
    for bow in (False, True):
        cells = square(bow)
        weights = {
            "the paper's C - M: β and η together": cells.together,
            "C - M of β, constant η": cells.first_alone,
            "C - M of β, cyclical η": cells.first_given_second,
            "main effect of β": cells.main_first,
            "main effect of η": cells.main_second,
            "interaction of β and η": cells.interaction,
        }
        model = VARIANTS[cells.neither].model
        asked += [Contrast(f"{model}: {name}", each) for name, each in weights.items()]
    return asked


def _varied(variant: Variant | None) -> dict[str, object] | None:
    return None if variant is None else variant._asdict()


def _effects(found: Evaluated) -> list[tuple[Contrast, list[Effect]]]:
    """The questions that the finished cells answer."""
    scores = {result.row.key: {seed: one.columns for seed, one in found.of(result).items()} for result in found.cells}
    conversations = [window.conversation.id for window in windows(found.held_out.conversations)]
    seed = found.settings.seed
    tested = ((one, effects(one, scores, TESTED, conversations, seed=seed)) for one in questions())
    return [(contrast, own) for contrast, own in tested if own]


def _facts(found: Evaluated) -> list[str]:
    """What was fitted and evaluated on what, and the command that repeats it."""
    held_out, settings, decoding = found.held_out, found.settings, found.settings.decoding
    facts = []
    if found.runs:
        cell, progress = found.runs[0].cell, [load_progress(run.folder) for run in found.runs]
        train, replies = cell.config.train, len(reply_texts(held_out.train or ()))
        steps = sorted({one.step for one in progress})
        updates = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
        passes = f", {steps[-1] * train.batch_size / replies:.2f} passes over {replies:,} windows" if replies else ""
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
    return [*facts, f"References: {found.references}.", f"Word vectors: {vectors}.", found.command]


def _about_models(found: Evaluated) -> str:
    """How what the models know was measured, with the sizes that decide what a figure means."""
    figures = [one.figures for one in found.evaluations.values() if isinstance(one, Evaluation)]
    mixture = next((one for one in figures if "mutual_information_cap" in one), None)
    weighted = next((one for one in figures if "iw_samples" in one), None)
    parts = ["Over all responses, in nats for each. Nats from z: reconstruction lost when z comes from the prior."]
    if mixture is not None:
        count, cap = mixture["mutual_information_windows"], mixture["mutual_information_cap"]
        parts.append(
            f"MI: I(z; window) with the aggregate posterior as a mixture over {count:,} windows, plug-in (at most "
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


def _notes(found: Evaluated) -> list[str]:
    """What is missing or failed, and what makes rows hard to compare."""
    notes = [RETRIEVED] if found.built else []
    notes += found.fitted.notes(found.failures)
    progress = {run.name: load_progress(run.folder) for run in found.runs}
    notes += _unlike(progress, "number of updates", lambda one: f"{one.step:,}")
    notes += _unlike(progress, "training conversations", lambda one: one.data[:8])
    return notes


def _unlike(progress: Mapping[str, Progress], what: str, value: Callable[[Progress], str]) -> list[str]:
    """A note if cells differ in what they should share."""
    first: dict[str, str] = {}
    for name, one in progress.items():
        first.setdefault(value(one), name)
    return [f"Not comparable: unequal {what}: {' and '.join(first.values())}"] if len(first) > 1 else []


def _samples(found: Evaluated) -> Sequence[Section]:
    """Replies of the paper's M and C side by side, as in its Table 2; nothing if there are no such two."""
    for seed, evaluations in found.pairs[:1]:
        replies = comparison_table({name: one.answered for name, one in evaluations.items()})
        return [Section("Samples", [[f"Of the runs with seed {seed}. {replies}"]])]
    return []
