"""Runs everything that needs a GPU, step by step, within a limited time: `python -m benchmarks.gpu --help`.

Open it to add a step, or to change the sizes of a dry run.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dialog_cvae.cli import Parser, exit_status, real

EXPLANATION = """\
Runs the tests that need a GPU, the benchmarks of training, and Table 3's four cells at the paper's sizes for 15 passes.
The output of each step is in OUT/STEP.log. At the end of the time the current step is interrupted. The same command
again leaves out what has finished, and fits go on where they stopped. --dry-run does all of it in a small size, on the
CPU and in OUT/dry: to see that everything is there.
"""
GRACE_S = 20  # seconds for an interrupted step to save its state


class Step(NamedTuple):
    """A command of this Python.

    Attributes:
        name: of its log, and of the file that says that it has finished.
        words: with {device} and {out}.
        full, small: words that are added, for a run and for a dry run.
    """

    name: str
    words: str
    full: str = ""
    small: str = ""


STEPS = (
    Step("tests", "-m pytest -m gpu"),
    Step(
        "training",
        "-m benchmarks.training --device {device} --json {out}/training.json",
        small="--data sample --recipe small --batch-size 4 --segment 2 --turns 1 --warm-up 1",
    ),
    Step(
        "table3",
        "-m experiments table3 --cells diagonal --train.precision bf16 --device {device} --out {out}/table3",
        full="--recipe paper --seeds 1 --train.epochs 15",
        small="--recipe small --seeds 1 --data sample --train.max-steps 2 --samples 2 --references none",
    ),
    Step(
        "language_model",
        "-m benchmarks.language_model --device {device} --json {out}/language_model.json",
        small="--data sample --updates 1",
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the steps; returns the exit status: 0 all have finished, 1 some have not, 2 invalid arguments."""
    parser = Parser(
        prog="python -m benchmarks.gpu", description=EXPLANATION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=real(0, 1e6), default=12.0, help="for all steps together (default 12)")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder for logs and results")
    parser.add_argument("--dry-run", action="store_true", help="small sizes, on the CPU")
    arguments = parser.parse_args(argv)
    return exit_status(lambda: run(arguments.out, arguments.minutes * 60, dry=arguments.dry_run))


def run(out: Path, seconds: float, *, dry: bool, steps: Sequence[Step] = STEPS) -> int:
    """Run what has not finished; returns 0 if everything has, else 1."""
    end = time.monotonic() + seconds
    out = out / "dry" if dry else out
    out.mkdir(parents=True, exist_ok=True)
    endings = [_finished(step, out, end, dry) for step in steps]
    return 0 if all(endings) else 1


def _finished(step: Step, out: Path, end: float, dry: bool) -> bool:
    """Run a step, unless it has finished or there is no time; whether it has finished."""
    done, log, begin = out / f"{step.name}.done", out / f"{step.name}.log", time.monotonic()
    if done.exists():
        print(f"{step.name}: has finished before")
        return True
    if begin >= end:
        print(f"{step.name}: no time is left")
        return False
    words = step.words.format(device="cpu" if dry else "cuda", out=out).split()
    words += (step.small if dry else step.full).split()
    with log.open("ab") as file:
        child = subprocess.Popen(
            [sys.executable, *words], stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status: int | None = child.wait(timeout=end - begin)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _ended(child)
    ending = "interrupted at the end of the time" if status is None else f"exit status {status}"
    print(f"{step.name}: {ending} after {time.monotonic() - begin:.0f} s, see {log}", flush=True)
    if status == 0:
        done.touch()
    return status == 0


def _ended(child: subprocess.Popen[bytes]) -> None:
    """Interrupt a step and all that it has started; kill what does not end."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is None:
            os.killpg(child.pid, how)
            try:
                child.wait(timeout=GRACE_S)
            except subprocess.TimeoutExpired:
                continue


if __name__ == "__main__":
    sys.exit(main())
