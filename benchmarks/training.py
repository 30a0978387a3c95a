"""Examples a second of a training step, against a naive one: `python -m benchmarks.training --help`."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from benchmarks.machine import forget_peak, matrix_rate, peak_bytes, synchronise
from benchmarks.naive_step import naive_terms
from benchmarks.run_benchmark import run_benchmark
from dialog_cvae.cli import Parser, whole
from dialog_cvae.config import DataConfig
from dialog_cvae.data.batches import EncodedCorpus
from dialog_cvae.data.cache import open_cache
from dialog_cvae.data.corpora import resolve
from dialog_cvae.errors import ConfigError
from dialog_cvae.model.cvae import CVAE, TensorBatch
from dialog_cvae.types import ElboTerms
from training.adam import GuardedAdam
from training.arguments import recipe
from training.batch import Batch
from training.config import FitConfig, TrainConfig
from training.device import device_of
from training.dialog_batches import DialogBatches
from training.loop import PREFETCHED_BATCHES
from training.memory import keep_freed_memory
from training.prefetch import Prefetcher
from training.task import new_model
from training.training_corpus import TrainingCorpus
from training.update import update
from training.vocabulary import Vocabulary

EXPLANATION = """\
Trains on a corpus in several ways by turns, a few updates each, and prints examples (windows) a second of each. The
naive step has the structure of the field's PyTorch code for this model: windows drawn one by one, every window's
utterances encoded anew, states projected to the vocabulary at padded positions too. Its loss is checked to be ours on
the same windows before anything is timed. `share` is the part of the machine's matrix rate, measured in the same run
and in the way's precision, that the counted operations of a step come to.
"""

WARM_UP = 30  # updates before the clock runs: oneDNN compiles a kernel for every shape it has not met
TURN = 3  # updates at a time
NAIVE = "naive"
TOLERANCE = 1e-4  # relative, between two orders of adding up a loss in single precision
BETA = 0.5

# What a profile's operations are told as; the first pattern that fits.
PARTS = {
    "matrix products": ("aten::mm", "aten::bmm", "aten::addmm", "mkldnn::_linear", "mkldnn::_reorder", "aten::_cudnn"),
    "optimiser and clipping": ("aten::_fused_adam", "aten::linalg_vector_norm", "aten::_foreach"),
    "copies and conversions": (
        "aten::copy_",
        "aten::_to_copy",
        "aten::cat",
        "aten::fill_",
        "aten::zero_",
        "aten::clone",
    ),
    "softmax": ("aten::_softmax", "aten::_log_softmax", "aten::amax", "aten::exp", "aten::nll"),
}
ELSEWHERE = "gates and everything else"


PRECISIONS: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16")


class Way(NamedTuple):
    """One way to train.

    Attributes:
        name: for people.
        batch_size: windows in an update.
        segment: neighbouring windows that stay together.
        precision: of the products.
    """

    name: str
    batch_size: int
    segment: int
    precision: Literal["fp32", "bf16"]

    def config(self, seed: int) -> TrainConfig:
        """The fields of training that it sets."""
        return TrainConfig(seed=seed, batch_size=self.batch_size, segment=self.segment, precision=self.precision)


class NaiveModel(nn.Module):
    """A model of the same parameters whose forward pass is the naive one."""

    def __init__(self, model: CVAE) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, batch: TensorBatch, noise: Tensor) -> ElboTerms:
        """See `naive_terms`."""
        return naive_terms(self.model, batch, noise)


@dataclass
class Measured:
    """What was seen of a way: for each turn its examples a second, and sums over all of them."""

    rates: list[float] = field(default_factory=list)
    seconds: float = 0.0
    waited: float = 0.0
    updates: int = 0
    conversations: list[int] = field(default_factory=list)
    utterances: list[int] = field(default_factory=list)
    peak: int = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 done, 2 refused or failed, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    keep_freed_memory()
    return run_benchmark(lambda: measured(arguments), table, arguments.json)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "python -m benchmarks.training", description=EXPLANATION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="auto", help="corpus, as for training.fit (default auto)")
    parser.add_argument("--data-dir", type=Path, help="folder with the corpora")
    parser.add_argument("--recipe", default="paper", help="whose sizes are trained, with the bag-of-words head")
    parser.add_argument("--batch-size", type=whole(1, 100_000), default=120, help="of the large batch (default 120)")
    parser.add_argument("--segment", type=whole(1, 10_000), default=10, help="of the large batch (default 10)")
    parser.add_argument("--turns", type=whole(1, 10_000), default=8, help=f"of {TURN} updates for each way (default 8)")
    parser.add_argument("--warm-up", type=whole(1, 10_000), default=WARM_UP, help=f"updates (default {WARM_UP})")
    parser.add_argument("--threads", type=whole(1, 1024), help="CPU threads (default PyTorch's choice)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    return parser


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures by name.

    Raises:
        ConfigError: the naive step's loss is not ours.
    """
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    device = device_of(arguments.device)
    base = recipe(arguments.recipe)
    config = base.model_copy(update={"model": base.model.model_copy(update={"bow": True})})
    corpus, vocabulary = _corpus(config, DataConfig(name=arguments.data, dir=arguments.data_dir))
    model = new_model(config, vocabulary).to(device)
    assert isinstance(model, CVAE)
    naive = NaiveModel(model)
    paper = config.train.batch_size
    ways = [
        Way(NAIVE, paper, 1, "fp32"),
        *(
            Way(f"ours, {size} x {segment}, {precision}", size, segment, precision)
            for size, segment in ((paper, 1), (paper, config.train.segment), (arguments.batch_size, arguments.segment))
            for precision in PRECISIONS
        ),
    ]
    difference = loss_difference(model, naive, DialogBatches(corpus, ways[3].config(0), config.model, device=device))
    if not difference < TOLERANCE:
        raise ConfigError(f"the naive loss must be ours up to {TOLERANCE:g} of it, but differs by {difference:g}")
    seen = {way: Measured() for way in ways}
    optimiser = GuardedAdam(model.parameters(), lr=config.learning_rate.peak)
    runs = {
        way: Taking(
            naive if way.name == NAIVE else model,
            optimiser,
            DialogBatches(corpus, way.config(0), config.model, device=device),
        )
        for way in ways
    }
    try:
        for turn in range(-1, arguments.turns):
            for way in ways:
                runs[way].take(arguments.warm_up if turn < 0 else TURN, None if turn < 0 else seen[way])
        counted = {way: runs[way].operations() for way in ways}
        parts = {way.name: runs[way].parts() for way in (ways[0], max(ways, key=lambda way: _rate(seen[way])))}
    finally:
        for run in runs.values():
            run.close()
    rates = {kind: matrix_rate(getattr(torch, kind), device) for kind in ("float32", "bfloat16")}
    return _figures(seen, counted, parts, rates, difference, device)


def _corpus(config: FitConfig, data: DataConfig) -> tuple[EncodedCorpus, Vocabulary]:
    """The training split, encoded."""

    def say(line: str) -> None:
        print(line, flush=True)

    corpus = TrainingCorpus(resolve(data), open_cache(None, say), say)
    vocabulary = Vocabulary(corpus.tokenizer(config.tokenizer), corpus.summary.topics)
    return corpus.encoded("train", vocabulary, config.model.max_utterance_tokens), vocabulary


def loss_difference(model: CVAE, naive: nn.Module, windows: DialogBatches) -> float:
    """How far the two losses are apart on the same windows and noise, relative to ours."""
    part = next(windows.from_step(0)).parts[0]
    with torch.no_grad():
        ours, theirs = model(part.windows, part.noise), naive(part.windows, part.noise)
    apart = 0.0
    for mine, other in zip(ours, theirs, strict=True):
        if mine is not None:
            apart = max(apart, float((mine - other).abs().max() / mine.abs().max().clamp_min(1)))
    return apart


class Taking:
    """Updates of one way, in the order of its windows.

    Args:
        model: whose parameters the optimiser has.
        optimiser: shared by all ways.
        windows: with the configuration of the way.
    """

    def __init__(self, model: nn.Module, optimiser: GuardedAdam, windows: DialogBatches) -> None:
        self._model, self._optimiser, self._windows = model, optimiser, windows
        self._device = torch.device(windows.device)
        self._batches: Prefetcher[Batch] = Prefetcher(windows.from_step(0), PREFETCHED_BATCHES[self._device.type])

    def take(self, updates: int, seen: Measured | None = None) -> None:
        """Make updates, and add what is seen of them."""
        forget_peak(self._device)
        waited, begin, examples = self._batches.waited, time.perf_counter(), 0
        batches = []
        for _ in range(updates):
            batch = next(self._batches)
            update(self._model, self._optimiser, batch, self._windows.config, BETA)  # type: ignore[arg-type]
            examples += batch.size
            batches.append(batch)
        synchronise(self._device)
        seconds = time.perf_counter() - begin
        if seen is not None:
            seen.rates.append(examples / seconds)
            seen.seconds += seconds
            seen.waited += self._batches.waited - waited
            seen.updates += updates
            seen.peak = max(seen.peak, peak_bytes(self._device))
            for batch in batches:
                windows = batch.parts[0].windows
                seen.utterances.append(len(windows.lengths))
                seen.conversations.append(self._conversations(windows))

    def _conversations(self, windows: TensorBatch) -> int:
        """Pieces of conversations in a batch: groups of windows that share no utterance with another group."""
        groups: list[set[int]] = []
        for row, response in zip(windows.context.tolist(), windows.response.tolist(), strict=True):
            mine = {*row, response} - {0}
            apart = [group for group in groups if not group & mine]
            groups = [*apart, mine.union(*(group for group in groups if group & mine))]
        return len(groups)

    def operations(self) -> float:
        """Operations of an update's matrix products, 2 for each multiplication and addition: the mean of one turn."""
        with FlopCounterMode(display=False) as counter:
            self.take(TURN)
        return float(counter.get_total_flops()) / TURN

    def parts(self) -> dict[str, float]:
        """Share of an update's time by part, by the profile of one turn."""
        kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if self._device.type == "cuda" else [])
        with profile(activities=kinds) as trace:
            self.take(TURN)
        seconds: dict[str, float] = dict.fromkeys((*PARTS, ELSEWHERE), 0.0)
        for event in trace.key_averages():
            part = next((name for name, patterns in PARTS.items() if event.key.startswith(patterns)), ELSEWHERE)
            own = event.self_device_time_total if self._device.type == "cuda" else event.self_cpu_time_total
            seconds[part] += own
        total = sum(seconds.values())
        return {name: value / total for name, value in seconds.items()}

    def close(self) -> None:
        """End the thread that makes batches."""
        self._batches.__exit__(None, None, None)


def _count_onednn() -> None:
    """Let the counter of operations know the products that PyTorch has no public name for."""
    try:
        operation = torch.ops.mkldnn._linear_pointwise
    except AttributeError:
        return

    @register_flop_formula(operation)
    def _(x_shape: torch.Size, *_: object, out_shape: torch.Size, **__: object) -> int:
        return int(2 * np.prod(x_shape) * out_shape[-1])


_count_onednn()


def _rate(seen: Measured) -> float:
    return float(statistics.median(seen.rates))


def _figures(
    seen: dict[Way, Measured],
    counted: dict[Way, float],
    parts: dict[str, dict[str, float]],
    rates: dict[str, float],
    difference: float,
    device: torch.device,
) -> dict[str, Any]:
    naive = next(measured for way, measured in seen.items() if way.name == NAIVE)
    rows = {}
    for way, measured in seen.items():
        machine = rates["bfloat16" if way.precision == "bf16" else "float32"]
        rows[way.name] = {
            "examples_per_second": _rate(measured),
            "ratio": _rate(measured) / _rate(naive),
            "gflop_per_example": counted[way] / way.batch_size / 1e9,
            "share_of_matrix_rate": counted[way] * _rate(measured) / way.batch_size / machine,
            "peak_bytes": measured.peak,
            "data_wait": measured.waited / measured.seconds,
            "windows": way.batch_size,
            "conversations": statistics.mean(measured.conversations),
            "utterances_encoded": statistics.mean(measured.utterances),
            "updates_per_1000_windows": 1000 / way.batch_size,
        }
    ours = {way: rows[way.name] for way in seen if way.name != NAIVE}
    single = max(row["examples_per_second"] for way, row in ours.items() if way.precision == "fp32")
    best = max(row["examples_per_second"] for row in ours.values())
    return {
        "ratio_fp32": single / _rate(naive),
        "ratio_best": best / _rate(naive),
        "examples_per_second": best,
        "examples_per_second_fp32": single,
        "examples_per_second_naive": _rate(naive),
        "loss_difference": difference,
        "gflop_per_second": {kind: rate / 1e9 for kind, rate in rates.items()},
        "ways": rows,
        "parts": parts,
        "threads": torch.get_num_threads(),
        "device": str(device),
    }


def table(figures: dict[str, Any]) -> str:
    """The figures, for people."""
    rates = figures["gflop_per_second"]
    lines = [
        f"device {figures['device']}, {figures['threads']} threads; products of large matrices: "
        f"{rates['float32']:.0f} GFLOP/s in fp32, {rates['bfloat16']:.0f} in bf16",
        f"the naive loss is ours up to {figures['loss_difference']:.1g} of it",
        "",
        "| step: windows x segment, precision | examples/s | ratio | GFLOP/example | share | peak MiB | data wait "
        "| conversations | utterances | updates per 1,000 windows |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in figures["ways"].items():
        lines.append(
            f"| {name} | {row['examples_per_second']:.1f} | {row['ratio']:.2f} | {row['gflop_per_example']:.2f} "
            f"| {row['share_of_matrix_rate']:.0%} | {row['peak_bytes'] / 2**20:.0f} | {row['data_wait']:.1%} "
            f"| {row['conversations']:.1f} | {row['utterances_encoded']:.0f} | {row['updates_per_1000_windows']:.1f} |"
        )
    for name, parts in figures["parts"].items():
        shares = ", ".join(f"{part} {share:.0%}" for part, share in parts.items())
        lines += ["", f"{name}: {shares}"]
    lines += ["", f"ratio: fp32 {figures['ratio_fp32']:.1f}, best {figures['ratio_best']:.1f}"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
