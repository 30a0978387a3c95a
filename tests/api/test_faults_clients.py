"""Clients that are slow, send half a request or hang up: the service still answers the others."""

from __future__ import annotations

import json
import random
import resource
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from api.client import Client, UnreachableError
from api.http_protocol import SPARE_DESCRIPTORS
from benchmarks.load import Load, run_load
from benchmarks.server_process import ServerProcess, run_server, wait_until

SHORT = json.dumps({"context": ["you like cats"], "num_responses": 2, "max_tokens": 5, "seed": 1}).encode()
LONG = json.dumps({"context": ["we hate rain"], "num_responses": 100, "max_tokens": 1000, "seed": 1}).encode()
SHORT_TOKENS = 2 * 5  # replies x tokens, and as many rows decoded
HEAD = b"POST /respond HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
ANSWERED = 'dialog_cvae_requests_total{method="POST",route="/respond",status="200"}'
GONE = 'dialog_cvae_requests_total{method="POST",route="/respond",status="499"}'
SETTINGS = {
    "THREADS": 1,
    "MAX_WAITING": 64,
    "MAX_ROWS": 200,
    "MAX_RESPONSES": 100,
    "MAX_TOKENS": 1000,
    "BODY_TIMEOUT_S": 1.0,
    "TIMEOUT_S": 600,
    "LOG_FORMAT": "json",
}


@pytest.fixture(scope="module")
def running(endless_folder: Path) -> Iterator[ServerProcess]:
    with run_server(endless_folder, SETTINGS) as service:
        run_load(service.port, Load(2, [SHORT] * 20, 60))
        yield service
        service.process.terminate()
        assert service.process.wait(60) in (0, -15)
        assert "Traceback" not in service.log_text()


@pytest.fixture
def service(running: ServerProcess) -> Iterator[ServerProcess]:
    """The service; at the end of each test it has no more connections than before and nothing left to decode."""
    before = running.descriptors()
    yield running
    wait_until(lambda: running.descriptors() <= before)
    assert_idle(running)
    assert run_load(running.port, Load(1, [SHORT] * 3, 60)).refused == []


def rows_decoded(service: ServerProcess) -> float:
    """The number of rows decoded, summed over steps, while a short request is answered."""
    before = service.metrics()["dialog_cvae_batch_rows_sum"]
    assert run_load(service.port, Load(1, [SHORT], 60)).refused == []
    return service.metrics()["dialog_cvae_batch_rows_sum"] - before


def assert_idle(service: ServerProcess) -> int:
    """Wait until nothing else is decoded: a short request then costs exactly its own rows.

    Returns:
        The number of short requests that this took.
    """
    rows: list[float] = []

    def idle() -> bool:
        rows.append(rows_decoded(service))
        return rows[-1] == SHORT_TOKENS

    wait_until(idle)
    assert service.metrics()["dialog_cvae_queue_depth"] == 0
    return len(rows)


def connect(service: ServerProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=60)


def request(body: bytes, length: int | None = None) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body


def reset(connection: socket.socket) -> None:
    """Reset the connection, as the kernel does for a client that dies with unread data."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def drip(connections: list[socket.socket]) -> None:
    """Send single bytes on each connection until the service has answered on it."""
    unanswered = list(connections)
    while unanswered:
        answered = select.select(unanswered, [], [], 0.1)[0]
        unanswered = [connection for connection in unanswered if connection not in answered]
        for connection in unanswered:
            with suppress(OSError):  # the service has just hung up
                connection.sendall(b" ")


def test_slow_clients_do_not_delay_others(service):
    with ExitStack() as stack:

        def some(count: int) -> list[socket.socket]:
            return [stack.enter_context(connect(service)) for _ in range(count)]

        _idle, heads, bodies, deaf = some(50), some(50), some(50), some(10)
        for connection in heads:
            connection.sendall(HEAD)
        for connection in bodies:
            connection.sendall(request(b'{"context":', length=10_000))
        for connection in deaf:  # sends requests and reads no answer
            connection.settimeout(0.2)
            with pytest.raises(TimeoutError):
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 200_000)
        resident = service.resident_mib()
        drip(bodies)
        assert len(run_load(service.port, Load(2, [SHORT] * 50, 60)).seconds) == 50
        for connection in bodies:
            assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
        # Answers that no client reads are not produced in advance, else memory would have grown with each request.
        assert service.resident_mib() < resident + 16


def test_clients_that_hang_up_leave_queue_and_batch(service):
    before = service.metrics()
    connections = [connect(service) for _ in range(8)]
    for connection in connections:
        connection.sendall(request(LONG))

    def busy() -> bool:
        figures = service.metrics()
        decoding = figures["dialog_cvae_batch_rows_count"] > before["dialog_cvae_batch_rows_count"]
        return decoding and figures["dialog_cvae_queue_depth"] >= 1

    wait_until(busy)
    for number, connection in enumerate(connections):
        reset(connection) if number % 2 else connection.close()
    wait_until(lambda: service.metrics().get(GONE, 0) == before.get(GONE, 0) + 8)
    checks = assert_idle(service)
    after = service.metrics()
    # None of the 8 long requests was answered; the short requests of the idle check are all that was.
    assert after["dialog_cvae_tokens_total"] == before["dialog_cvae_tokens_total"] + checks * SHORT_TOKENS
    assert after[ANSWERED] == before[ANSWERED] + checks


@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.endurance)])
def test_requests_cut_off_anywhere_affect_no_one_else(service, rounds):
    """Each request is cut off at a random place, or its client leaves early; connections end in various ways."""
    rng, whole = random.Random(7), request(SHORT)
    for _ in range(rounds):
        connections = [connect(service) for _ in range(12)]
        for connection in connections:
            connection.sendall(whole[: rng.randrange(len(whole) + 1)] if rng.random() < 0.8 else request(LONG))
        if rng.random() < 0.5:
            service.metrics()  # after this answer, the service has read what was sent
        for connection in connections:
            way = rng.randrange(3)
            if way == 0:
                connection.shutdown(socket.SHUT_WR)
            (reset if way == 1 else socket.socket.close)(connection)
        run_load(service.port, Load(1, [SHORT] * 2, 60))


def test_a_client_may_leave_after_half_an_answer(service):
    """The answer is larger than the socket buffers; the client reads a part of it and leaves."""
    for _ in range(3):
        with connect(service) as connection:
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 30)
            assert connection.recv(1000)


@pytest.mark.slow
def test_too_many_connections_are_refused_and_leave_descriptors_for_the_others(endless_folder):
    limit = SPARE_DESCRIPTORS + 40

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    with run_server(endless_folder, SETTINGS, before=few) as service:
        before = service.descriptors()
        known = HTTPConnection("127.0.0.1", service.port, timeout=60)
        known.request("POST", "/respond", SHORT, {"Content-Type": "application/json"})
        assert known.getresponse().read()
        with ExitStack() as stack:
            for _ in range(2 * limit):
                stack.enter_context(connect(service))
            wait_until(lambda: service.descriptors() >= before + 35)
            known.request("POST", "/respond", SHORT, {"Content-Type": "application/json"})
            assert known.getresponse().status == 200
            with pytest.raises(UnreachableError), Client(f"http://127.0.0.1:{service.port}", timeout_s=2) as client:
                client.topics()
        known.close()

        def accepts() -> bool:
            try:
                return not run_load(service.port, Load(2, [SHORT] * 20, 60)).refused
            except OSError:  # connections that were waiting to be accepted, and are closed by now, come first
                return False

        wait_until(accepts)
        wait_until(lambda: service.descriptors() <= before)
