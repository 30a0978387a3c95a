"""One cell of a sweep at work: an ordinary `training.fit` in a process of its own.

A process for each cell, because whatever ends it (the out-of-memory killer, a crash of a driver) then ends nothing
else, and because threads and the GPU's state are its own. `work` waits for it and holds its life line, a pipe: when
that is closed, by wish or because the waiting process died, the fit saves its state and stops (see `process`).

FOLDER/fit.log  what the fit said, each start below its command
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Literal, NamedTuple, cast

LOG_FILE = "fit.log"
POLL_SECONDS = 0.2  # between looks at whether the sweep is to stop
_PROCESS = "training.sweep.process"
_SIGNALLED = 128  # an exit status above it is that of a fit that a signal asked to stop


class CellTask(NamedTuple):
    """What a cell's process is started with.

    Attributes:
        folder: of the cell's run.
        options: of `training.fit`, less --out, --resume and --device.
        stop: a file that comes into being when the sweep is to stop; all machines see it.
        cwd: folder that relative paths are read from.
    """

    folder: Path
    options: tuple[str, ...]
    stop: Path
    cwd: Path


class Ending(NamedTuple):
    """How a cell ended, why if it failed, and how often it was started again on the way."""

    status: Literal["done", "failed", "stopped"]
    reason: str = ""
    restarts: int = 0


def work(task: CellTask, device: str) -> Ending:
    """Fit a cell to its end, starting it again whenever it was cut off and had got further since its last start.

    Args:
        task: the cell's.
        device: `--device` of the fit.
    """
    try:
        return _work(task, device)
    except OSError as error:  # a full disk, a folder without permission
        return Ending("failed", f"{error.filename or task.folder}: {error.strerror}")


def _work(task: CellTask, device: str) -> Ending:
    folder = task.cwd / task.folder
    reached: list[int] = []  # the saved step whenever it was cut off
    while not task.stop.exists():
        status = _fit(task, device)
        if status == 0:
            return Ending("done", restarts=len(reached))
        if 0 < status < _SIGNALLED:
            return Ending("failed", _last_error(folder / LOG_FILE), len(reached))
        step = _saved_step(folder)
        if reached and step <= reached[-1] and not task.stop.exists():
            reason = f"cut off by {_signal_of(status)}, and again without having got further than step {step}"
            return Ending("failed", reason, len(reached))
        reached.append(step)
    return Ending("stopped", restarts=max(0, len(reached) - 1))


def _fit(task: CellTask, device: str) -> int:
    """Run the process; its exit status, negative where a signal killed it."""
    folder = task.cwd / task.folder
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", _PROCESS, str(task.folder), *task.options, f"--device={device}"]
    with (folder / LOG_FILE).open("ab") as log:
        # In a session of its own: Ctrl-C in a terminal reaches the sweep alone, which stops its cells once.
        process = subprocess.Popen(
            command,
            cwd=task.cwd,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with cast(IO[bytes], process.stdin) as life_line:
            while True:
                try:
                    return process.wait(POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    if task.stop.exists():
                        life_line.close()


def _environment() -> dict[str, str]:
    """This process's, without what would make a cell wait for others: it trains alone, wherever the sweep runs."""
    shared = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "ROLE_WORLD_SIZE")
    return {
        name: value
        for name, value in os.environ.items()
        if name not in shared and not name.startswith(("MASTER_", "TORCHELASTIC_"))
    }


def _signal_of(status: int) -> str:
    """The name of the signal that an exit status stands for."""
    number = -status if status < 0 else status - _SIGNALLED
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _saved_step(folder: Path) -> int:
    # Imported here: where a cell waits, and nothing was cut off, nothing needs torch.
    from dialog_cvae.errors import CheckpointError
    from training.state import load_progress

    try:
        return load_progress(folder).step
    except CheckpointError:  # cut off before it had saved anything
        return 0


def _last_error(log: Path) -> str:
    """The message that the fit ended with."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1].removeprefix("error: ") if lines else "it said nothing"
