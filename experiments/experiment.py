"""Experiments with a budget by size: what each of them declares, and the command line that all of them share.

Open it to see what a size costs, what --rows does, or how an experiment is declared; `experiments.cycles` is short.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import torch

from dialog_cvae.cli import Parser, exit_status
from dialog_cvae.errors import ConfigError
from experiments.framework import command_line
from experiments.framework.fitting import Fitted
from experiments.framework.page import Page, Section, bullets, command, row_content, shown_fields
from experiments.framework.rows import Layer, Result, Row, Run, named, results_of, runs_of
from experiments.framework.tables import INTERVAL
from experiments.measures import measured
from training import arguments
from training.device import device_of
from training.sweep.cells import seeds_option, short_name
from training.sweep.run import FitFields

SizeName = Literal["smoke", "small", "medium", "paper"]
DESCRIPTION = """\
{title}.

Fits what is missing, measures it, prints the paper's figures below ours and writes OUT/{name}.md, OUT/{name}.json and
plots. The values of --size:

{sizes}

  python -m experiments {name} --size smoke
  python -m experiments {name} --seeds 3 --rows {some}

Each cell is an ordinary run of training.fit in OUT/fits; its options hold for all cells. The same command again
continues; Ctrl-C stops it.
"""


ABOUT_SIZES: Mapping[SizeName, str] = {
    "smoke": "a tiny network, to see in seconds that everything runs",
    "small": "for one core",
    "medium": "the paper's network, fewer passes",
    "paper": "the paper's constants",
}


class Budget(NamedTuple):
    """The settings that decide what an experiment of one size costs.

    Attributes:
        recipe: configuration that the cells start from.
        layer: fields that replace the recipe's.
        seeds: number of seeds by default.
        draws: draws of z for the importance-weighted likelihood.
        scored: number of test examples, at most, on which that likelihood and the mutual information are measured.
        about: a description in one sentence.
        by_row: fields that replace a row's own, by its key.
    """

    recipe: str
    layer: Layer
    seeds: int
    draws: int
    scored: int
    about: str
    by_row: Mapping[str, Layer] = {}


@dataclass(frozen=True)
class Experiment:
    """Rows and budgets, and how they are reported.

    Attributes:
        name: of the subcommand and the files.
        title: of the page.
        rows: lines of the table.
        budgets: by size.
        report: measures what the table does not show, draws, and makes the page.
        settings: what else decides its results, by size; as JSON.
        size: by default.
        check: raises a ConfigError if the report cannot be made of these fits.
    """

    name: str
    title: str
    rows: Sequence[Row]
    budgets: Mapping[SizeName, Budget]
    report: Callable[[Study, Sequence[Result]], Page]
    settings: Mapping[SizeName, Mapping[str, Any]] = field(default_factory=dict)
    size: SizeName = "small"
    check: Callable[[Sequence[Run]], None] = lambda runs: None

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Run its command line; returns its exit status."""
        return exit_status(lambda: _run(self, argv), f"interrupted; {command_line.AGAIN}")


@dataclass(frozen=True)
class Study:
    """An experiment as the command line asks for it.

    Attributes:
        experiment: with the chosen rows.
        size: which budget.
        options: what all experiments are asked.
        chosen: --rows as it was given; empty for all.
        notes: what is missing or failed.
    """

    experiment: Experiment
    size: SizeName
    options: command_line.Options
    chosen: str = ""
    notes: Sequence[str] = ()

    @property
    def budget(self) -> Budget:
        """The budget of its size."""
        return self.experiment.budgets[self.size]

    @property
    def settings(self) -> Mapping[str, Any]:
        """Further settings of its size that its results depend on."""
        return self.experiment.settings.get(self.size, {})

    @property
    def runs(self) -> list[Run]:
        """All fits.

        Raises:
            ConfigError: the fields contradict each other, or one is given that the rows set themselves.
        """
        budget, asked = self.budget, self.options
        for name in arguments.flat(asked.given):
            if setting := [row.key for row in self.experiment.rows if name in arguments.flat(row.layer)]:
                raise ConfigError(
                    f"{short_name(name)}: some rows have values of their own ({', '.join(setting)}), but one is given"
                )
        rows = [
            row._replace(layer=arguments.merge(row.layer, budget.by_row.get(row.key, {})))
            for row in self.experiment.rows
        ]
        runs = runs_of(rows, budget.recipe, asked.seeds, asked.out, below=[budget.layer], above=[asked.given])
        self.experiment.check(runs)
        return runs

    @property
    def facts(self) -> list[str]:
        """What was done, and the command that repeats it."""
        seeds, given = self.options.seeds, self.options.given
        over = ", ".join(f"`{name}` {value}" for name, value in shown_fields(given).items())
        own = [f"--size={self.size}", f"--seeds={seeds_option(seeds)}"]
        own += [f"--rows={self.chosen}"] if self.chosen else []
        best = all(row.best for row in self.experiment.rows)
        weights = "best validation's weights" if best else "last update's weights unless a row says otherwise"
        return [
            f"Size `{self.size}`: {self.budget.about}",
            *([f"Over that, in every row: {over}."] if over else []),
            f"Recipe `{self.budget.recipe}`; seeds {','.join(map(str, seeds))}; figures are of the {weights}, on the "
            "test split.",
            command(self.experiment.name, own, given),
        ]

    def opening(self, lines: Sequence[str], about: str, interval: str = INTERVAL) -> Section:
        """The first section: the facts, a table, what its intervals and figures mean, and what is missing."""
        blocks = [bullets(self.facts), lines, [interval], about.splitlines(), bullets(self.notes)]
        return Section("", [block for block in blocks if block])

    def page(self, results: Sequence[Result], sections: Sequence[Section], **content: Any) -> Page:
        """The page, with all figures of the rows among its content."""
        shared = {
            "size": self.size,
            "seeds": list(self.options.seeds),
            "facts": self.facts,
            "rows": [row_content(result) for result in results],
            "notes": list(self.notes),
        }
        return Page(self.experiment.name, self.experiment.title, sections, {**shared, **content})


def _run(experiment: Experiment, argv: Sequence[str] | None) -> int:
    study = parse_study(experiment, argv)
    device = device_of(study.options.device)

    def report(fitted: Fitted) -> Page:
        results = results_of(study.experiment.rows, fitted.finished, len(study.options.seeds))
        found = replace(study, notes=fitted.notes())
        return experiment.report(found, [_measured(result, study.budget, device) for result in results])

    return command_line.carry_out(study.runs, study.options, report)


def _measured(result: Result, budget: Budget, device: torch.device) -> Result:
    """A row with the figures of every finished run."""
    figures = {
        seed: measured(one.folder, budget.draws, budget.scored, best=result.row.best, device=device)
        for seed, one in result.runs.items()
    }
    return replace(result, figures=figures)


def parse_study(experiment: Experiment, argv: Sequence[str] | None) -> Study:
    """What the command line asks for.

    Raises:
        ConfigError: the options contradict each other.
    """
    args, given = arguments.parse_with(_parser(experiment), FitFields, argv)
    size: SizeName = args.size or experiment.size
    out, seeds = f"runs/{experiment.name}-{size}", str(experiment.budgets[size].seeds)
    asked = command_line.options(args, given, out=out, seeds=seeds, in_process=size == "smoke")
    if args.rows is not None:
        experiment = replace(experiment, rows=named(experiment.rows, args.rows, "rows"))
    return Study(experiment, size, asked, args.rows or "")


def _parser(experiment: Experiment) -> Parser:
    name, keys = experiment.name, [row.key for row in experiment.rows]
    sizes = "\n".join(f"  {size:<8}{ABOUT_SIZES[size]}" for size in experiment.budgets)
    description = DESCRIPTION.format(title=experiment.title, name=name, some=",".join(keys[:2]), sizes=sizes)
    found = command_line.parser(name, description, out=f"runs/{name}-SIZE", seeds="the size's")
    found.add_argument("--size", choices=tuple(experiment.budgets), help=f"budget (default: {experiment.size})")
    found.add_argument("--rows", metavar="KEY,KEY", help=f"rows to fit and show (default: all): {', '.join(keys)}")
    return found
