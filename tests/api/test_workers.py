"""Several workers: their common metrics, and their shutdown."""

from __future__ import annotations

import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx2
import pytest

from benchmarks.server_process import ServerProcess, run_server, wait_until

BODY = json.dumps({"context": ["you like cats"], "num_responses": 20, "temperature": 1.0, "seed": 1}).encode()
SHUTTING_DOWN = '"event": "Shutting down"'  # logged by each worker of uvicorn


def accepted(service: ServerProcess) -> socket.socket:
    """A connection whose request the service has begun to read; it waits for the body."""
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=60)
    connection.sendall(
        b"POST /respond HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
        b"Content-Length: %d\r\n\r\n" % len(BODY)
    )
    assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    return connection


@pytest.mark.slow
def test_two_workers_share_their_figures_and_finish_what_they_accepted(tmp_path, tiny_folder):
    settings = {"MAX_TOKENS": 1000, "CANDIDATES": 256, "LOG_FORMAT": "json", "BODY_TIMEOUT_S": 60}
    shared = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")}
    log = tmp_path / "log"
    with run_server(tiny_folder, settings, options=("--workers", "2"), environment=shared, log=log) as service:
        wait_until(lambda: service.log_text().count('"event": "ready"') == 2)
        url = f"http://127.0.0.1:{service.port}"
        with ThreadPoolExecutor(8) as pool:
            # Each uses a new connection, so that both workers get some.
            asked = list(pool.map(lambda _: httpx2.get(f"{url}/topics").status_code, range(40)))
        assert asked == [200] * 40
        text = httpx2.get(f"{url}/metrics").text
        assert 'dialog_cvae_requests_total{method="GET",route="/topics",status="200"} 40.0' in text
        assert len(list((tmp_path / "metrics").glob("counter_*.db"))) == 2

        with closing(accepted(service)) as connection:
            service.process.send_signal(signal.SIGTERM)
            wait_until(lambda: service.log_text().count(SHUTTING_DOWN) == 2)
            connection.sendall(BODY)
            answer = received(connection)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["responses"]) == 20
        assert service.process.wait(60) == 0
        logged = service.log_text()
    assert "Traceback" not in logged
    assert logged.count('"event": "finishing"') == 2
    assert not list((tmp_path / "metrics").glob("gauge_live*.db"))


def received(connection: socket.socket) -> bytes:
    """Everything up to the end of the connection."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.slow
def test_a_body_that_never_ends_does_not_keep_the_service_from_ending(tiny_folder):
    with run_server(tiny_folder, {"BODY_TIMEOUT_S": 1}) as service, closing(accepted(service)) as connection:
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(60)  # raises if it still waits for the body
        assert received(connection).startswith(b"HTTP/1.1 408 ")
