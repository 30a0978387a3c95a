"""A service in a process of its own, for as long as it is measured."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO

from dialog_cvae.errors import DialogCvaeError

STARTS_S = 120.0


@dataclass(frozen=True)
class Served:
    """A running service.

    Attributes:
        port: on the loopback interface.
        process: of the service.
        seconds_to_ready: from the start of the process to the first answer of /health/ready.
    """

    port: int
    process: subprocess.Popen[bytes]
    seconds_to_ready: float

    def resident_mib(self) -> float:
        """Memory that the process holds; NaN where the system does not say."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            return float("nan")
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmRSS"].split()[0]) / 1024


@contextmanager
def served(checkpoint: Path, settings: Mapping[str, object]) -> Iterator[Served]:
    """Start the service and end it afterwards.

    Args:
        checkpoint: folder.
        settings: of the service, without their prefix; None is left out.

    Raises:
        DialogCvaeError: it does not come up.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    chosen = {"CHECKPOINT": checkpoint, "MAX_WAITING": 1024, **settings}
    variables = {f"DIALOG_CVAE_{name}": str(value) for name, value in chosen.items() if value is not None}
    command = [sys.executable, "-m", "uvicorn", "api.app:app", "--port", str(port), "--no-access-log"]
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=os.environ | variables, stdout=log, stderr=log)
        try:
            while not _ready(port):
                if process.poll() is not None or time.perf_counter() - begin > STARTS_S:
                    raise DialogCvaeError(f"the service did not start: {_last_lines(log)}")
                time.sleep(0.01)
            yield Served(port, process, time.perf_counter() - begin)
        finally:
            process.terminate()
            process.wait()


def _last_lines(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return "; ".join(lines[-2:]) if lines else "it said nothing"


def _ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
