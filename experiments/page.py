"""The page of an experiment: what was found beside the paper's figures, as Markdown and as JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dialog_cvae.storage.files import write_atomically
from eval.report import markdown_table
from experiments.measures import as_json
from experiments.plan import Asked, Budget, Experiment, Fitted
from training import arguments
from training.sweep.cells import option, seeds_option
from training.sweep.summary import Estimate

NOTHING = "–"
INTERVAL = "Ours: mean ± half of the 95% interval (Student's t) over seeds; one seed has no interval."


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: above it; empty for the first.
        lines: Markdown.
    """

    title: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Page:
    """All that is shown.

    Attributes:
        experiment, asked: what was done.
        sections: one after the other; the first is printed.
        plots: titles by file, which lies in the folder.
        content: the figures, for JSON.
    """

    experiment: Experiment
    asked: Asked
    sections: Sequence[Section]
    plots: Mapping[str, str] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict)


Column = tuple[str, str, int]
"""Name of a figure, its title, and how many decimals it is shown with."""


def table(
    rows: Sequence[Fitted],
    found: Mapping[str, Mapping[str, Estimate]],
    columns: Sequence[Column],
) -> list[str]:
    """A row of ours for each variant, and below it the paper's where it has one."""
    lines = []
    for each in rows:
        own = found.get(each.row.key, {})
        seeds = f"{len(each.cells)}" if len(each.cells) == each.asked else f"{len(each.cells)} of {each.asked}"
        lines.append([each.row.name, seeds, *(shown(own.get(name), digits) for name, _, digits in columns)])
        if each.row.paper:
            paper = (each.row.paper.get(name) for name, _, _ in columns)
            values = (NOTHING if value is None else f"{value:g}" for value in paper)
            lines.append(["– the paper's", "", *values])
    return markdown_table(["row", "seeds", *(title for _, title, _ in columns)], lines)


def shown(value: Estimate | None, digits: int = 2) -> str:
    """A mean and half its interval, or that there is none."""
    if value is None:
        return NOTHING
    half = "" if value.half is None else f" ± {value.half:.{digits}f}"
    return f"{value.mean:.{digits}f}{half}"


def facts(experiment: Experiment, asked: Asked, budget: Budget) -> list[str]:
    """What was done, for the head of the page."""
    seeds = ",".join(map(str, asked.seeds))
    given = {name: value for name, value in arguments.flat(asked.given).items() if name != "corpus.dir"}
    over = ", ".join(f"`{name}` {value}" for name, value in given.items())
    command = ["python", "-m", "experiments", experiment.name, f"--size={asked.size}"]
    command += [f"--seeds={seeds_option(asked.seeds)}"]
    command += [f"--rows={asked.rows}"] if asked.rows else []
    command += [option(name, value) for name, value in given.items()]
    best = all(row.best for row in experiment.rows)
    weights = "best validation's weights" if best else "last update's weights unless a row says otherwise"
    return [
        f"- Size `{asked.size}`: {budget.about}",
        *([f"- Over that, in every row: {over}."] if given else []),
        f"- Recipe `{budget.recipe}`; seeds {seeds}; figures are of the {weights}, on the test split.",
        f"- `{shlex.join(command)}`",
    ]


def write(page: Page) -> str:
    """Write `OUT/NAME.md` and `OUT/NAME.json`; returns the first section's text.

    Raises:
        DialogCvaeError: they cannot be written.
    """
    out, name = page.asked.out, page.experiment.name
    parts = [f"# {page.experiment.title}"]
    for section in page.sections:
        parts += [f"## {section.title}"] if section.title else []
        parts += ["\n".join(section.lines)]
    parts += [f"![{title}]({file})" for file, title in page.plots.items()]
    write_atomically(out / f"{name}.md", ("\n\n".join(parts) + "\n").encode())
    content = {
        "experiment": name,
        "size": page.asked.size,
        "seeds": list(page.asked.seeds),
        "paper": {row.key: dict(row.paper) for row in page.experiment.rows if row.paper},
        **page.content,
    }
    text = json.dumps(as_json(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(out / f"{name}.json", f"{text}\n".encode())
    return "\n".join(page.sections[0].lines)
