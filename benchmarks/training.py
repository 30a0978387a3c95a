"""Measures training steps against a naive PyTorch implementation: `python -m benchmarks.training --help`.

Open this to change what is compared. `training_run` times and profiles the updates, `training_figures` computes and
prints the figures, `naive_step` is the naive implementation.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import matrix_rate
from benchmarks.naive_step import NaiveModel, loss_difference
from benchmarks.run_benchmark import run_benchmark
from benchmarks.training_figures import figures_of, table
from benchmarks.training_run import NAIVE, PRECISIONS, TURN, Measured, TrainingRun, Way
from dialog_cvae.cli import Parser, whole
from dialog_cvae.config import DataConfig
from dialog_cvae.data.cache import open_cache
from dialog_cvae.data.corpora import resolve
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.errors import ConfigError
from dialog_cvae.model.cvae import CVAE
from training.adam import GuardedAdam
from training.arguments import recipe
from training.config import FitConfig
from training.device import device_of
from training.dialog_batches import DialogBatches
from training.memory import keep_freed_memory
from training.task import new_model
from training.training_corpus import TrainingCorpus
from training.vocabulary import Vocabulary

EXPLANATION = """\
Trains on a corpus in several ways, which alternate every few updates, and prints examples (windows) per second for
each. The naive step has the structure of the field's PyTorch code for this model: it draws windows one by one, encodes
the utterances of each window separately, and projects states to the vocabulary at padded positions too. Before timing,
its loss is checked to equal ours on the same windows. `share` compares the counted operations per second with the
machine's matrix rate, measured in the same run and at the same precision.
"""

WARM_UP = 30  # updates before timing starts: oneDNN compiles a kernel for each new shape
TOLERANCE = 1e-4  # relative; the two losses add up in a different order, in single precision


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 success, 2 invalid arguments or failure, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    keep_freed_memory()
    return run_benchmark(lambda: measure(arguments), table, arguments.json)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "python -m benchmarks.training", description=EXPLANATION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="auto", help="corpus, as for training.fit (default auto)")
    parser.add_argument("--data-dir", type=Path, help="folder with the corpora")
    parser.add_argument("--recipe", default="paper", help="recipe with the model's sizes; a bag-of-words head is added")
    parser.add_argument("--batch-size", type=whole(1, 100_000), default=120, help="of the large batch (default 120)")
    parser.add_argument("--segment", type=whole(1, 10_000), default=10, help="of the large batch (default 10)")
    parser.add_argument(
        "--turns", type=whole(1, 10_000), default=8, help=f"turns of {TURN} updates for each way (default 8)"
    )
    parser.add_argument(
        "--warm-up", type=whole(1, 10_000), default=WARM_UP, help=f"updates before timing (default {WARM_UP})"
    )
    parser.add_argument("--threads", type=whole(1, 1024), help="CPU threads (default PyTorch's choice)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    return parser


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures by name.

    Raises:
        ConfigError: the naive step's loss differs from ours.
    """
    # The corpus and the two models, which share their weights.
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    device = device_of(arguments.device)
    base = recipe(arguments.recipe)
    config = base.model_copy(update={"model": base.model.model_copy(update={"bow": True})})
    corpus, vocabulary = _corpus(config, DataConfig(name=arguments.data, dir=arguments.data_dir))
    model = new_model(config, vocabulary).to(device)
    assert isinstance(model, CVAE)
    naive = NaiveModel(model)

    # The batches of each way; the loss is compared on the largest.
    ways = ways_of(config, arguments.batch_size, arguments.segment)
    batches = {way: DialogBatches(corpus, way.config(0), config.model, device=device) for way in ways}
    difference = loss_difference(model, naive, next(batches[ways[3]].from_step(0)).parts[0])
    if not difference < TOLERANCE:
        raise ConfigError(
            f"the naive loss must equal ours within {TOLERANCE:g}, relative, but differs by {difference:g}"
        )

    # Timing, counting and profiling.
    optimiser = GuardedAdam(model.parameters(), lr=config.learning_rate.peak)
    runs = {way: TrainingRun(naive if way.name == NAIVE else model, optimiser, batches[way]) for way in ways}
    try:
        measured = alternate(runs, arguments.warm_up, arguments.turns)
        operations = {way: run.operations() for way, run in runs.items()}
        fastest = max(ways, key=lambda way: measured[way].rate)
        parts = {way.name: runs[way].parts() for way in (ways[0], fastest)}
    finally:
        for run in runs.values():
            run.close()
    rates = {kind: matrix_rate(getattr(torch, kind), device) for kind in ("float32", "bfloat16")}
    return figures_of(measured, operations, parts, rates, difference, device)


def ways_of(config: FitConfig, large_batch: int, large_segment: int) -> list[Way]:
    """The naive way, then ours: at the recipe's batch without and with segments, and at a large one."""
    size = config.train.batch_size
    batches = ((size, 1), (size, config.train.segment), (large_batch, large_segment))
    ours = [
        Way(f"ours, {windows} x {segment}, {precision}", windows, segment, precision)
        for windows, segment in batches
        for precision in PRECISIONS
    ]
    return [Way(NAIVE, size, 1, "fp32"), *ours]


def alternate(runs: dict[Way, TrainingRun], warm_up: int, turns: int) -> dict[Way, Measured]:
    """Warm up each run, then time the runs by turns, so that a change of the machine's speed affects all of them."""
    for run in runs.values():
        run.make_updates(warm_up)
    measured = {way: Measured() for way in runs}
    for _ in range(turns):
        for way, run in runs.items():
            run.make_updates(TURN, measured[way])
    return measured


def _corpus(config: FitConfig, data: DataConfig) -> tuple[EncodedCorpus, Vocabulary]:
    """The training split, encoded."""

    def log(line: str) -> None:
        print(line, flush=True)

    corpus = TrainingCorpus(resolve(data), open_cache(None, log), log)
    vocabulary = Vocabulary(corpus.tokenizer(config.tokenizer), corpus.summary.topics)
    return corpus.encoded("train", vocabulary, config.model.max_utterance_tokens), vocabulary


if __name__ == "__main__":
    sys.exit(main())
