"""Runs the service in a process of its own, for benchmarks and for tests of the real server.

Open it to change how the service is started and stopped, or to read another figure of its process.
"""

from __future__ import annotations

import os
import re
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
START_S = 120.0  # seconds to wait until the service is ready
STOP_S = 60.0  # seconds to wait after SIGTERM before the process is killed

_ONE_MODEL = re.compile(r'\{name="[^"]*"\}$')


@dataclass(frozen=True)
class ServerProcess:
    """A running service.

    Attributes:
        port: on the loopback interface.
        process: the service; with several workers, their supervisor.
        seconds_to_ready: from the start of the process to the first success of /health/ready.
        log: the file with its standard error.
    """

    port: int
    process: subprocess.Popen[bytes]
    seconds_to_ready: float
    log: Path

    def resident_mib(self) -> float:
        """Resident memory of the process; NaN if the system does not report it."""
        return self._status_mib("VmRSS")

    def peak_mib(self) -> float:
        """The most memory that was resident since `reset_peak`; NaN if the system does not report it."""
        return self._status_mib("VmHWM")

    def reset_peak(self) -> None:
        """Begin a new measurement of `peak_mib`; Linux only."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def _status_mib(self, name: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            return float("nan")
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines[name].split()[0]) / 1024

    def descriptors(self) -> int:
        """Number of files and sockets that the process has open; Linux only."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def metrics(self) -> dict[str, float]:
        """The values of /metrics, by name and labels in Prometheus' notation; by name alone, sums over the models."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        found = {name: float(value) for name, _, value in pairs}
        of_models = {name: value for name, value in found.items() if _ONE_MODEL.search(name)}
        for name, value in of_models.items():
            total = name.partition("{")[0]
            found[total] = found.get(total, 0.0) + value
        return found

    def log_text(self) -> str:
        """What the service has written to standard error so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def run_server(
    checkpoint: Path,
    settings: Mapping[str, object],
    *,
    options: Sequence[str] = (),
    environment: Mapping[str, str | None] | None = None,
    before: Callable[[], object] | None = None,
    log: Path | None = None,
) -> Iterator[ServerProcess]:
    """Start the service, and stop it afterwards by SIGTERM.

    Args:
        checkpoint: folder.
        settings: of the service, without their prefix; None is left out. Settings of this process do not apply.
        options: of `dialog-cvae serve`.
        environment: other variables; None removes one.
        before: called in the new process before the service starts, for example to set limits.
        log: file for its standard error; the default is a temporary file. (A pipe that is not read would block it.)

    Raises:
        DialogCvaeError: the service did not start; the message has the last lines of its log.
    """
    port = _free_port()
    command = [sys.executable, "-m", "api.serve", "--port", str(port), *options]
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
            _wait_until_ready(process, port, log)
            yield ServerProcess(port, process, time.perf_counter() - begin, log)
        finally:
            _stop(process)


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it did not hold within `seconds`.
    """
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"the condition did not hold within {seconds:g} seconds")
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(settings: Mapping[str, object], others: Mapping[str, str | None]) -> dict[str, str]:
    """The variables of the new process: this one's without its settings, then the given ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DIALOG_CVAE_")}
    kept |= {name: os.environ[name] for name in ("DIALOG_CVAE_CACHE",) if name in os.environ}
    chosen = {f"DIALOG_CVAE_{name}": str(value) for name, value in settings.items() if value is not None}
    given: dict[str, str | None] = {**kept, **chosen, **others}
    return {name: value for name, value in given.items() if value is not None}


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the process, and any workers that it leaves behind."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):  # no worker is left
        os.killpg(process.pid, signal.SIGKILL)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_S
    while not _ready(port):
        if process.poll() is not None or time.monotonic() > end:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise DialogCvaeError(f"the service did not start: {'; '.join(lines[-2:]) or 'its log is empty'}")
        time.sleep(0.01)


def _ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
