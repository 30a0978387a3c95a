"""uvicorn's HTTP protocol, changed to handle input in portions, bound slow clients, and let refusals arrive.

Open it if one connection delays the others or uses up all descriptors. A body in chunks of one byte has a chunk for
every six bytes that arrive. uvicorn would handle all chunks that it has read, tens of thousands, before the event loop
could do anything else. It also has no time limit for sending a request or for reading the response, so a few clients
could hold all descriptors. And it closes a connection while a refused body is still arriving. The system then resets
the connection, and a client that sends its whole body before it reads gets an error instead of the response.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if sys.platform != "win32":
    import resource

PORTION = 4096  # bytes to handle at a time
HEADERS_S = 10.0  # seconds for complete headers, from the opening of the connection or the last response
UNREAD_S = 60.0  # seconds between two looks at whether a client reads its response; closes after one or two of them
LINGER_S = 5.0  # seconds for which the rest of a refused body is read and dropped before the connection is closed
LINGER_BYTES = 2**25  # most bytes of it; then the connection is closed at once
SPARE_DESCRIPTORS = 64  # descriptors kept for other files


def most_connections() -> int | None:
    """How many connections may be open, so that descriptors do not run out; None where the system has no limit."""
    if sys.platform == "win32":
        return None
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else max(limit - SPARE_DESCRIPTORS, 8)


class _Transport:
    """A transport with another `close`. It counts as closed from then on, while the socket may still be read."""

    def __init__(self, inner: asyncio.Transport, close: Callable[[], None]) -> None:
        self._inner, self._close, self._closed = inner, close, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def close(self) -> None:
        self._closed = True
        self._close()

    def is_closing(self) -> bool:
        return self._closed or self._inner.is_closing()


class PortionedProtocol(H11Protocol):
    """`H11Protocol` that lets the event loop do other work after every portion and closes unused connections."""

    _socket: asyncio.Transport  # the transport itself; `transport` lingers when it is closed
    _linger_timer: asyncio.TimerHandle | None = None
    _linger_bytes = 0
    _unhandled = b""
    _headers_timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Close the connection at once if there are too many."""
        self._socket = transport
        super().connection_made(cast(asyncio.Transport, _Transport(transport, self._close)))
        limit = most_connections()
        if limit is not None and len(self.connections) > limit:
            transport.abort()
        else:
            self._expect_headers()

    def on_response_complete(self) -> None:
        """Wait a limited time for the headers of the next request."""
        self._expect_headers()  # first, because the next request may already be there and begins in the line below
        super().on_response_complete()

    def _expect_headers(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
        self._headers_timer = asyncio.get_running_loop().call_later(HEADERS_S, self._close_unless_answering)

    def _close_unless_answering(self) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        if idle:
            self._close_now()

    def _close(self) -> None:
        """Close the connection. If a body is still arriving after its response, first read and drop the rest of it."""
        refused = self.cycle is not None and self.cycle.response_complete and self.conn.their_state is h11.SEND_BODY
        if not refused or self._linger_timer is not None or self._socket.is_closing():
            self._close_now()
            return
        self._linger_timer = asyncio.get_running_loop().call_later(LINGER_S, self._close_now)
        self._linger_bytes = LINGER_BYTES
        self._socket.write_eof()  # the client sees that the response is complete
        self._socket.resume_reading()

    def _drop(self, length: int) -> None:
        self._linger_bytes -= length
        if self._linger_bytes < 0:
            self._close_now()

    def _close_now(self) -> None:
        self._socket.close()  # asyncio first sends what a slow client has not read yet
        self._watch_reader()

    def pause_writing(self) -> None:
        """The client reads more slowly than the response is made: wait, but only as long as it reads."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """The client has read nearly everything."""
        super().resume_writing()
        self._forget_reader()

    def _watch_reader(self, before: int | None = None) -> None:
        """Abort the connection if no more has been sent since `before` bytes were left; else look again later."""
        self._forget_reader()
        left = self.transport.get_write_buffer_size()
        if left == before:
            self.transport.abort()
        elif left:
            self._reader_timer = asyncio.get_running_loop().call_later(UNREAD_S, self._watch_reader, left)

    def _forget_reader(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Handle the first portion now, and the others in later rounds of the event loop."""
        if self._linger_timer is not None:
            self._drop(len(data))
            return
        waiting = bool(self._unhandled)
        self._unhandled += data
        if waiting:
            self.transport.pause_reading()  # the application asked for more, but this must be handled first
        else:
            self._handle_portion()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop unhandled input and the timers."""
        self._unhandled = b""
        for timer in (self._headers_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        self._forget_reader()
        super().connection_lost(exc)

    def _handle_portion(self) -> None:
        if not self._unhandled or self.transport.is_closing():
            self._unhandled = b""
            return
        portion, self._unhandled = self._unhandled[:PORTION], self._unhandled[PORTION:]
        try:
            super().data_received(portion)
        except Exception:
            # After an error in a later round of the loop, asyncio does not close the connection itself.
            self._unhandled = b""
            self.transport.abort()
            return
        if self._unhandled:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._handle_portion)
        elif not self.flow.read_paused:
            self.transport.resume_reading()
