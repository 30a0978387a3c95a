"""Locks on folders, so that two processes do not fit into one.

Open this to change what happens to the second process. A lock ends with its process, however that ends.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from dialog_cvae.errors import ConfigError

if sys.platform != "win32":
    import fcntl

RUN_LOCK = ".fitting"  # name of the lock file in a run's folder


@contextmanager
def only_process(out: Path) -> Iterator[None]:
    """Lock a run's folder. If it was missing, it is created, and removed again if nothing was written to it.

    Raises:
        ConfigError: another process has the lock.
    """
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    path = out / RUN_LOCK
    try:
        with path.open("wb") as lock:
            if not try_lock(lock):
                raise ConfigError(f"out: another process fits in {out}; wait for its end, or choose another --out")
            yield
    finally:
        if is_new:
            with suppress(OSError):
                if list(out.iterdir()) == [path]:
                    path.unlink()
                    out.rmdir()


def try_lock(lock: IO[bytes]) -> bool:
    """Lock an open file; False if another process has locked it. A file system without locks gives every lock."""
    try:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):  # PermissionError on Windows
        return False
    except OSError:
        return True
    return True


def wait_for_lock(lock: IO[bytes]) -> None:
    """Wait until no other process has locked an open file, and lock it."""
    while not try_lock(lock):
        time.sleep(0.2)
