"""One way to train, at work: times its updates, counts their operations, profiles their parts.

Open this to change what is measured about a training step.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from benchmarks.machine import forget_peak, peak_bytes, synchronise
from dialog_cvae.model.cvae import TensorBatch
from training.adam import GuardedAdam
from training.batch import Batch
from training.config import TrainConfig
from training.dialog_batches import DialogBatches
from training.loop import PREFETCHED_BATCHES
from training.prefetch import Prefetcher
from training.update import update

Precision = Literal["fp32", "bf16"]

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
TURN = 3  # updates of one way before the next way continues
NAIVE = "naive"
BETA = 0.5

# The parts of an update, and how the names of a part's operations start; the first part that matches counts.
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
OTHER_PARTS = "gates and everything else"


class Way(NamedTuple):
    """One way to train.

    Attributes:
        name: as the table shows it.
        batch_size: windows in an update.
        segment: neighbouring windows that stay together.
        precision: of the matrix products.
    """

    name: str
    batch_size: int
    segment: int
    precision: Precision

    def config(self, seed: int) -> TrainConfig:
        """The training configuration with this way's fields."""
        return TrainConfig(seed=seed, batch_size=self.batch_size, segment=self.segment, precision=self.precision)


@dataclass
class Measured:
    """Measurements of one way.

    Attributes:
        rates: examples per second, for each turn.
        seconds: over all turns.
        waited: seconds of them spent waiting for batches.
        conversations: pieces of conversations, for each batch.
        utterances: rows of utterances, for each batch.
        peak: bytes of memory at the highest.
    """

    rates: list[float] = field(default_factory=list)
    seconds: float = 0.0
    waited: float = 0.0
    conversations: list[int] = field(default_factory=list)
    utterances: list[int] = field(default_factory=list)
    peak: int = 0

    @property
    def rate(self) -> float:
        """Examples per second: the median over the turns."""
        return float(statistics.median(self.rates))


class TrainingRun:
    """Updates of one way, on its batches in their order.

    Args:
        model: its parameters are the optimiser's.
        optimiser: shared by all ways.
        batches: made with the configuration of the way.
    """

    def __init__(self, model: nn.Module, optimiser: GuardedAdam, batches: DialogBatches) -> None:
        self._model, self._optimiser, self._config = model, optimiser, batches.config
        self._device = torch.device(batches.device)
        self._batches: Prefetcher[Batch] = Prefetcher(batches.from_step(0), PREFETCHED_BATCHES[self._device.type])

    def make_updates(self, updates: int, measured: Measured | None = None) -> None:
        """Make updates; add their measurements to `measured`, if it is given."""
        # Time the updates.
        forget_peak(self._device)
        waited, begin = self._batches.waited, time.perf_counter()
        made = []
        for _ in range(updates):
            batch = next(self._batches)
            update(self._model, self._optimiser, batch, self._config, BETA)  # type: ignore[arg-type]
            made.append(batch)
        synchronise(self._device)
        seconds = time.perf_counter() - begin

        # Add up, outside the time.
        if measured is None:
            return
        measured.rates.append(sum(batch.size for batch in made) / seconds)
        measured.seconds += seconds
        measured.waited += self._batches.waited - waited
        measured.peak = max(measured.peak, peak_bytes(self._device))
        for batch in made:
            windows = batch.parts[0].windows
            measured.utterances.append(len(windows.lengths))
            measured.conversations.append(conversation_pieces(windows))

    def operations(self) -> float:
        """Operations of an update's matrix products, 2 for each multiplication and addition: the mean of one turn."""
        with FlopCounterMode(display=False) as counter:
            self.make_updates(TURN)
        return float(counter.get_total_flops()) / TURN

    def parts(self) -> dict[str, float]:
        """Share of an update's time by part, from the profile of one turn."""
        on_gpu = self._device.type == "cuda"
        with profile(activities=[ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if on_gpu else [])) as trace:
            self.make_updates(TURN)
        seconds: dict[str, float] = dict.fromkeys((*PARTS, OTHER_PARTS), 0.0)
        for event in trace.key_averages():
            part = next((name for name, starts in PARTS.items() if event.key.startswith(starts)), OTHER_PARTS)
            seconds[part] += event.self_device_time_total if on_gpu else event.self_cpu_time_total
        total = sum(seconds.values())
        return {name: value / total for name, value in seconds.items()}

    def close(self) -> None:
        """Stop the thread that makes batches."""
        self._batches.__exit__(None, None, None)


def conversation_pieces(windows: TensorBatch) -> int:
    """Pieces of conversations in a batch: groups of windows that share no utterance with another group."""
    groups: list[set[int]] = []
    for row, response in zip(windows.context.tolist(), windows.response.tolist(), strict=True):
        utterances = {*row, response} - {0}
        separate = [group for group in groups if not group & utterances]
        groups = [*separate, utterances.union(*(group for group in groups if group & utterances))]
    return len(groups)


def _count_onednn() -> None:
    """Teach PyTorch's counter of operations the oneDNN product, which has no public name."""
    try:
        operation = torch.ops.mkldnn._linear_pointwise
    except AttributeError:
        return

    @register_flop_formula(operation)
    def _(x_shape: torch.Size, *_: object, out_shape: torch.Size, **__: object) -> int:
        return int(2 * np.prod(x_shape) * out_shape[-1])


_count_onednn()
