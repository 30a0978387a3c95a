"""Fit and evaluate the cells of the paper's Table 3: `python -m experiments table3 --help`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from dialog_cvae.cli import Parser, exit_status, whole
from dialog_cvae.data.cache import Cache
from dialog_cvae.data.corpora import load_corpus
from dialog_cvae.data.vectors import load_vectors
from dialog_cvae.errors import ConfigError
from dialog_cvae.types import Conversation
from eval.contexts import count_contexts
from eval.dialog import CACHE, NONE, vectors_source
from eval.evaluation import Evaluation
from eval.evaluation_settings import Settings
from eval.held_out import HeldOut
from eval.latent.likelihood import MAX_DRAWS
from eval.references import multi_reference
from eval.references.built_references import built_references
from eval.report import write as write_evaluation
from experiments.table3.cells import Found, Planned, look, plan
from experiments.table3.page import Results, assembled
from experiments.table3.report import JSON_FILE, MARKDOWN_FILE, main_table, write
from experiments.table3.rows import Bench, Failure, evaluate_rows
from training import arguments, setup
from training.folder import BEST_FOLDER
from training.recipes import RECIPES
from training.sweep import capacity
from training.sweep.cells import Cell, parse_seeds
from training.sweep.run import FitFields, run_sweep
from training.sweep.runners import on_one_machine
from training.sweep.task import LOG_FILE

EVALUATIONS = "evaluations"  # folder below --out
BUILD = "build"
DESCRIPTION = """\
Table 3 of the paper, with what it leaves out: fits what is missing, evaluates it, and writes OUT/table3.md and
OUT/table3.json, with plots.

  python -m experiments table3 --recipe small --data swda --out runs/table3
  python -m experiments table3 --recipe small --data swda --cells diagonal --seeds 3 --max-steps 2000 --out runs/table3

The cells are {CVAE, CVAE+BoW} x {monotonic, cyclical beta} x {constant, cyclical learning rate}, each for every seed.
The paper's four are the diagonal, in which beta and the learning rate change together. All have the same number of
updates (no early stopping unless --early-stopping), and each is judged by its best validation checkpoint. Beside them
stand the same model without z, and rows without a model that keep the table honest.

Each cell is an ordinary run of training.fit in OUT/fits; its options hold for all cells. The same command again takes
what is fitted and evaluated and goes on; Ctrl-C stops it. With --no-fit only what is finished is evaluated.
Exit status: 0 all is done, 1 something failed, 2 refused, 130 interrupted.
"""


class Fitted(NamedTuple):
    """How the cells are after fitting.

    Attributes:
        found: how far each is.
        failures: why, by name.
        stopped: whether fitting was stopped.
    """

    found: Sequence[Found]
    failures: dict[str, str]
    stopped: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    return exit_status(lambda: _table(argv), "interrupted; the same command goes on")


def _table(argv: Sequence[str] | None) -> int:
    args, given = arguments.parse_with(_parser(), FitFields, argv)
    planned = planned_cells(args, given)
    fitted = _standing(planned) if args.no_fit else _fitted(planned, args)
    if fitted.stopped:
        print("stopped; the same command goes on", file=sys.stderr)
        return 128 + signal.SIGINT
    finished = [found.planned for found in fitted.found if found.standing == "finished"]
    if not finished:
        raise ConfigError(f"out: none of the {len(planned)} cells in {args.out} is finished")
    held_out, references = _held_out(args, planned[0].cell)
    settings = Settings(
        samples=args.samples, importance_samples=args.importance_samples, single_reference=args.single_reference
    )
    bench = Bench(held_out, settings, args.out / CACHE, _jobs(args, finished), str(setup.device_of(args.device)))
    evaluations = evaluate_rows({one.name: one.folder / BEST_FOLDER for one in finished}, bench)
    for one in finished:
        if isinstance(evaluation := evaluations[one.name], Evaluation):
            write_evaluation(args.out / EVALUATIONS / one.name, evaluation, evaluation.figures)
    built = args.references == BUILD
    page = assembled(
        Results(fitted.found, fitted.failures, evaluations, held_out, references, built, settings), args.out
    )
    write(page, args.out)
    print("\n".join(("", *main_table(page.rows), "", *page.notes)))
    print(f"wrote {args.out / MARKDOWN_FILE} and {args.out / JSON_FILE}")
    broken = {name: one.reason for name, one in evaluations.items() if isinstance(one, Failure)}
    for name, reason in (failed := {**fitted.failures, **broken}).items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m experiments table3",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--out", type=Path, default=Path("runs/table3"), help="folder of the table (default: %(default)s)")
    add("--recipe", choices=RECIPES, default="paper", help="configuration to start from (default: %(default)s)")
    add("--seeds", default="5", metavar="N|S1,S2", help="number of seeds, from 0, or the seeds themselves (default: 5)")
    add("--cells", choices=("diagonal", "all"), default="all", help="the paper's four or all eight (default: all)")
    add("--no-fit", action="store_true", help="evaluate what is finished, and fit nothing")
    add("--jobs", type=whole(1, 1024), metavar="N", help="cells at a time (default: as many as cores and memory allow)")
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add("--config", type=Path, help="JSON or TOML file with fields of the configuration, over the recipe")
    add("--split", choices=("valid", "test"), default="test", help="that is evaluated (default: %(default)s)")
    add(
        "--references",
        default=BUILD,
        metavar="FILE|build|none",
        help="of each context: a file, as python -m eval.references build writes or Zhao et al. published; build "
        "(default): from similar training contexts, into OUT/references.json; none: what was said alone",
    )
    add("--samples", type=whole(1, 1000), default=5, help="replies for each context (default 5)")
    add("--importance-samples", type=whole(0, MAX_DRAWS), default=5, metavar="K", help="see eval.dialog (default 5)")
    add("--single-reference", action="store_true", help="score by DialogWAE's protocol too; see eval.dialog")
    add("--metric-vectors", metavar="VECTORS", help="for A-bow and E-bow; see --vectors of eval.dialog")
    return parser


def planned_cells(args: argparse.Namespace, given: Mapping[str, Any]) -> list[Planned]:
    """The cells that the options ask for.

    Raises:
        ConfigError: they contradict each other.
    """
    if arguments.section(given, "train").get("seed") is not None:
        raise ConfigError("seed: the table has several; give --seeds")
    layers = [given] if args.config is None else [arguments.read_config_file(args.config), given]
    return plan(args.recipe, parse_seeds(args.seeds), layers, args.out, diagonal=args.cells == "diagonal")


def _fitted(planned: Sequence[Planned], args: argparse.Namespace) -> Fitted:
    """Fit what is not finished; a cell whose folder is broken is left as it is."""
    found, failures, _ = _standing(planned)
    counts = Counter(one.standing for one in found)
    print(f"{len(found)} cells in {args.out}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    rest: defaultdict[Path, list[Planned]] = defaultdict(list)
    for one in found:
        if one.standing in ("new", "started"):
            rest[one.planned.root].append(one.planned)
    for root, cells in rest.items():
        engine = on_one_machine([one.cell for one in cells], args.jobs, args.device)
        print(f"fitting {len(cells)} cells in {root}: {engine}", flush=True)
        results = run_sweep([one.cell for one in cells], root, engine)
        failures = failures | {
            one.name: f"{result.reason} (log: {result.folder / LOG_FILE})"
            for one, result in zip(cells, results, strict=True)
            if result.status == "failed"
        }
        if any(result.status == "stopped" for result in results):
            return Fitted(found, failures, stopped=True)
    return Fitted(look(planned), failures)


def _standing(planned: Sequence[Planned]) -> Fitted:
    found = look(planned)
    return Fitted(found, {one.planned.name: one.reason for one in found if one.standing == "broken"})


def _held_out(args: argparse.Namespace, cell: Cell) -> tuple[HeldOut, str]:
    """What is evaluated on, and what its references are, for people.

    Raises:
        ConfigError: there is no context in it.
        DataError: the corpus or the references are missing or malformed.
    """
    corpus = load_corpus(cell.config.corpus)
    conversations: Sequence[Conversation] = list(getattr(corpus, args.split))
    if count_contexts(conversations) == 0:
        raise ConfigError(f"split {args.split} of {corpus.name} has no context with a reply to score")
    vectors = vectors_source(args.metric_vectors, cell.config.corpus.dir)
    if vectors is not None:
        load_vectors(vectors, ())  # a broken file is told of now, not after the sampling
    held_out = HeldOut(corpus.name, args.split, conversations, None, vectors, list(corpus.train))
    if args.references == NONE:
        return held_out, "the one reply that was said"
    if args.references != BUILD:
        path = Path(args.references)
        return replace(held_out, references=multi_reference.load(path, conversations)), f"the file {path.name}"
    references, how = built_references(held_out, args.out, Cache(args.out / CACHE, _say))
    return replace(held_out, references=references), how


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _jobs(args: argparse.Namespace, finished: Sequence[Planned]) -> int:
    """Processes that evaluate at a time."""
    most = max(capacity.fit_bytes(one.cell.config) for one in finished)
    fitting = (capacity.cells_by_cores(1), capacity.cells_by_memory(most))
    jobs: int = args.jobs or min(limit for limit in fitting if limit is not None)
    return jobs


if __name__ == "__main__":
    sys.exit(main())
