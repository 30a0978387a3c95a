"""The figures of the training benchmark: computes them from the measurements, and prints them as a table.

Open it to add a column to the table, or to see how its ratios and shares are computed.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import torch

from benchmarks.training_run import NAIVE, Measured, Way


def figures_of(
    measured: Mapping[Way, Measured],
    operations: Mapping[Way, float],
    parts: Mapping[str, Mapping[str, float]],
    rates: Mapping[str, float],
    difference: float,
    device: torch.device,
) -> dict[str, Any]:
    """All figures by name.

    Args:
        measured: of each way.
        operations: of an update of each way.
        parts: shares of an update's time, for some ways by name.
        rates: operations per second of the machine, by type of number.
        difference: between the naive loss and ours, relative.
        device: that was used.
    """
    naive = next(found.rate for way, found in measured.items() if way.name == NAIVE)
    rows = {}
    for way, found in measured.items():
        machine = rates["bfloat16" if way.precision == "bf16" else "float32"]
        rows[way.name] = _row(way, found, operations[way] / way.batch_size, naive, machine)
    ours = {way: found.rate for way, found in measured.items() if way.name != NAIVE}
    fp32, best = max(rate for way, rate in ours.items() if way.precision == "fp32"), max(ours.values())
    return {
        "ratio_fp32": fp32 / naive,
        "ratio_best": best / naive,
        "examples_per_second": best,
        "examples_per_second_fp32": fp32,
        "examples_per_second_naive": naive,
        "loss_difference": difference,
        "gflop_per_second": {kind: rate / 1e9 for kind, rate in rates.items()},
        "ways": rows,
        "parts": parts,
        "threads": torch.get_num_threads(),
        "device": str(device),
    }


def _row(way: Way, found: Measured, operations: float, naive: float, machine: float) -> dict[str, Any]:
    """The figures of one way.

    Args:
        way: the way.
        found: its measurements.
        operations: for each example.
        naive: examples per second of the naive way.
        machine: operations per second of the machine, at the way's precision.
    """
    return {
        "examples_per_second": found.rate,
        "ratio": found.rate / naive,
        "gflop_per_example": operations / 1e9,
        "share_of_matrix_rate": operations * found.rate / machine,
        "peak_bytes": found.peak,
        "data_wait": found.waited / found.seconds,
        "windows": way.batch_size,
        "conversations": statistics.mean(found.conversations),
        "utterances_encoded": statistics.mean(found.utterances),
        "updates_per_1000_windows": 1000 / way.batch_size,
    }


def table(figures: dict[str, Any]) -> str:
    """The figures as text for the terminal."""
    rates = figures["gflop_per_second"]
    lines = [
        f"device {figures['device']}, {figures['threads']} threads; products of large matrices: "
        f"{rates['float32']:.0f} GFLOP/s in fp32, {rates['bfloat16']:.0f} in bf16",
        f"the naive loss equals ours within {figures['loss_difference']:.1g}, relative",
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
