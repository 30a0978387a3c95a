"""The command that people run: several workers, their common figures, and how they end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import httpx2
import pytest

LONG = {"context": ["you like cats"], "num_responses": 20, "max_tokens": 1000, "temperature": 1.0, "seed": 1}


@contextmanager
def server(*options: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server in a process group of its own; ends with what it logged on standard error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DIALOG_CVAE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "api.app:app", "--port", str(port), *options],
        env=clean | environment,
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 240
        while True:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until, "it did not start"
            try:
                with urlopen(f"{url}/health/ready", timeout=5):
                    break
            except (URLError, ConnectionError):
                time.sleep(0.2)
        yield url, process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.slow
def test_two_workers_tell_of_both_and_finish_what_they_accepted(tmp_path, tiny_checkpoint):
    tiny_checkpoint.save(tmp_path / "tiny")
    environment = {
        "DIALOG_CVAE_CHECKPOINT": str(tmp_path / "tiny"),
        "DIALOG_CVAE_MAX_TOKENS": "1000",
        "DIALOG_CVAE_CANDIDATES": "256",
        "DIALOG_CVAE_LOG_FORMAT": "json",
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
    }
    with server("--workers", "2", **environment) as (url, process):
        time.sleep(5)  # until the other one is there too
        with ThreadPoolExecutor(8) as pool:
            # Each over a connection of its own, so that both workers get some.
            asked = list(pool.map(lambda _: httpx2.get(f"{url}/topics").status_code, range(40)))
            assert asked == [200] * 40
            text = httpx2.get(f"{url}/metrics").text
            assert 'dialog_cvae_requests_total{method="GET",route="/topics",status="200"} 40.0' in text
            assert len(list((tmp_path / "metrics").glob("counter_*.db"))) == 2

            begun = time.monotonic()
            working = pool.submit(httpx2.post, f"{url}/respond", json=LONG, timeout=60)
            time.sleep(0.03)
            assert not working.done()
            process.send_signal(signal.SIGTERM)
            assert working.result().status_code == 200
            assert len(working.result().json()["responses"]) == 20
        _, logged = process.communicate(timeout=60)
        assert process.returncode == 0
        assert time.monotonic() - begun < 60
    assert "Traceback" not in logged
    assert logged.count('"event": "finishing"') == 2
    assert not list((tmp_path / "metrics").glob("gauge_live*.db"))


@pytest.mark.slow
def test_who_takes_too_long_to_finish_is_cut_off(tmp_path, tiny_checkpoint):
    tiny_checkpoint.save(tmp_path / "tiny")
    environment = {"DIALOG_CVAE_CHECKPOINT": str(tmp_path / "tiny"), "DIALOG_CVAE_BODY_TIMEOUT_S": "60"}
    with server("--timeout-graceful-shutdown", "1", **environment) as (url, process):
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as idle:
            idle.sendall(
                b"POST /respond HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
            )
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            process.communicate(timeout=30)
        assert process.returncode is not None
        assert time.monotonic() - begun < 10
