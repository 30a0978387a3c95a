"""A real server on a real socket: slow clients, clients that hang up, and shutdown."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
import uvicorn

from api import body_limit
from api.app import create_app
from api.settings import Settings

GOOD = json.dumps({"context": ["hi"]}).encode()


class Live(NamedTuple):
    server: uvicorn.Server
    thread: threading.Thread
    port: int

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            yield connection

    def metrics(self) -> str:
        with self.connection() as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return received(connection).decode()


@pytest.fixture
def live(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Live]]:
    started: list[Live] = []

    def start(responder, **settings) -> Live:
        app = create_app(lambda _: responder, lambda: Settings(checkpoint="none", **settings))
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None))
        thread = threading.Thread(target=server.run)
        thread.start()
        wait(lambda: server.started or not thread.is_alive())
        started.append(Live(server, thread, server.servers[0].sockets[0].getsockname()[1]))
        return started[-1]

    yield start
    for each in started:
        each.server.should_exit = True
        each.thread.join(20)
        assert not each.thread.is_alive()


def wait(happened: Callable[[], bool], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.01)


def request(body: bytes, length: int | None = None) -> bytes:
    head = (
        f"POST /respond HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length or len(body)}"
    )
    return head.encode() + b"\r\n\r\n" + body


def received(connection: socket.socket) -> bytes:
    """Everything up to the end of the connection."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def half_sent(connection: socket.socket) -> None:
    """Send the beginning of a request, and wait until the server has begun to read its body."""
    head, _, _ = request(b"", length=len(GOOD)).partition(b"\r\n\r\n")
    connection.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
    assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
    connection.sendall(GOOD[:5])


def test_a_body_that_stops_halfway_gets_408(live, stub):
    served = live(stub, body_timeout_s=0.3)
    with served.connection() as connection:
        connection.sendall(request(GOOD[:5], length=len(GOOD)))
        answer = received(connection)  # until the server closes the connection
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"/problems/body-too-slow" in answer
    assert b"0.3 seconds" in answer
    assert 'dialog_cvae_rejections_total{reason="too_slow"} 1.0' in served.metrics()


def test_a_body_that_drips_gets_408_too(live, stub):
    with live(stub, body_timeout_s=0.5).connection() as connection:
        connection.sendall(request(b"", length=10_000))
        while not select.select([connection], [], [], 0.02)[0]:  # until the server answers
            connection.sendall(b" ")
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
    assert stub.calls == []


def test_a_body_in_pieces_is_answered(live, stub):
    served = live(stub)
    with served.connection() as connection:
        whole = request(GOOD)
        for place in range(0, len(whole), 7):
            connection.sendall(whole[place : place + 7])
            served.metrics()  # after this answer, the server has had the time to read the piece
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_hangs_up_while_sending_causes_no_error(live, stub, capfd):
    served = live(stub)
    with served.connection() as connection:
        half_sent(connection)
    wait(lambda: 'route="/respond",status="499"' in served.metrics())
    assert "Traceback" not in capfd.readouterr().err


def test_a_client_that_hangs_up_leaves_the_queue(live, stub, capfd):
    served = live(stub)
    stub.gate.clear()
    try:
        with served.connection() as first:
            first.sendall(request(GOOD))
            assert stub.entered.wait(10)
            with served.connection() as second:
                second.sendall(request(json.dumps({"context": ["bye"]}).encode()))
                wait(lambda: 'dialog_cvae_queue_depth{name="none"} 1.0' in served.metrics())
            wait(lambda: 'method="POST",route="/respond",status="499"' in served.metrics())
            stub.gate.set()
            assert first.recv(65536).startswith(b"HTTP/1.1 200 ")
            assert 'method="POST",route="/respond",status="200"' in served.metrics()
    finally:
        stub.gate.set()
    assert [conversation.utterances[0].text for conversation, _ in stub.calls] == ["hi"]
    assert "Traceback" not in capfd.readouterr().err


def refuses_connections(served: Live) -> bool:
    try:
        with served.connection():
            return False
    except ConnectionRefusedError:
        return True


def test_a_server_that_shuts_down_finishes_accepted_requests(live, stub):
    served = live(stub)
    stub.gate.clear()
    try:
        with served.connection() as connection:
            connection.sendall(request(GOOD))
            assert stub.entered.wait(10)
            served.server.should_exit = True  # what uvicorn does on SIGTERM
            wait(lambda: refuses_connections(served))
            stub.gate.set()
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    finally:
        stub.gate.set()
    served.thread.join(10)
    assert not served.thread.is_alive()


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(live, stub):
    with live(stub, max_context=1, max_text_chars=1).connection() as connection:
        connection.sendall(request(b"{", length=10**12))
        assert b"/problems/body-too-large" in received(connection)


def test_large_bodies_share_a_limited_amount_of_memory(live, stub, monkeypatch):
    monkeypatch.setattr(body_limit, "UNCOUNTED", 1000)
    monkeypatch.setattr(body_limit, "LARGE_TOGETHER", 1)
    served = live(stub, max_context=5, max_text_chars=50)
    most = Settings(checkpoint="none", max_context=5, max_text_chars=50).max_body_bytes

    def answer(body: bytes) -> bytes:
        with served.connection() as other:
            other.sendall(request(body))
            found = b""
            while not found.endswith(b"}"):
                found += other.recv(65536)
            return found

    with served.connection() as large:
        large.sendall(request(b" " * (most - 1), length=most))
        wait(lambda: answer(b" " * 10_000).startswith(b"HTTP/1.1 503 "))  # the large body has been read
        refused = answer(b" " * 10_000)
        assert b"/problems/queue-full" in refused
        assert b"retry-after: 1" in refused
        assert answer(GOOD).startswith(b"HTTP/1.1 200 ")  # there is always room for an ordinary request
        large.sendall(b" ")
        assert large.recv(65536).startswith(b"HTTP/1.1 422 ")
    assert answer(b" " * 10_000).startswith(b"HTTP/1.1 422 ")


@pytest.mark.parametrize(
    "junk", [b"\x00\x01\r\n\r\n", b"GET\r\n\r\n", b"POST /respond HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00"]
)
def test_bytes_that_are_not_http_affect_no_one_else(live, stub, junk):
    served = live(stub)
    with served.connection() as connection:
        connection.sendall(junk)
        connection.shutdown(socket.SHUT_WR)
        received(connection)
    assert "dialog_cvae_model_info" in served.metrics()
