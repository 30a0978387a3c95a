"""The process of a sweep's cell: `python -m training.sweep.process FOLDER OPTIONS`, which `cell_task` starts.

It fits while its standard input, the life line, is open; then it saves its state and stops. A lock in the folder lets
no two processes work on one cell, not even where that of an earlier sweep is still about to stop: the second waits, and
goes on from what the first left.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

LOCK_FILE = ".lock"
_STDIN = 0


def main(argv: Sequence[str]) -> int:
    """Fit the cell in the folder `argv[0]` with the options after it; returns the exit status of the fit."""
    folder, options = Path(argv[0]), [*argv[1:]]
    threading.Thread(target=_stop_when_cut, daemon=True).start()
    with (folder / LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        from training import fit
        from training.state import STATE_FILE

        options += [f"--out={folder}", *(["--resume"] if (folder / STATE_FILE).exists() else [])]
        print(f"$ {shlex.join(['python', '-m', 'training.fit', *options])}", flush=True)
        return fit.main(options)


def _stop_when_cut() -> None:
    while os.read(_STDIN, 1):  # nothing is ever written; the end of the file is the sign
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
