"""The device of a process, and settings for the whole process.

Open this to change how a device is chosen.
"""

from __future__ import annotations

import torch

from dialog_cvae.errors import ConfigError
from dialog_cvae.nn.matmul import has_fast_matmul
from training.config import TrainConfig
from training.memory import keep_freed_memory


def device_of(name: str) -> torch.device:
    """The device of a name; `auto` is a CUDA device if there is one.

    Raises:
        ConfigError: the device is unknown or absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device: must be auto, cpu or cuda, but is {name!r}") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device: must be auto, cpu or cuda, but is {name!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device: {name} was asked for, but PyTorch sees no CUDA device here")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device: {name} was asked for, but there are {torch.cuda.device_count()} CUDA devices")
    return device


def set_up_process(device: torch.device, config: TrainConfig) -> None:
    """Set this process's device, CPU threads and memory allocator; print a note if bf16 is slow here."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    if config.precision == "bf16" and not has_fast_matmul(torch.bfloat16, device):
        print("note: fp32 products are faster than bfloat16 ones here: --train.precision fp32", flush=True)
    keep_freed_memory()
