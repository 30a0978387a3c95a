"""Runs one cell of a sweep: an ordinary `training.fit` in a separate process.

Open this to change when a cell is restarted. Each cell has its own process, so that a crash (out of memory, a driver)
ends only this cell, and threads and the GPU's state are not shared. `run_cell` waits for the process and holds a pipe
to it. When the pipe closes, because the sweep stops or the waiting process ended, the fit saves its state and stops
(see `process`).

FOLDER/fit.log  the output of the fit, after the command of each start
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Literal, NamedTuple, cast

LOG_FILE = "fit.log"
POLL_SECONDS = 0.2  # seconds between two checks of whether the sweep must stop
_PROCESS = "training.sweep.process"
_SIGNALLED = 128  # a fit that a signal stopped has this exit status plus the signal's number


class CellTask(NamedTuple):
    """What is needed to start a cell's process.

    Attributes:
        folder: folder of the cell's run.
        options: options of `training.fit`, without --out, --resume and --device.
        stop: a file that is created when the sweep must stop; all machines see it.
        cwd: working folder of the process.
    """

    folder: Path
    options: tuple[str, ...]
    stop: Path
    cwd: Path


class Ending(NamedTuple):
    """How a cell ended: its status, the reason of a failure, and how often it was restarted."""

    status: Literal["done", "failed", "stopped"]
    reason: str = ""
    restarts: int = 0


def run_cell(task: CellTask, device: str) -> Ending:
    """Fit a cell to its end; restart it after an interruption if it made progress since its last start.

    Args:
        task: of the cell.
        device: `--device` of the fit.
    """
    try:
        return _fit_to_the_end(task, device)
    except OSError as error:  # a full disk, a folder without permission
        return Ending("failed", f"{error.filename or task.folder}: {error.strerror}")


def _fit_to_the_end(task: CellTask, device: str) -> Ending:
    folder = task.cwd / task.folder
    reached: list[int] = []  # the saved step at each interruption
    while not task.stop.exists():
        status = _fit(task, device)
        if status == 0:
            return Ending("done", restarts=len(reached))
        if 0 < status < _SIGNALLED:
            return Ending("failed", _last_error(folder / LOG_FILE), len(reached))
        step = _saved_step(folder)
        if reached and step <= reached[-1] and not task.stop.exists():
            reason = f"ended twice by a signal ({_signal_of(status)}) without progress beyond step {step}"
            return Ending("failed", reason, len(reached))
        reached.append(step)
    return Ending("stopped", restarts=max(0, len(reached) - 1))


def _fit(task: CellTask, device: str) -> int:
    """Run the process; returns its exit status, negative if a signal killed it."""
    folder = task.cwd / task.folder
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", _PROCESS, str(task.folder), *task.options, f"--device={device}"]
    with (folder / LOG_FILE).open("ab") as log:
        # In its own session, so that Ctrl-C in a terminal reaches only the sweep, which then stops its cells.
        process = subprocess.Popen(
            command,
            cwd=task.cwd,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with cast(IO[bytes], process.stdin) as pipe:
            while True:
                try:
                    return process.wait(POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    if task.stop.exists():
                        pipe.close()


def _environment() -> dict[str, str]:
    """This process's environment without torchrun's variables: a cell trains alone and must not wait for others."""
    shared = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "ROLE_WORLD_SIZE")
    return {
        name: value
        for name, value in os.environ.items()
        if name not in shared and not name.startswith(("MASTER_", "TORCHELASTIC_"))
    }


def _signal_of(status: int) -> str:
    """The name of the signal behind an exit status."""
    number = -status if status < 0 else status - _SIGNALLED
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _saved_step(folder: Path) -> int:
    # Imported here, because only an interrupted cell needs torch in this process.
    from dialog_cvae.errors import CheckpointError
    from training.state import load_progress

    try:
        return load_progress(folder).step
    except CheckpointError:  # interrupted before the first save
        return 0


def _last_error(log: Path) -> str:
    """The last message of the fit."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1].removeprefix("error: ") if lines else "the fit printed nothing"
