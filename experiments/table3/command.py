"""Fit and evaluate the cells of the paper's Table 3: `python -m experiments table3 --help`.

Open it to add an option, or to follow the way from fits and references to the page.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dialog_cvae.cli import Parser, exit_status, whole
from dialog_cvae.config import Decoding
from dialog_cvae.data.cache import Cache
from dialog_cvae.data.corpora import load_corpus
from dialog_cvae.data.vectors import load_vectors
from dialog_cvae.errors import ConfigError
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_files import BEST
from dialog_cvae.types import Conversation
from eval.contexts import count_contexts
from eval.dialog import CACHE
from eval.dialog_data import NONE, vectors_source
from eval.evaluation import Evaluation
from eval.evaluation_settings import Settings
from eval.held_out import HeldOut
from eval.latent.likelihood import MAX_DRAWS
from eval.references import multi_reference
from eval.references.built_references import built_references
from eval.report import write as write_evaluation
from eval.vocabulary_filter import IDS, TEXTS, WAYS, VocabularyFilter
from experiments.framework import command_line
from experiments.framework.fitting import Fitted, say
from experiments.framework.page import Page, command
from experiments.framework.rows import Run
from experiments.table3.cells import ALL, DIAGONAL, VARIANTS, WITHOUT_Z, plan, rows_of
from experiments.table3.evaluate import Bench, evaluate_rows
from experiments.table3.evaluated import Evaluated
from experiments.table3.page import NAME, assembled
from training import arguments
from training.config import FitConfig
from training.device import device_of
from training.recipes import RECIPES
from training.sweep import capacity
from training.sweep.cells import seeds_option
from training.sweep.run import FitFields

EVALUATIONS = "evaluations"  # folder below --out
BUILD = "build"
OUT, SEEDS = "runs/table3", "5"
DESCRIPTION = """\
Table 3 of the paper, with what it leaves out: fits what is missing, evaluates it, and writes OUT/table3.md and
OUT/table3.json, with plots.

  python -m experiments table3 --recipe small --data swda --out runs/table3
  python -m experiments table3 --recipe small --data swda --cells diagonal --seeds 3 --max-steps 2000 --out runs/table3

The cells are {CVAE, CVAE+BoW} x {monotonic, cyclical beta} x {constant, cyclical learning rate}, each for every seed.
The paper's four are the diagonal, in which beta and the learning rate change together. All have the same number of
updates (no early stopping unless --early-stopping), and each is judged by its best validation checkpoint. The table
also has the same model without z, and rows without a model that keep the table honest.

Each cell is an ordinary run of training.fit in OUT/fits; its options hold for all cells. The same command again keeps
what is fitted and evaluated, and continues; Ctrl-C stops it. With --no-fit only what is finished is evaluated.
"""


@dataclass(frozen=True)
class Table:
    """Table 3 as the command line asks for it.

    Attributes:
        args: its own options.
        layers: fields over the recipe's.
        options: what all experiments are asked.
    """

    args: argparse.Namespace
    layers: Sequence[Mapping[str, Any]]
    options: command_line.Options

    @property
    def runs(self) -> list[Run]:
        """All fits.

        Raises:
            ConfigError: the options contradict each other.
        """
        return plan(self.args.recipe, self.options.seeds, self.layers, self.options.out, self.args.cells)

    @property
    def command(self) -> str:
        """What repeats it; options with their default value are left out, and files lose their folder."""
        own = [
            f"--recipe={self.args.recipe}",
            f"--seeds={seeds_option(self.options.seeds)}",
            f"--cells={self.args.cells}",
        ]
        parser = _parser()
        for name in ("split", "references", "references_as", "samples", "importance_samples", "metric_vectors"):
            value = getattr(self.args, name)
            if value != parser.get_default(name):
                own.append(f"--{name.replace('_', '-')}={Path(str(value)).name}")
        own += [
            f"--{name.replace('_', '-')}" for name in ("single_reference", "allow_unknown") if vars(self.args)[name]
        ]
        given: dict[str, Any] = {}
        for layer in self.layers:
            given = arguments.merge(given, layer)
        return command(NAME, own, given)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    return exit_status(lambda: _run(argv), f"interrupted; {command_line.AGAIN}")


def _run(argv: Sequence[str] | None) -> int:
    table = parse_table(argv)
    runs = table.runs
    return command_line.carry_out(runs, table.options, lambda fitted: _report(table, runs[0].cell.config, fitted))


def parse_table(argv: Sequence[str] | None) -> Table:
    """What the command line asks for.

    Raises:
        ConfigError: the options contradict each other.
    """
    args, given = arguments.parse_with(_parser(), FitFields, argv)
    layers = [given] if args.config is None else [arguments.read_config_file(args.config), given]
    return Table(args, layers, command_line.options(args, given, out=OUT, seeds=SEEDS))


def _parser() -> Parser:
    found = command_line.parser(NAME, DESCRIPTION, out=OUT, seeds=SEEDS)
    add = found.add_argument
    add("--recipe", choices=RECIPES, default="paper", help="configuration to start from (default: %(default)s)")
    add(
        "--cells",
        default=ALL,
        metavar=f"{ALL}|{DIAGONAL}|KEY,KEY",
        help=f"that are fitted and shown: {ALL} (default), {DIAGONAL} for the paper's four and the decoder without z, "
        f"or some of {', '.join((*VARIANTS, WITHOUT_Z.key))}",
    )
    add("--config", type=Path, help="JSON or TOML file with fields of the configuration, over the recipe")
    add("--split", choices=("valid", "test"), default="test", help="that is evaluated (default: %(default)s)")
    add(
        "--references",
        default=BUILD,
        metavar="FILE|build|none",
        help="of each context: a file, as python -m eval.references build writes or Zhao et al. published; build "
        "(default): from similar training contexts, into OUT/references.json; none: what was said alone",
    )
    add(
        "--references-as",
        choices=WAYS,
        default=TEXTS,
        help="how references are compared: texts (default) or ids, as the official code does; see eval.dialog",
    )
    add("--allow-unknown", action="store_true", help="let replies contain <unk>, as the official code does")
    add("--samples", type=whole(1, 1000), default=5, help="replies for each context (default 5)")
    add("--importance-samples", type=whole(0, MAX_DRAWS), default=5, metavar="K", help="see eval.dialog (default 5)")
    add("--single-reference", action="store_true", help="score by DialogWAE's protocol too; see eval.dialog")
    add("--metric-vectors", metavar="VECTORS", help="for A-bow and E-bow; see --vectors of eval.dialog")
    return found


def _report(table: Table, config: FitConfig, fitted: Fitted) -> Page:
    """Evaluate what is finished, keep each evaluation in a folder, and make the page."""
    args, out = table.args, table.options.out
    held_out, references = _held_out(args, config, out)
    if args.references_as == IDS and fitted.finished:  # all cells have the same vocabulary
        text_filter = VocabularyFilter.of(Checkpoint.load(fitted.finished[0].folder / BEST))
        held_out, references = (
            replace(held_out, text_filter=text_filter),
            f"{references}; compared as ids of the vocabulary",
        )
    settings = Settings(
        samples=args.samples,
        importance_samples=args.importance_samples,
        single_reference=args.single_reference,
        decoding=Decoding(allow_unknown=args.allow_unknown),
    )
    jobs, device = _jobs(table.options.jobs, fitted.finished), str(device_of(args.device))
    bench = Bench(held_out, settings, out / CACHE, jobs, device)
    evaluations = evaluate_rows({one.name: one.folder / BEST for one in fitted.finished}, bench)
    for one in fitted.finished:
        if isinstance(evaluation := evaluations[one.name], Evaluation):
            write_evaluation(out / EVALUATIONS / one.name, evaluation, evaluation.figures)
    found = Evaluated(
        rows_of(args.cells),
        fitted,
        evaluations,
        held_out,
        references,
        args.references == BUILD,
        settings,
        len(table.options.seeds),
        table.command,
    )
    return assembled(found, out)


def _held_out(args: argparse.Namespace, config: FitConfig, out: Path) -> tuple[HeldOut, str]:
    """What is evaluated on, and a description of its references.

    Raises:
        ConfigError: there is no context in it.
        DataError: the corpus or the references are missing or malformed.
    """
    corpus = load_corpus(config.corpus)
    conversations: Sequence[Conversation] = list(getattr(corpus, args.split))
    if count_contexts(conversations) == 0:
        raise ConfigError(f"split {args.split} of {corpus.name} has no context with a reply to score")
    vectors = vectors_source(args.metric_vectors, config.corpus.dir)
    if vectors is not None:
        load_vectors(vectors, ())  # so that a broken file is refused before the sampling
    held_out = HeldOut(corpus.name, args.split, conversations, None, vectors, list(corpus.train))
    if args.references == NONE:
        return held_out, "the one reply that was said"
    if args.references != BUILD:
        path = Path(args.references)
        return replace(held_out, references=multi_reference.load(path, conversations)), f"the file {path.name}"
    references, how = built_references(held_out, out, Cache(out / CACHE, say))
    return replace(held_out, references=references), how


def _jobs(asked: int | None, finished: Sequence[Run]) -> int:
    """Number of processes that evaluate at a time."""
    if asked is not None:
        return asked
    most = max(capacity.fit_bytes(one.cell.config) for one in finished)
    limits = (capacity.cells_by_cores(1), capacity.cells_by_memory(most))
    return min(limit for limit in limits if limit is not None)
