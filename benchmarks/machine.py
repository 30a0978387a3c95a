"""Measures the machine: the rate of its matrix products, and the peak memory of a part of a run.

Open it to change how a benchmark measures the machine's speed or a peak of memory.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

SIZE = 2048  # rows and columns of the square matrices whose product is timed
SECONDS = 0.5  # seconds of repeated calls


def matrix_rate(kind: torch.dtype, device: torch.device) -> float:
    """Operations per second of a product of two large square matrices, 2 for each multiplication and addition: the best
    result within half a second.
    """
    x = torch.randn(SIZE, SIZE, device=device, dtype=kind)
    return 2 * SIZE**3 / least_seconds(lambda: torch.mm(x, x), device)


def least_seconds(act: Callable[[], object], device: torch.device) -> float:
    """The shortest time of a call of `act`, from repeated calls."""
    act()
    end, least = time.perf_counter() + SECONDS, float("inf")
    while time.perf_counter() < end:
        synchronise(device)
        begin = time.perf_counter()
        act()
        synchronise(device)
        least = min(least, time.perf_counter() - begin)
    return least


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_peak(device: torch.device) -> None:
    """Reset the record of peak memory, if the system allows it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return


def peak_bytes(device: torch.device) -> int:
    """Peak memory since `forget_peak`, of the GPU if the device is one, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
