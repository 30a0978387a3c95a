"""The page of an experiment: what was found beside the paper's figures, as Markdown and as JSON.

Open it to change what is on every page, or the shape of the JSON; `experiments.framework.tables` has the tables.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from dialog_cvae.storage.files import write_atomically
from experiments.framework.effects import Contrast, Effect
from experiments.framework.rows import Layer, Result
from training import arguments
from training.sweep.cells import option
from training.sweep.summary import Estimate

Effects = Sequence[tuple[Contrast, Sequence[Effect]]]


class Section(NamedTuple):
    """A part of a page.

    Attributes:
        title: heading; empty for none.
        blocks: paragraphs, lists and tables, each the lines of its Markdown.
        level: of the heading.
    """

    title: str
    blocks: Sequence[Sequence[str]]
    level: int = 2

    def __str__(self) -> str:
        return "\n\n".join("\n".join(block) for block in self.blocks)


@dataclass(frozen=True)
class Page:
    """All that an experiment shows.

    Attributes:
        name: of its files.
        title: heading.
        sections: in order; the first is printed too.
        content: all figures, for JSON.
        failures: why rows could not be measured, by name.
    """

    name: str
    title: str
    sections: Sequence[Section]
    content: Mapping[str, Any] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)


def write(page: Page, out: Path) -> str:
    """Write `OUT/NAME.md` and `OUT/NAME.json`; returns the text of the former.

    Raises:
        DialogCvaeError: they cannot be written.
    """
    parts = [f"# {page.title}"]
    for section in page.sections:
        parts += [f"{'#' * section.level} {section.title}"] if section.title else []
        parts += [str(section)] if section.blocks else []
    text = "\n\n".join(parts) + "\n"
    content = as_json({"experiment": page.name, **page.content})
    write_atomically(out / f"{page.name}.md", text.encode())
    serialised = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(out / f"{page.name}.json", f"{serialised}\n".encode())
    return text


def bullets(lines: Sequence[str]) -> list[str]:
    """A list in Markdown."""
    return [f"- {line}" for line in lines]


def pictures(plots: Mapping[str, str]) -> Section:
    """A section of plots, given titles by file."""
    return Section("", [[f"![{title}]({file})"] for file, title in plots.items()])


def command(name: str, options: Sequence[str], given: Layer) -> str:
    """The command that repeats an experiment, without folders of this machine.

    Args:
        name: of the experiment.
        options: its own, as they are typed.
        given: fields of the configuration.
    """
    fields = [option(field, value) for field, value in shown_fields(given).items()]
    return f"`{shlex.join(['python', '-m', 'experiments', name, *options, *fields])}`"


def shown_fields(given: Layer) -> dict[str, Any]:
    """Fields by dotted name, without the folder of the data."""
    return {name: value for name, value in arguments.flat(given).items() if name != "corpus.dir"}


def row_content(result: Result) -> dict[str, Any]:
    """All figures of a row, for JSON."""
    return {
        "key": result.row.key,
        "name": result.row.name,
        "paper": dict(result.row.paper) or None,
        "mean": result.estimates,
        "seeds": result.figures,
    }


def effects_content(effects: Effects) -> list[dict[str, Any]]:
    """All effects, for JSON."""
    return [
        {
            "contrast": contrast.name,
            "measures": {
                effect.measure.name: {
                    "mean": effect.mean,
                    **({} if effect.over_conversations is None else effect.over_conversations._asdict()),
                    "over_seeds": effect.over_seeds,
                }
                for effect in found
            },
        }
        for contrast, found in effects
    ]


def as_json(value: Any) -> Any:
    """Estimates as objects, keys as text, numbers that are not finite as None, everything else as it is."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Estimate):
        return value._asdict()
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    return value
