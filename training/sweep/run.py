"""Fit a grid of variants and seeds side by side: `python -m training.sweep --help`.

Open this to add an option, or to follow a sweep from its options to its results.
"""

from __future__ import annotations

import argparse
import signal
import sys
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from pydantic_settings import BaseSettings

from dialog_cvae.cli import Parser, exit_status, print_any_text
from dialog_cvae.data.corpora import locate
from dialog_cvae.errors import CheckpointError, ConfigError, DialogCvaeError
from training import arguments
from training.config import FitConfig
from training.observer import StopRequest
from training.recipes import RECIPES
from training.state import load_progress
from training.sweep import summary
from training.sweep.cell_task import LOG_FILE, CellTask, Ending
from training.sweep.cells import Cell, CellState, grid, parse_axis, parse_seeds, short_name
from training.sweep.live_table import LiveTable
from training.sweep.runners import Engine, OnRay, on_one_machine, threads_of
from training.sweep.summary import CellResult, best_figures

MAX_JOBS = 1024
DESCRIPTION = """\
Fit every combination of the values of --vary, for every seed, side by side.

  python -m training.sweep paper --seeds 5 --vary schedule=monotonic,cyclical
  python -m training.sweep sample --seeds 0,1,7 --vary schedule=monotonic,cyclical --vary bow=false,true --epochs 4

Each cell is an ordinary run of training.fit in a folder of its own, OUT/schedule=cyclical,seed=3 for example, with
its output in fit.log. Stop with Ctrl-C: each cell saves its state. To continue, repeat the command, with more seeds or
values if you like: finished cells are kept, interrupted ones continue exactly from their saved state. At the end,
OUT/sweep.md and OUT/sweep.json summarise the best validations over the seeds.

Options of training.fit apply to all cells. A cell uses one CPU thread unless --threads gives another number.
Exit status: 0 all cells are done, 1 some failed, 2 invalid arguments, 130 interrupted.
"""


class FitFields(FitConfig, BaseSettings):
    """The fields of a fit, as options."""

    model_config = arguments.FitArguments.model_config


class StopFile(StopRequest):
    """A file that Ctrl-C or SIGTERM creates, so that cells on all machines see it; a second signal exits at once."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / f".stop-{uuid.uuid4().hex}"

    def _handle(self, number: int, frame: FrameType | None) -> None:
        super()._handle(number, frame)
        self.path.touch()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.path.unlink(missing_ok=True)


def run_sweep(cells: Sequence[Cell], out: Path, engine: Engine | None = None) -> list[CellResult]:
    """Fit the cells that are not done yet; returns the results of all.

    Args:
        cells: with distinct names; see `training.sweep.cells.grid`.
        out: folder of the sweep; a cell's run is in `out / cell.name`.
        engine: runs the cells; default: this machine, with as many cells at a time as fit.

    Returns:
        A result for each cell, in their order. The same call continues stopped cells.

    Raises:
        ConfigError: a cell's folder holds a run of another configuration, or the engine is not available.
        CheckpointError: a cell's folder holds an incomplete or broken run.
        DataError: a corpus is missing, or a finished run is broken.
    """
    states = states_of(cells, out)
    endings = {index: Ending("done") for index, state in enumerate(states) if state == "finished"}
    rest = [index for index in range(len(cells)) if index not in endings]
    if rest:
        engine = engine or on_one_machine([cells[index] for index in rest])
        out.mkdir(parents=True, exist_ok=True)
        cwd = Path.cwd()
        with StopFile(cwd / out) as stop, LiveTable(cells, out, states, stop.path) as table:

            def ended(position: int, ending: Ending) -> None:
                endings[rest[position]] = ending
                table.ended(rest[position], ending)

            tasks = [CellTask(out / cells[index].name, cells[index].options, stop.path, cwd) for index in rest]
            engine.run(tasks, ended)
    return [_result(cell, out / cell.name, endings[index]) for index, cell in enumerate(cells)]


def states_of(cells: Sequence[Cell], out: Path) -> list[CellState]:
    """The state of each cell; an error for one cell stops the whole sweep before anything starts.

    Raises:
        ConfigError, CheckpointError, DataError: see `run_sweep`.
    """
    states: list[CellState] = []
    errors: list[DialogCvaeError] = []
    for cell in cells:
        try:
            states.append(cell.state(out))
        except (ConfigError, CheckpointError) as error:
            errors.append(error)
    if errors:
        more = f"; {len(errors) - 1} other cells have errors too" if len(errors) > 1 else ""
        raise type(errors[0])(f"{errors[0]}{more}")
    pending = (cell for cell, state in zip(cells, states, strict=True) if state != "finished")
    for corpus in dict.fromkeys(cell.config.corpus for cell in pending):
        locate(corpus)  # downloads a missing corpus once, before the cells start
    return states


def _result(cell: Cell, folder: Path, ending: Ending) -> CellResult:
    try:
        progress = load_progress(folder)
    except CheckpointError:
        return CellResult(cell, folder, ending.status, ending.reason)
    figures = best_figures(folder) if ending.status == "done" else {}
    steps, total = progress.step, progress.total_steps
    return CellResult(cell, folder, ending.status, ending.reason, steps, progress.data, total, figures)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    print_any_text()
    return exit_status(lambda: _sweep(argv), "interrupted; the cells still save their state")


def _sweep(argv: Sequence[str] | None) -> int:
    args, given = arguments.parse_with(_parser(), FitFields, argv)
    cells = _cells(args, given)
    out = args.out or _default_out(args.recipe, cells[0])
    states = states_of(cells, out)
    rest = [cell for cell, state in zip(cells, states, strict=True) if state != "finished"]
    engine = _engine(args, rest) if rest else None
    counts = Counter(states)
    print(
        f"{len(cells)} cells in {out}: {counts['finished']} done, {counts['started']} to continue, {counts['new']} new"
    )
    if engine is not None:
        print(engine, flush=True)
    if args.dry_run:
        for cell, state in zip(cells, states, strict=True):
            print(f"{cell.name}: {_planned(out / cell.name, state)}")
        return 0
    results = run_sweep(cells, out, engine)
    if any(result.status == "stopped" for result in results):
        print("stopped; repeat the command to continue", file=sys.stderr)
        return 128 + signal.SIGINT
    print(f"\n{summary.write(results, out)}", end="")
    failed = [result for result in results if result.status == "failed"]
    for result in failed:
        print(f"failed: {result.cell.name}: {result.reason} (log: {result.folder / LOG_FILE})", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m training.sweep",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("recipe", metavar="RECIPE", choices=RECIPES, help=f"configuration to start from: {', '.join(RECIPES)}")
    add("--seeds", metavar="N|S1,S2", help="number of seeds, counted from 0, or a list of seeds (default: --seed)")
    add(
        "--vary",
        action="append",
        default=[],
        metavar="NAME=V1,V2",
        help="values of an option of training.fit; repeat it for a grid",
    )
    add("--out", type=Path, help="folder of the sweep (default: runs/sweep-RECIPE-NAMES)")
    add("--jobs", type=_count, metavar="N", help="cells at a time (default: as many as cores and free memory allow)")
    add("--per-gpu", type=_count, metavar="N", help="cells at a time on each GPU (default: by free memory; with Ray 1)")
    add("--engine", choices=("joblib", "ray"), default="joblib", help="joblib: this machine; ray: also a cluster")
    add(
        "--address",
        help="address of a Ray cluster; auto: the cluster of this machine (default: $RAY_ADDRESS, or start Ray)",
    )
    add("--dry-run", action="store_true", help="only list the cells and what would be done")
    add("--config", type=Path, help="JSON or TOML file with fields of the configuration, which override the recipe")
    add("--init", type=Path, help="checkpoint to start every cell from")
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_JOBS):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {MAX_JOBS}, but is {text}")
    return int(text)


def _cells(args: argparse.Namespace, given: dict[str, Any]) -> list[Cell]:
    layers = [given] if args.config is None else [arguments.read_config_file(args.config), given]
    seed = arguments.section(given, "train").get("seed")
    seeds: tuple[int, ...]
    if args.seeds is None:
        seeds = (arguments.layered(arguments.recipe(args.recipe), *layers).train.seed,)
    elif seed is None:
        seeds = parse_seeds(args.seeds)
    else:
        raise ConfigError(f"seeds: give --seeds ({args.seeds}) or --seed ({seed}), not both")
    axes = [parse_axis(text) for text in args.vary]
    if both := next((axis.field for axis in axes if axis.field in arguments.flat(given)), None):
        raise ConfigError(f"vary: {short_name(both)} is varied, but also given as an option")
    return grid(args.recipe, axes, seeds, *layers, init=args.init)


def _default_out(recipe: str, cell: Cell) -> Path:
    return Path("runs") / "-".join(["sweep", recipe, *cell.variation])


def _engine(args: argparse.Namespace, cells: Sequence[Cell]) -> Engine:
    if args.engine == "ray":
        return OnRay(args.address, args.jobs, threads_of(cells), args.device, args.per_gpu or 1)
    if args.address is not None:
        raise ConfigError(f"address: joblib runs on this machine only, but {args.address!r} is given; add --engine ray")
    return on_one_machine(cells, args.jobs, args.device, args.per_gpu)


def _planned(folder: Path, state: CellState) -> str:
    if state == "new":
        return "start"
    progress = load_progress(folder)
    return "done" if state == "finished" else f"continue after step {progress.step} of {progress.total_steps}"


if __name__ == "__main__":
    sys.exit(main())
