"""The process of a sweep's cell: `python -m training.sweep.process FOLDER OPTIONS`, which `cell_task` starts.

Open this to change how a cell is stopped. It fits while its standard input is open; when that is closed, it saves its
state and stops. A lock in the folder allows only one process per cell. If the process of an earlier sweep is still
stopping, the new one waits and then continues from the saved state.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from training.locks import wait_for_lock

LOCK_FILE = ".lock"
_STDIN = 0


def main(argv: Sequence[str]) -> int:
    """Fit the cell in the folder `argv[0]` with the options after it; returns the exit status of the fit."""
    folder, options = Path(argv[0]), [*argv[1:]]
    threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    with (folder / LOCK_FILE).open("wb") as lock:
        wait_for_lock(lock)
        from training import fit
        from training.state import STATE_FILE

        options += [f"--out={folder}", "--no-report", *(["--resume"] if (folder / STATE_FILE).exists() else [])]
        print(f"$ {shlex.join(['python', '-m', 'training.fit', *options])}", flush=True)
        return fit.main(options)


def _stop_at_end_of_input() -> None:
    while os.read(_STDIN, 1):  # no input comes: only its end matters
        pass
    if sys.platform == "win32":
        signal.raise_signal(signal.SIGTERM)  # on Windows, os.kill would end the process without calling the handler
    else:
        os.kill(os.getpid(), signal.SIGTERM)  # unlike raise_signal, it reaches a waiting main thread


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
