"""A service in a process of its own, for as long as it is measured or tried."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from dialog_cvae.errors import DialogCvaeError

ROOT = Path(__file__).parents[1]
STARTS_S = 120.0
ENDS_S = 60.0


@dataclass(frozen=True)
class Served:
    """A running service.

    Attributes:
        port: on the loopback interface.
        process: of the service; with several workers, of their supervisor.
        seconds_to_ready: from the start of the process to the first answer of /health/ready.
        log: the file that takes its standard error.
    """

    port: int
    process: subprocess.Popen[bytes]
    seconds_to_ready: float
    log: Path

    def resident_mib(self) -> float:
        """Memory that the process holds; NaN where the system does not say."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            return float("nan")
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmRSS"].split()[0]) / 1024

    def descriptors(self) -> int:
        """Files and sockets that the process has open; Linux alone says so."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def figures(self) -> dict[str, float]:
        """What /metrics says, by name and labels as they stand there."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def said(self) -> str:
        """What the service has written to standard error."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def served(
    checkpoint: Path,
    settings: Mapping[str, object],
    *,
    options: Sequence[str] = (),
    environment: Mapping[str, str | None] | None = None,
    before: Callable[[], object] | None = None,
    log: Path | None = None,
) -> Iterator[Served]:
    """Start the service and end it afterwards by SIGTERM.

    Args:
        checkpoint: folder.
        settings: of the service, without their prefix; None is left out. No other settings of this process hold.
        options: of uvicorn's command line.
        environment: other variables; None removes one.
        before: called in the new process before the service starts, such as for limits.
        log: takes what it writes to standard error, which nobody need read meanwhile, as a full pipe would stop it;
            default a file that is gone afterwards.

    Raises:
        DialogCvaeError: it does not come up; the message has its last lines.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "uvicorn", "api.app:app", "--port", str(port), "--no-access-log", *options]
    variables = _environment({"CHECKPOINT": checkpoint.absolute(), "MAX_WAITING": 1024, **settings}, environment or {})
    with tempfile.TemporaryDirectory() as folder:
        log = log or Path(folder) / "log"
        begin = time.perf_counter()
        with log.open("wb") as errors:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=variables,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                preexec_fn=before,
                process_group=0,
            )
        try:
            while not _ready(port):
                if process.poll() is not None or time.perf_counter() - begin > STARTS_S:
                    said = log.read_text(errors="replace").strip().splitlines()
                    raise DialogCvaeError(f"the service did not start: {'; '.join(said[-2:]) or 'it said nothing'}")
                time.sleep(0.01)
            yield Served(port, process, time.perf_counter() - begin, log)
        finally:
            _end(process)


def wait(happened: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something has happened.

    Raises:
        TimeoutError: it has not, after so many seconds.
    """
    until = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > until:
            raise TimeoutError(f"it did not happen within {seconds:g} seconds")
        time.sleep(0.02)


def _environment(settings: Mapping[str, object], others: Mapping[str, str | None]) -> dict[str, str]:
    """The variables of the new process: this one's, without its settings, and those that are given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DIALOG_CVAE_")}
    kept |= {name: os.environ[name] for name in ("DIALOG_CVAE_CACHE",) if name in os.environ}
    chosen = {f"DIALOG_CVAE_{name}": str(value) for name, value in settings.items() if value is not None}
    given: dict[str, str | None] = {**kept, **chosen, **others}
    return {name: value for name, value in given.items() if value is not None}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process, and whatever workers it may have left."""
    process.terminate()
    try:
        process.wait(ENDS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):  # nobody is left
        os.killpg(process.pid, signal.SIGKILL)


def _ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
