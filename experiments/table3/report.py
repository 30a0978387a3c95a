"""The page of Table 3: what was found, in Markdown and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dialog_cvae.storage.files import write_atomically
from eval.evaluation import Evaluation
from eval.measures import DIVERSITY, FURTHER, MAIN, PAPER, STRATA, Measure, flat
from eval.report import markdown_table
from experiments.table3.cells import Variant
from experiments.table3.contrasts import Contrast, Effect
from training.sweep.summary import Estimate, estimate

JSON_FILE, MARKDOWN_FILE = "table3.json", "table3.md"
NOTHING = "–"


@dataclass(frozen=True)
class Row:
    """A line of the tables.

    Attributes:
        name: for people.
        variant: of a cell; None for all other rows.
        evaluations: by seed.
        asked: seeds that were asked for; 0 of a row that no seed belongs to.
    """

    name: str
    variant: Variant | None
    evaluations: Mapping[int, Evaluation]
    asked: int = 0

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Mean and interval over the seeds of every figure that all of them have."""
        figures = [flat(evaluation.figures) for evaluation in self.evaluations.values()]
        if not figures:
            return {}
        return {
            name: estimate([one[name] for one in figures]) for name in figures[0] if all(name in f for f in figures)
        }


@dataclass(frozen=True)
class Page:
    """All that is shown.

    Attributes:
        facts: what was fitted and evaluated on what, a sentence each.
        rows: cells first.
        effects: of each contrast.
        notes: what is missing, failed, or makes rows hard to compare.
        about_models: how what the models know was measured.
        samples: a table of replies in Markdown; empty without models to compare.
        plots: titles by file.
        settings: as JSON.
    """

    facts: Sequence[str]
    rows: Sequence[Row]
    effects: Sequence[tuple[Contrast, Sequence[Effect]]]
    notes: Sequence[str]
    about_models: str
    samples: str
    plots: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)


ABOUT_MAIN = (
    "Our figure: mean ± half of the 95% interval (Student's t) over seeds. Rec-P and KL are over the windows that the "
    "official loader keeps, Rec-P a mean over its batches. B4 is BLEU-4 by the smoothing of NLTK up to 3.4.5, which "
    "the paper used, and by today's. The paper's figures are against its published test set, with several references "
    "for each context. Against references that were built, or the one reply that was said, the level is another: "
    "compare the order of rows, and each row with those without a model, not our values with the paper's."
)
ABOUT_EFFECTS = (
    "The scores of a context are averaged over seeds, then weighed as the title says. Interval and p are those of a "
    "paired bootstrap over conversations (10,000 resamples), p also adjusted by Holm's method over the measures of a "
    "contrast; both take the seeds as they are. The last column takes the conversations as they are: mean ± half of "
    "the 95% interval over seeds. An effect to be believed shows in both."
)


def write(page: Page, out: Path) -> str:
    """Write `OUT/table3.md` and `OUT/table3.json`; returns the former's text.

    Raises:
        DialogCvaeError: they cannot be written.
    """
    text = markdown(page)
    content = json.dumps(as_json(page), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(out / JSON_FILE, f"{content}\n".encode())
    write_atomically(out / MARKDOWN_FILE, text.encode())
    return text


def markdown(page: Page) -> str:
    """The page for people."""
    parts = ["# Table 3", "\n".join(f"- {fact}" for fact in page.facts)]
    parts += ["\n".join(main_table(page.rows)), ABOUT_MAIN]
    if page.notes:
        parts += ["\n".join(f"- {note}" for note in page.notes)]
    parts += ["## What the models know", "\n".join(table(page.rows, FURTHER)), page.about_models]
    parts += ["## How replies differ", "\n".join(table(page.rows, DIVERSITY))]
    parts += ["## Where replies match", "\n".join(table(page.rows, STRATA))]
    if page.effects:
        parts += ["## Differences", ABOUT_EFFECTS]
    for contrast, effects in page.effects:
        parts += [f"### {contrast.name}", "\n".join(effects_table(effects))]
    for file, title in page.plots.items():
        parts += [f"![{title}]({file})"]
    if page.samples:
        parts += ["## Samples", page.samples]
    return "\n\n".join(parts) + "\n"


def main_table(rows: Sequence[Row]) -> list[str]:
    """The paper's table: below each row that it has, its figures and the differences from them."""
    lines = []
    measures = [measure for measure in MAIN if any(measure.name in row.estimates for row in rows)]
    for row in rows:
        found = row.estimates
        lines.append([row.name, _seeds(row), *(_shown(found.get(measure.name), measure) for measure in measures)])
        paper = PAPER[row.variant.bow, row.variant.schedule] if row.variant and row.variant.on_diagonal else None
        if paper is not None:
            lines.append(["– the paper", "", *(_number(paper.get(measure.name), measure) for measure in measures)])
            gaps = [_gap(found.get(measure.name), paper.get(measure.name)) for measure in measures]
            signed = (_number(gap, one, sign="+") for gap, one in zip(gaps, measures, strict=True))
            lines.append(["– ours less the paper's", "", *signed])
    return markdown_table(["", "seeds", *(measure.label for measure in measures)], lines)


def table(rows: Sequence[Row], measures: Sequence[Measure]) -> list[str]:
    """Rows that have any of these measures, and measures that any of them has."""
    found = {row.name: row.estimates for row in rows}
    columns = [measure for measure in measures if any(measure.name in one for one in found.values())]
    lines = [
        [row.name, *(_shown(found[row.name].get(measure.name), measure) for measure in columns)]
        for row in rows
        if any(measure.name in found[row.name] for measure in columns)
    ]
    return markdown_table(["", *(measure.label for measure in columns)], lines)


def effects_table(effects: Sequence[Effect]) -> list[str]:
    """A line for each measure."""
    lines = [
        [
            effect.measure.label,
            _number(effect.mean, effect.measure, sign="+"),
            f"{_number(effect.low, effect.measure, sign='+')} to {_number(effect.high, effect.measure, sign='+')}",
            _p(effect.p),
            _p(effect.adjusted),
            _shown(effect.over_seeds, effect.measure),
        ]
        for effect in effects
    ]
    return markdown_table(["", "effect", "95% interval", "p", "p (Holm)", "over seeds"], lines)


def as_json(page: Page) -> dict[str, Any]:
    """All figures."""
    return {
        "settings": page.settings,
        "facts": list(page.facts),
        "rows": [
            {
                "name": row.name,
                "variant": None if row.variant is None else row.variant._asdict(),
                "paper": PAPER[row.variant.bow, row.variant.schedule]
                if row.variant is not None and row.variant.on_diagonal
                else None,
                "mean": {name: value._asdict() for name, value in row.estimates.items()},
                "seeds": {str(seed): flat(evaluation.figures) for seed, evaluation in row.evaluations.items()},
            }
            for row in page.rows
        ],
        "effects": [
            {
                "contrast": contrast.name,
                "measures": {
                    effect.measure.name: {
                        **{
                            name: value
                            for name, value in effect._asdict().items()
                            if name not in ("measure", "over_seeds")
                        },
                        "over_seeds": effect.over_seeds._asdict(),
                    }
                    for effect in effects
                },
            }
            for contrast, effects in page.effects
        ],
        "notes": list(page.notes),
    }


def _seeds(row: Row) -> str:
    done = len(row.evaluations)
    return "" if not row.asked else str(done) if done == row.asked else f"{done} of {row.asked}"


def _shown(value: Estimate | None, measure: Measure) -> str:
    if value is None:
        return NOTHING
    half = "" if value.half is None else f" ± {value.half:.{measure.digits}f}"
    return f"{value.mean:.{measure.digits}f}{half}"


def _number(value: float | None, measure: Measure, sign: str = "") -> str:
    return NOTHING if value is None or not math.isfinite(value) else f"{value:{sign}.{measure.digits}f}"


def _gap(ours: Estimate | None, paper: float | None) -> float | None:
    return None if ours is None or paper is None else ours.mean - paper


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0005 else "< 0.0005"
