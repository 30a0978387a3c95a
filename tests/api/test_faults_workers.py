"""One of two workers is killed under load: it is replaced, and only the clients it was answering get an error."""

from __future__ import annotations

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event

import pytest

from api.client import Client, Patience, UnreachableError
from benchmarks.server_process import ServerProcess, run_server, wait_until

CLIENTS = 6
LONG = {"num_responses": 20, "max_tokens": 100}


def workers(service: ServerProcess) -> list[int]:
    """The supervisor's worker processes."""
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    found = []
    for pid in children:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


def ready(service: ServerProcess) -> int:
    """How many workers have become ready so far; a replacement has to load the model first."""
    return service.log_text().count('"event": "ready"')


def keep_asking(service: ServerProcess, done: Event) -> Counter[str]:
    """Send requests one after another over kept connections; counts the outcomes."""
    met = Counter[str]()
    with Client(f"http://127.0.0.1:{service.port}", patience=Patience(0)) as client:
        while not done.is_set():
            try:
                answer = client.respond(["you like cats"], seed=met["answered"], **LONG)
                assert answer.responses
                met["answered"] += 1
            except UnreachableError:
                met["cut off"] += 1
    return met


def kill_under_load(service: ServerProcess, kills: int) -> None:
    done = Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(keep_asking, service, done) for _ in range(CLIENTS)]
        try:
            for already in range(2, 2 + kills):
                wait_until(lambda: service.metrics()["dialog_cvae_queue_depth"] >= CLIENTS - 2)
                before = workers(service)
                assert len(before) == 2
                held = {pid: len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in before}
                busiest = max(held, key=lambda pid: held[pid])
                tokens = service.metrics()["dialog_cvae_tokens_total"]
                os.kill(busiest, signal.SIGKILL)
                wait_until(lambda: busiest not in workers(service) and len(workers(service)) == 2)  # noqa: B023
                wait_until(lambda: ready(service) == already + 1)  # noqa: B023
                wait_until(lambda: service.metrics()["dialog_cvae_tokens_total"] > tokens)  # noqa: B023
        finally:
            done.set()
        met = sum((each.result() for each in asking), Counter[str]())
    # Each client has one request at a time, so a killed worker can cost it only one.
    assert met["cut off"] <= CLIENTS * kills
    assert met["answered"] > 0
    figures = service.metrics()
    # The killed worker may have answered requests that it had not yet counted.
    counted = figures['dialog_cvae_requests_total{method="POST",route="/respond",status="200"}']
    assert met["answered"] - CLIENTS * kills <= counted <= met["answered"] + CLIENTS * kills
    assert figures["dialog_cvae_queue_depth"] == 0, "the dead worker's queue is still counted"
    assert service.process.poll() is None
    assert "Traceback" not in service.log_text()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's list of child processes")
@pytest.mark.parametrize("kills", [1, pytest.param(8, marks=pytest.mark.endurance)])
def test_a_killed_worker_is_replaced_while_the_other_goes_on(endless_folder, tmp_path, kills):
    settings = {"THREADS": 1, "MAX_ROWS": 20, "MAX_TOKENS": 100, "LOG_FORMAT": "json"}
    shared = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")}
    with run_server(endless_folder, settings, options=("--workers", "2"), environment=shared) as service:
        wait_until(lambda: ready(service) == 2)
        kill_under_load(service, kills)
