"""The paper's experiments beside the dialogs: `python -m experiments --help`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from dialog_cvae.cli import Parser, exit_status, whole
from dialog_cvae.errors import ConfigError
from experiments import cycles, ptb, remedies, toy, yelp
from experiments.page import Page, write
from experiments.plan import SIZES, Asked, Experiment, Fitted, SizeName, fitted
from training import arguments
from training.sweep.cells import parse_seeds
from training.sweep.run import FitFields

DESCRIPTION = """\
The paper's experiments beside the dialogs, and the remedies that it compares with or that came after. Each fits what is
missing, measures it, prints the paper's figure beside ours and writes OUT/NAME.md, OUT/NAME.json and plots.

  python -m experiments toy                 section 4: ten sequences in a latent plane
  python -m experiments ptb                 section 6.1: Table 1, Figure 5; Table 4
  python -m experiments yelp                section 6.3: Figure 6; a map of latent codes
  python -m experiments cycles              the supplement's study of M, R and the shape
  python -m experiments remedies            free bits and its like, at one budget

--size paper has the paper's constants, small is for one core, smoke shows in seconds that everything runs. The options
of training.fit hold for all cells. The same command again goes on; Ctrl-C stops it.
Exit status: 0 all is done, 1 something failed, 2 refused, 130 interrupted.
"""


class Entry(NamedTuple):
    """An experiment, how it is reported, and its default size."""

    experiment: Experiment
    report: Callable[[Experiment, Asked, Sequence[Fitted]], Page]
    size: SizeName = "small"


ENTRIES: Mapping[str, Entry] = {
    "toy": Entry(toy.EXPERIMENT, toy.report, "paper"),
    "ptb": Entry(ptb.EXPERIMENT, ptb.report),
    "yelp": Entry(yelp.EXPERIMENT, yelp.report),
    "cycles": Entry(cycles.EXPERIMENT, cycles.report),
    "remedies": Entry(remedies.EXPERIMENT, remedies.report),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    return exit_status(lambda: _run(argv), "interrupted; the same command goes on")


def _run(argv: Sequence[str] | None) -> int:
    args, given = arguments.parse_with(_parser(), FitFields, argv)
    entry = ENTRIES[args.experiment]
    entry = entry._replace(experiment=chosen(entry.experiment, args.rows))
    asked = asked_for(args, given, entry)
    rows, failures, stopped = fitted(entry.experiment, asked)
    if stopped:
        print("stopped; the same command goes on", file=sys.stderr)
        return 128 + signal.SIGINT
    print(f"\n{write(entry.report(entry.experiment, asked, rows))}")
    print(f"\nwrote {asked.out / args.experiment}.md and .json")
    for name, reason in failures.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    return 1 if failures else 0


def chosen(experiment: Experiment, keys: str | None) -> Experiment:
    """The experiment with the rows that the option names, all of them without it.

    Raises:
        ConfigError: there is no such row.
    """
    if keys is None:
        return experiment
    wanted, known = keys.split(","), [row.key for row in experiment.rows]
    if unknown := [key for key in wanted if key not in known]:
        raise ConfigError(f"rows: {experiment.name} has no row {unknown[0]!r}; it has {', '.join(known)}")
    return replace(experiment, rows=[row for row in experiment.rows if row.key in wanted])


def asked_for(args: argparse.Namespace, given: Mapping[str, Any], entry: Entry) -> Asked:
    """What the options ask for.

    Raises:
        ConfigError: they contradict each other.
    """
    if arguments.section(given, "train").get("seed") is not None:
        raise ConfigError("seed: an experiment has several; give --seeds")
    size: SizeName = args.size or entry.size
    seeds = parse_seeds(args.seeds or str(entry.experiment.budgets[size].seeds))
    out = args.out or Path("runs") / f"{args.experiment}-{size}"
    return Asked(out, size, seeds, given, args.jobs, args.device, not args.no_fit, args.rows or "")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m experiments",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("experiment", choices=ENTRIES, metavar="EXPERIMENT", help=", ".join(ENTRIES))
    add("--size", choices=SIZES, help="budget (default: small; of toy: paper)")
    add("--out", type=Path, help="folder of the experiment (default: runs/EXPERIMENT-SIZE)")
    add("--seeds", metavar="N|S1,S2", help="number of seeds, from 0, or the seeds themselves (default: the size's)")
    add("--rows", metavar="KEY,KEY", help="rows of the table to fit and show (default: all; a wrong one lists them)")
    add("--jobs", type=whole(1, 1024), metavar="N", help="cells at a time (default: as many as cores and memory allow)")
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add("--no-fit", action="store_true", help="report what is finished, and fit nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
