"""The way of every experiment: fit what is missing, measure what is finished, write the page.

Open it to see the options that all experiments share, and their exit statuses.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dialog_cvae.cli import Parser, whole
from dialog_cvae.errors import ConfigError
from experiments.framework.fitting import Fitted, InThisProcess, fit_missing, run_states
from experiments.framework.page import Page, write
from experiments.framework.rows import Run
from training import arguments
from training.sweep.cells import Cell, parse_seeds
from training.sweep.runners import Engine, on_one_machine

AGAIN = "repeat the command to continue"
EXIT_STATUS = "Exit status: 0 all is done, 1 something failed, 2 refused, 130 interrupted."


@dataclass(frozen=True)
class Options:
    """The options that all experiments have.

    Attributes:
        out: folder of the experiment.
        seeds: of every row.
        given: fields of the configuration that were given as options.
        jobs: cells at a time; None for as many as there is room for.
        device: auto, cpu or cuda.
        fits: whether to fit what is missing.
        in_process: whether to fit in this process.
    """

    out: Path
    seeds: Sequence[int]
    given: Mapping[str, Any]
    jobs: int | None = None
    device: str = "auto"
    fits: bool = True
    in_process: bool = False

    def engine(self, cells: Sequence[Cell]) -> Engine:
        """The engine that fits these cells."""
        return InThisProcess(self.device) if self.in_process else on_one_machine(cells, self.jobs, self.device)


def parser(name: str, description: str, *, out: str, seeds: str) -> Parser:
    """A parser with the options that all experiments share.

    Args:
        name: of the experiment.
        description: what it does; the help begins with it.
        out: the default of --out, for the help.
        seeds: the default of --seeds, for the help.
    """
    found = Parser(
        prog=f"python -m experiments {name}",
        description=f"{description}\n{EXIT_STATUS}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = found.add_argument
    add("--out", type=Path, help=f"folder of the experiment (default: {out})")
    add("--seeds", metavar="N|S1,S2", help=f"number of seeds, from 0, or the seeds themselves (default: {seeds})")
    add("--jobs", type=whole(1, 1024), metavar="N", help="cells at a time (default: as many as cores and memory allow)")
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add("--no-fit", action="store_true", help="measure what is finished, and fit nothing")
    return found


def options(
    args: argparse.Namespace, given: Mapping[str, Any], *, out: str, seeds: str, in_process: bool = False
) -> Options:
    """What the command line asks of any experiment.

    Args:
        args: from `parser`.
        given: fields of the configuration.
        out: the default folder.
        seeds: the default seeds.
        in_process: whether to fit in this process.

    Raises:
        ConfigError: the seeds are malformed, one is given where several are needed, or jobs are given although all runs
            are fitted one after the other.
    """
    if in_process and args.jobs is not None:
        raise ConfigError("jobs: runs of this size are fitted one after the other; leave --jobs out")
    if arguments.section(given, "train").get("seed") is not None:
        raise ConfigError("seed: an experiment has several; give --seeds")
    chosen = parse_seeds(args.seeds or seeds)
    return Options(args.out or Path(out), chosen, given, args.jobs, args.device, not args.no_fit, in_process)


def carry_out(runs: Sequence[Run], asked: Options, report: Callable[[Fitted], Page]) -> int:
    """Fit what is missing, report what is finished; returns the exit status.

    Args:
        runs: of the experiment.
        asked: the options.
        report: measures and draws.

    Raises:
        ConfigError: a folder holds a run of another configuration, or nothing is finished.
    """
    fitted = fit_missing(runs, asked.out, asked.engine) if asked.fits else run_states(runs)
    if fitted.stopped:
        print(f"stopped; {AGAIN}", file=sys.stderr)
        return 128 + signal.SIGINT
    if not fitted.finished:
        reasons = "".join(f"; {name}: {reason}" for name, reason in list(fitted.failures.items())[:1])
        raise ConfigError(f"out: none of the {len(runs)} cells in {asked.out} is finished{reasons}")
    page = report(fitted)
    write(page, asked.out)
    print(f"\n{page.sections[0]}")
    print(f"\nwrote {asked.out / page.name}.md and .json")
    failures = {**fitted.failures, **page.failures}
    for name, reason in failures.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    return 1 if failures else 0
