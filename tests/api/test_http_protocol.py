"""What arrives on a connection is handled in portions."""

from __future__ import annotations

import asyncio
import http.client
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from api import http_protocol
from api.http_protocol import PORTION, PortionedProtocol


async def echo(_scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    """Answers with the number of bytes of the body."""
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    body = b"%d" % length
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def exchange(data: bytes, answers: int) -> bytes:
    """What a server with this protocol sends back."""
    config = uvicorn.Config(echo, http=PortionedProtocol, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: PortionedProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(data)
    found = b""
    async with asyncio.timeout(60):
        while found.count(b"HTTP/1.1 200") < answers or not found[-1:].isdigit():
            found += await reader.read(65536)
    writer.close()
    server.close()
    return found


@pytest.fixture
def portions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    handled: list[int] = []
    real = H11Protocol.data_received
    monkeypatch.setattr(
        H11Protocol, "data_received", lambda self, data: (handled.append(len(data)), real(self, data))[1]
    )
    return handled


def head(fields: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n\r\n"


def test_small_chunks_are_handled_in_portions(portions: list[int]) -> None:
    chunks = b"1\r\na\r\n" * 30_000 + b"0\r\n\r\n"
    assert asyncio.run(exchange(head(b"Transfer-Encoding: chunked") + chunks, 1)).endswith(b"30000")
    assert max(portions) <= PORTION
    assert sum(portions) == len(chunks) + len(head(b"Transfer-Encoding: chunked"))


def test_a_large_body_and_requests_after_it_arrive_whole(portions: list[int]) -> None:
    requests = [head(b"Content-Length: %d" % length) + b"a" * length for length in (3_000_000, 0, 5, 200_000)]
    found = asyncio.run(exchange(b"".join(requests), 4))
    assert [int(part.rpartition(b"\r\n")[2]) for part in found.split(b"HTTP/1.1 200")[1:]] == [3_000_000, 0, 5, 200_000]
    assert max(portions) <= PORTION


@asynccontextmanager
async def connections(count: int, app: Any = echo) -> AsyncIterator[tuple[ServerState, list[Any]]]:
    """A server's state, and pairs of a reader and a writer that are connected to it."""
    config = uvicorn.Config(app, http=PortionedProtocol, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: PortionedProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    pairs = [await asyncio.open_connection(*server.sockets[0].getsockname()) for _ in range(count)]
    async with asyncio.timeout(60):
        yield state, pairs
    for _, writer in pairs:
        writer.close()
    server.close()


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost"])
def test_a_connection_without_complete_headers_is_closed(
    monkeypatch: pytest.MonkeyPatch, answered: bool, sent: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "HEADERS_S", 0.3)

    async def run() -> bytes:
        async with connections(1) as (_, ((reader, writer),)):
            if answered:
                writer.write(head(b"Content-Length: 0"))
                await reader.readuntil(b"\r\n\r\n0")
            writer.write(sent)
            async with asyncio.timeout(4):  # uvicorn itself closes an idle connection after 5 s
                return await reader.read()

    assert asyncio.run(run()) == b""


def test_a_slow_reader_gets_the_whole_response(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEADERS_S", 0.1)
    body = b"a" * 20_000_000

    async def large(_scope: Any, _receive: Any, send: Callable[[Any], Any]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def run() -> int:
        async with connections(1, large) as (_, ((reader, writer),)):
            writer.write(head(b"Content-Length: 0") + b"GET /")
            await asyncio.sleep(0.5)
            length = 0
            while length < len(body) and (part := await reader.read(1 << 20)):
                length += len(part)
            return length

    assert asyncio.run(run()) >= len(body)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("reads", [True, False])
def test_a_connection_is_closed_if_its_client_stops_reading(
    monkeypatch: pytest.MonkeyPatch, parts: int, reads: bool
) -> None:
    monkeypatch.setattr(http_protocol, "HEADERS_S", 0.05)
    monkeypatch.setattr(http_protocol, "UNREAD_S", 0.5)
    size, unfinished = 20_000_000, []

    async def large(_scope: Any, _receive: Any, send: Callable[[Any], Any]) -> None:
        unfinished.append(1)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in range(parts):
            await send({"type": "http.response.body", "body": b"a" * size, "more_body": part + 1 < parts})
        unfinished.pop()

    async def run() -> int:
        async with connections(1, large) as (state, ((reader, writer),)):
            writer.write(head(b"Content-Length: 0"))
            length = 0
            while reads and length < parts * size:
                length += len(await reader.read(1 << 22))
                await asyncio.sleep(0.02)
            while state.connections:
                await asyncio.sleep(0.01)
            return length

    assert (asyncio.run(run()) >= parts * size) == reads
    assert unfinished == []


def test_a_request_that_takes_long_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEADERS_S", 0.05)

    async def run() -> bytes:
        async with connections(1) as (_, ((reader, writer),)):
            writer.write(head(b"Content-Length: 2") + b"a")
            await asyncio.sleep(0.2)
            writer.write(b"b")
            return await reader.readuntil(b"\r\n\r\n2")

    assert asyncio.run(run()).startswith(b"HTTP/1.1 200")


def test_connections_beyond_the_limit_are_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "most_connections", lambda: 2)

    async def run() -> tuple[int, bytes]:
        async with connections(4) as (state, pairs):
            while len(state.connections) > 2:
                await asyncio.sleep(0.01)
            pairs[0][1].write(head(b"Content-Length: 0"))
            return len(state.connections), await pairs[0][0].readuntil(b"200")

    assert asyncio.run(run()) == (2, b"HTTP/1.1 200")


def test_some_descriptors_are_left_for_other_things() -> None:
    limit = http_protocol.most_connections()
    assert limit is None or 8 <= limit < resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_a_connection_whose_later_portion_is_invalid_is_closed() -> None:
    async def early(_scope: Any, _receive: Any, send: Callable[[Any], Any]) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def run() -> tuple[bytes, int]:
        config = uvicorn.Config(early, http=PortionedProtocol, lifespan="off", log_config=None)
        config.load()
        state = ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: PortionedProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(head(b"Transfer-Encoding: chunked") + b"1\r\na\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"1\r\na\r\n" * 2000 + b"no size\r\n" + b"1\r\na\r\n" * 2000)
        async with asyncio.timeout(60):
            while state.connections:
                await asyncio.sleep(0.01)
        writer.close()
        server.close()
        return b"closed", len(state.connections)

    assert asyncio.run(run()) == (b"closed", 0)


async def refusing(_scope: Any, _receive: Any, send: Callable[[Any], Any]) -> None:
    headers = [(b"content-length", b"9"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": b"too large"})


def test_a_client_that_sends_its_whole_body_first_sees_that_it_was_refused() -> None:
    def ask(address: tuple[str, int]) -> tuple[int, bytes]:
        client = http.client.HTTPConnection(*address, timeout=30)
        client.request("POST", "/", b"a" * 20_000_000)
        answer = client.getresponse()
        found = answer.status, answer.read()
        client.close()
        return found

    async def run() -> tuple[int, bytes]:
        async with connections(1, refusing) as (state, ((_, writer),)):
            found = await asyncio.to_thread(ask, writer.get_extra_info("peername"))
            writer.close()
            while state.connections:
                await asyncio.sleep(0.01)
            return found

    assert asyncio.run(run()) == (413, b"too large")


@pytest.mark.parametrize(("limit", "value"), [("LINGER_S", 0.2), ("LINGER_BYTES", 100_000)])
def test_a_refused_body_is_read_for_a_limited_time_and_length(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    monkeypatch.setattr(http_protocol, "LINGER_S", 50.0)
    monkeypatch.setattr(http_protocol, limit, value)

    async def run() -> bytes:
        async with connections(1, refusing) as (state, ((reader, writer),)):
            writer.write(head(b"Content-Length: 1000000000"))
            found = await reader.readuntil(b"too large")
            if limit == "LINGER_BYTES":
                writer.write(b"a" * 90_000)
                await asyncio.sleep(0.1)
                assert len(state.connections) == 1
                writer.write(b"a" * 20_000)
            while state.connections:
                await asyncio.sleep(0.01)
            return found

    assert asyncio.run(run()).startswith(b"HTTP/1.1 413")


def test_a_connection_without_a_body_left_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "LINGER_S", 50.0)

    async def run() -> bytes:
        async with connections(1) as (state, ((reader, writer),)):
            writer.write(head(b"Connection: close\r\nContent-Length: 3") + b"abc")
            found = await reader.readuntil(b"\r\n\r\n3")
            async with asyncio.timeout(10):
                while state.connections:
                    await asyncio.sleep(0.01)
            return found

    assert asyncio.run(run()).startswith(b"HTTP/1.1 200")
