"""The results of a sweep: the best validation of each cell, and for each variant mean and interval over seeds.

Open this to change which figures a sweep reports.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dialog_cvae.errors import DataError
from dialog_cvae.storage import checkpoint_files
from dialog_cvae.storage.checkpoint_files import BEST
from dialog_cvae.storage.files import write_atomically
from training.sweep.cells import Cell

JSON_FILE, MARKDOWN_FILE = "sweep.json", "sweep.md"
CONFIDENCE = 0.95
# Names of metrics in a checkpoint and in tables; `dialog_cvae.model.elbo.ElboReport` defines them.
MEASURES = {
    "elbo": "ELBO",
    "reconstruction": "reconstruction",
    "kl": "KL",
    "rec_perplexity": "reconstruction perplexity",
    "perplexity_bound": "perplexity bound",
    "active_units": "active units",
    "nats_from_z": "nats from z",
    "bag_of_words": "bag of words",
}


@dataclass(frozen=True, slots=True)
class CellResult:
    """The result of a cell.

    Attributes:
        cell: the cell.
        folder: of its run.
        status: also "stopped" if the sweep stopped before the cell started.
        reason: of a failure.
        step: number of updates in its saved state.
        data: fingerprint of its conversations; None if the cell never started.
        total_steps: T, the number of updates planned; None if the cell never started.
        figures: figures of its best validation, by name, in nats per response if they are nats; empty unless done.
    """

    cell: Cell
    folder: Path
    status: Literal["done", "failed", "stopped"]
    reason: str = ""
    step: int = 0
    data: str | None = None
    total_steps: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


class Estimate(NamedTuple):
    """A mean over seeds.

    Attributes:
        mean: over the seeds.
        half: half the width of its 95% interval by Student's t; None for a single seed.
        n: number of seeds.
    """

    mean: float
    half: float | None
    n: int

    def text(self, digits: int = 2) -> str:
        """The mean and, if it exists, half the interval, with `digits` decimals."""
        half = "" if self.half is None else f" ± {self.half:.{digits}f}"
        return f"{self.mean:.{digits}f}{half}"

    def __str__(self) -> str:
        return self.text()


class Variant(NamedTuple):
    """A variant's cells, summarised over seeds.

    Attributes:
        variation: its values by short option name.
        asked: number of its cells.
        done: number of its cells that are done.
        measures: estimates by name.
    """

    variation: Mapping[str, str]
    asked: int
    done: int
    measures: Mapping[str, Estimate]


def best_figures(folder: Path) -> dict[str, float]:
    """The finite figures of a finished run's best validation.

    Raises:
        DataError: the file with them is missing or broken.
    """
    path = folder / BEST / checkpoint_files.METRICS
    try:
        content = json.loads(path.read_bytes())
        known = {name: float(content[name]) for name in MEASURES if content.get(name) is not None}
        return {name: value for name, value in known.items() if math.isfinite(value)}
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(path, f"broken ({error})") from None


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and half the 95% interval, t s / sqrt(n), with s the sample standard deviation. Needs at least one value."""
    n = len(values)
    if n == 1:
        return Estimate(values[0], None, 1)
    from scipy.stats import t  # takes a second to load, and is needed only at the end

    quantile = float(t.ppf((1 + CONFIDENCE) / 2, n - 1))
    return Estimate(statistics.fmean(values), quantile * statistics.stdev(values) / math.sqrt(n), n)


def variants(results: Sequence[CellResult]) -> list[Variant]:
    """The cells summarised over their seeds, in the order of the variants."""
    groups: defaultdict[tuple[tuple[str, str], ...], list[CellResult]] = defaultdict(list)
    for result in results:
        groups[tuple(result.cell.variation.items())].append(result)
    found = []
    for variation, members in groups.items():
        done = [member.figures for member in members if member.status == "done"]
        columns = {name: [figures[name] for figures in done if name in figures] for name in MEASURES}
        measures = {name: estimate(values) for name, values in columns.items() if values}
        found.append(Variant(dict(variation), len(members), len(done), measures))
    return found


def markdown(results: Sequence[CellResult]) -> str:
    """The table over seeds, then notes on what is missing or makes rows hard to compare."""
    rows = variants(results)
    axes = list(rows[0].variation)
    measures = [name for name in MEASURES if any(name in row.measures for row in rows)]
    head = [*(axes or ["recipe"]), "seeds", *(MEASURES[name] for name in measures)]
    lines = [_line(head), _line(["---"] * len(axes or [0]) + ["---:"] * (1 + len(measures)))]
    for row in rows:
        labels = list(row.variation.values()) or [results[0].cell.recipe]
        seeds = str(row.done) if row.done == row.asked else f"{row.done} of {row.asked}"
        lines.append(_line([*labels, seeds, *(str(row.measures.get(name, "–")) for name in measures)]))
    lines += ["", "Best validation of each run: mean ± half of the 95% interval (Student's t) over seeds."]
    lines += [f"\n{note}" for note in notes(results)]
    return "\n".join(lines) + "\n"


def notes(results: Sequence[CellResult]) -> list[str]:
    """Notes on failed cells, and on cells that differ though their configurations do not say so.

    These have the same corpus but different conversations, or the same duration but different numbers of updates.
    """
    found = [f"Failed: {result.cell.name}: {result.reason}" for result in results if result.status == "failed"]
    fitted: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for result in results:
        config = result.cell.config
        named = [config.corpus.model_dump_json(exclude={"dir"}), config.tokenizer.model_dump_json()]
        key = json.dumps([*named, config.model.max_utterance_tokens, str(result.cell.init)])
        if result.data is not None:
            fitted[key].setdefault(result.data, result.cell.name)
    for names in fitted.values():
        if len(names) > 1:
            found.append(f"Not comparable: fitted on different conversations: {' and '.join(names.values())}")
    return [*found, *_notes_on_minutes(results)]


def _notes_on_minutes(results: Sequence[CellResult]) -> list[str]:
    """A note if a limit of minutes gave cells different numbers of updates, as it does on a busy machine."""
    planned: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for result in results:
        train = result.cell.config.train
        if train.max_minutes is not None and result.total_steps is not None:
            duration = json.dumps([train.epochs, train.max_steps, train.max_minutes, train.batch_size])
            planned[duration].setdefault(result.total_steps, result.cell.name)
    return [
        f"Not of one length: --max-minutes allowed from {min(names):,} updates ({names[min(names)]}) to {max(names):,} "
        f"({names[max(names)]}), and schedules end with these; give --max-steps instead"
        for names in planned.values()
        if len(names) > 1
    ]


def write(results: Sequence[CellResult], out: Path) -> str:
    """Write `OUT/sweep.json` and `OUT/sweep.md`; returns the text of `sweep.md`.

    Raises:
        DialogCvaeError: a file cannot be written.
    """
    content: dict[str, Any] = {
        "cells": [
            {
                "name": result.cell.name,
                "variation": dict(result.cell.variation),
                "seed": result.cell.seed,
                "status": result.status,
                "reason": result.reason,
                "step": result.step,
                "figures": dict(result.figures),
                "command": result.cell.command(result.folder),
            }
            for result in results
        ],
        "variants": [
            row._asdict() | {"measures": {name: value._asdict() for name, value in row.measures.items()}}
            for row in variants(results)
        ],
        "notes": notes(results),
    }
    text = markdown(results)
    write_atomically(out / JSON_FILE, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())
    write_atomically(out / MARKDOWN_FILE, text.encode())
    return text


def _line(parts: Sequence[str]) -> str:
    return f"| {' | '.join(part.replace('|', chr(92) + '|') for part in parts)} |"
