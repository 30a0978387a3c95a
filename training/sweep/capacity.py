"""How many cells can run on this machine at the same time, by cores, free memory, and free memory of the GPUs.

Open this to change how memory is estimated.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path

import joblib
import torch

from training.base_task import Task
from training.config import FitConfig, Sizes
from training.task import task_of

# A fit of the paper's model on Switchboard takes 0.9 GB at its peak; `fit_bytes` estimates 0.3 GB of this.
PROCESS_BYTES = 700 * 2**20  # memory of the interpreter, PyTorch and the encoded corpus
CONTEXT_BYTES = 600 * 2**20  # GPU memory of a CUDA context with its libraries
_COPIES = 4  # arrays as large as the weights: weights, gradient, Adam's two moments
_LOGITS = 3  # arrays as large as a batch's logits: logits, log-softmax, gradient
_FLOAT = 4  # bytes of a number
_FREE_ON_GPUS = "[torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]"
_CONTAINER = Path("/sys/fs/cgroup")


def cells_by_cores(threads: int) -> int:
    """Number of cells with `threads` threads that the cores of this process can run at the same time; at least 1."""
    cores: int = joblib.cpu_count()
    return max(1, cores // threads)


def cells_by_memory(fit: int) -> int | None:
    """Number of cells of `fit` bytes that free memory holds, at least 1; None if free memory is unknown."""
    free = free_memory()
    return None if free is None else max(1, free // (PROCESS_BYTES + fit))


def cells_by_gpu(fit: int, free: int) -> int:
    """Number of cells of `fit` bytes that a GPU with `free` bytes holds; at least 1."""
    return max(1, free // (CONTEXT_BYTES + fit))


def fit_bytes(config: FitConfig) -> int:
    """Estimated bytes of weights, optimiser and a batch, without `PROCESS_BYTES`."""
    words = config.tokenizer.vocab_size
    logits = config.train.batch_size * task_of(config).max_tokens(config) * words
    return _FLOAT * (_COPIES * parameters(task_of(config), config.sizes, words) + _LOGITS * logits)


@functools.cache  # a sweep calls it for every seed
def parameters(task: Task, sizes: Sizes, words: int) -> int:
    """Number of parameters of a model, without its topics."""
    with torch.device("meta"):  # shapes alone
        model = task.build(sizes, words, 0)
    return sum(int(weight.numel()) for weight in model.parameters())


def free_memory() -> int | None:
    """Bytes that new processes can take, on the machine or in its container; None if the system does not report it."""
    known = [free for free in (_free_on_machine(), _free_in_container()) if free is not None]
    return min(known, default=None)


def free_on_gpus() -> list[int]:
    """Free bytes of each GPU of this process. Another process asks, so that its CUDA context is freed when it ends."""
    if not torch.cuda.is_available():
        return []
    script = f"import json, torch; print(json.dumps({_FREE_ON_GPUS}))"
    asked = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    free: list[int] = json.loads(asked.stdout) if asked.returncode == 0 else [0] * torch.cuda.device_count()
    return free


def _free_on_machine() -> int | None:
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 2**10
    except (OSError, KeyError, ValueError):  # not Linux
        return None


def _free_in_container() -> int | None:
    try:
        limit = int((_CONTAINER / "memory.max").read_text())
        used = int((_CONTAINER / "memory.current").read_text())
        kinds = dict(line.split() for line in (_CONTAINER / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(kinds["inactive_file"]))  # cached files count as free
    except (OSError, KeyError, ValueError):  # no container, or one without a limit
        return None
