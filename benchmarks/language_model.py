"""Replies a second of a training step of a language model's adapters: `python -m benchmarks.language_model --help`.

Open it to change the naive way of training, or how time and operations are counted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import matrix_rate, peak_bytes, synchronise
from benchmarks.run_benchmark import run_benchmark
from dialog_cvae.cli import Parser, whole
from dialog_cvae.config import DataConfig
from dialog_cvae.data.cache import open_cache
from dialog_cvae.data.corpora import resolve
from dialog_cvae.data.turns import EncodedTurns
from dialog_cvae.engines.torch_language import KINDS
from dialog_cvae.errors import ConfigError
from dialog_cvae.model.language_cvae import LanguageCVAE
from training.adam import GuardedAdam
from training.arguments import recipe
from training.batch import Batch
from training.config import FitConfig
from training.device import device_of
from training.language_batches import TurnBatches
from training.language_task import backbone_of
from training.memory import keep_freed_memory
from training.task import new_model, task_of
from training.training_corpus import TrainingCorpus
from training.update import update
from training.vocabulary import Vocabulary

EXPLANATION = """\
Trains the recipe smollm2 on a corpus in two ways by turns, an update each: blocks of neighbouring replies that share
one reading of the conversation, and the naive way, in which each reply reads its own context. `share` is the part of
the machine's matrix rate, measured in the same run and in the backbone's precision, that an update's products come to.
"""

BETA = 0.5
NAIVE, OURS = "naive: each reply reads its own context", "ours: blocks of replies share their context"
CONVERSATIONS, TURNS = 1_000, 20  # conversations, and turns of each, of the pass whose time is computed
NAIVE_REPLIES = 8  # replies of a naive update; it takes as long as an update of many that share contexts


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 done, 2 refused or failed, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    keep_freed_memory()
    return run_benchmark(lambda: measured(arguments), table, arguments.json)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "python -m benchmarks.language_model",
        description=EXPLANATION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", default="auto", help="corpus, as for training.fit (default auto)")
    parser.add_argument("--data-dir", type=Path, help="folder with the corpora")
    parser.add_argument("--style", default="fluent", help="text of swda (default fluent)")
    parser.add_argument("--backbone", help="language model (default the recipe's)")
    parser.add_argument("--updates", type=whole(1, 10_000), default=4, help="of each way, after one more (default 4)")
    parser.add_argument("--threads", type=whole(1, 1024), help="CPU threads (default PyTorch's choice)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument("--profile", action="store_true", help="also print the operations of an update of ours")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    return parser


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures by name.

    Raises:
        DialogCvaeError: the corpus or the language model is missing or broken.
    """
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    device = device_of(arguments.device)
    config = _config(arguments)
    corpus = TrainingCorpus(config.corpus, open_cache(None, print), print)
    vocabulary = task_of(config).vocabulary(config, corpus, None)
    turns = task_of(config).encoded(config, corpus, "train", vocabulary)
    if not isinstance(turns, EncodedTurns):
        raise ConfigError(f"corpus {config.corpus.name} is not modelled by a language model")
    model, optimiser = _model(config, vocabulary, device)
    rate = matrix_rate(KINDS[config.train.precision], device)
    ways = {name: _batches(config, turns, block, device) for name, block in ((NAIVE, 1), (OURS, None))}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    counted: dict[str, dict[str, float]] = {}
    streams = {name: batches.from_step(0) for name, batches in ways.items()}
    for turn in range(-1, arguments.updates):
        for name, stream in streams.items():
            batch = next(stream)
            if turn < 0:
                counted[name] = _counted(model, optimiser, batch, config)
                continue
            begin = time.perf_counter()
            _update(model, optimiser, batch, config)
            synchronise(device)
            seconds[name].append(time.perf_counter() - begin)
    if arguments.profile:
        _print_profile(model, optimiser, next(streams[OURS]), config)
    found = {name: _figures(seconds[name], counted[name], rate) for name in ways}
    return {
        "device": str(device),
        "threads": torch.get_num_threads(),
        "precision": config.train.precision,
        "base": backbone_of(model.config).name,
        "matrix_rate": rate,
        "peak_bytes": peak_bytes(device),
        "ways": found,
        "times_naive": found[OURS]["replies_per_second"] / found[NAIVE]["replies_per_second"],
        "pass_seconds": CONVERSATIONS * TURNS / found[OURS]["replies_per_second"],
    }


def _config(arguments: argparse.Namespace) -> FitConfig:
    config = recipe("smollm2")
    assert config.language is not None
    language = config.language
    if arguments.backbone is not None:
        language = language.model_copy(update={"backbone": arguments.backbone})
    corpus = resolve(DataConfig(name=arguments.data, dir=arguments.data_dir, style=arguments.style))
    return config.model_copy(update={"language": language, "corpus": corpus})


def _model(config: FitConfig, vocabulary: Vocabulary, device: torch.device) -> tuple[LanguageCVAE, GuardedAdam]:
    model = new_model(config, vocabulary).to(device)
    assert isinstance(model, LanguageCVAE)
    return model, GuardedAdam(model.parameters(), lr=config.learning_rate.peak)


def _batches(config: FitConfig, turns: EncodedTurns, block: int | None, device: torch.device) -> TurnBatches:
    assert config.language is not None
    if block is None:
        return TurnBatches(turns, config.train, config.language, device=device)
    sizes = config.language.model_copy(update={"block": block})
    return TurnBatches(turns, config.train.model_copy(update={"batch_size": NAIVE_REPLIES}), sizes, device=device)


def _update(model: LanguageCVAE, optimiser: GuardedAdam, batch: Batch, config: FitConfig) -> None:
    update(model, optimiser, batch, config.train, BETA)


def _counted(model: LanguageCVAE, optimiser: GuardedAdam, batch: Batch, config: FitConfig) -> dict[str, float]:
    """Operations and tokens of an update."""
    with FlopCounterMode(display=False) as counter:
        _update(model, optimiser, batch, config)
    tokens = sum(part.windows.tokens.numel() for part in batch.parts)
    targets = sum(int(part.windows.target_lengths.sum()) for part in batch.parts)
    return {"replies": batch.size, "operations": float(counter.get_total_flops()), "tokens": tokens, "targets": targets}


def _figures(seconds: list[float], counted: dict[str, float], rate: float) -> dict[str, float]:
    """The figures of a way, from the median of its updates. Operations and tokens are those of its first update."""
    middle = statistics.median(seconds)
    return {
        "seconds_per_update": middle,
        "fastest": min(seconds),
        "replies_per_second": counted["replies"] / middle,
        "tokens_per_second": counted["tokens"] / middle,
        "targets_per_second": counted["targets"] / middle,
        "operations": counted["operations"],
        "share": counted["operations"] / float(np.min(seconds)) / rate,
    }


def _print_profile(model: LanguageCVAE, optimiser: GuardedAdam, batch: Batch, config: FitConfig) -> None:
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        _update(model, optimiser, batch, config)
    print(profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=50))


def table(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [
        f"{figures['base']} in {figures['precision']} on {figures['device']}, {figures['threads']} threads; "
        f"matrix products reach {figures['matrix_rate'] / 1e9:.0f} G operations/s; "
        f"peak memory {figures['peak_bytes'] / 2**30:.1f} GiB",
        f"{'way':<46}{'s/update':>9}{'replies/s':>11}{'tokens/s':>10}{'share':>7}",
    ]
    for name, row in figures["ways"].items():
        lines.append(
            f"{name:<46}{row['seconds_per_update']:>9.2f}{row['replies_per_second']:>11.1f}"
            f"{row['tokens_per_second']:>10.0f}{row['share']:>7.0%}"
        )
    lines.append(
        f"{figures['times_naive']:.1f} times the naive way; a pass over {CONVERSATIONS:,} conversations of {TURNS} "
        f"turns takes {figures['pass_seconds'] / 60:.0f} minutes"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
