"""uvicorn's HTTP protocol, changed to handle input in small portions and to stop waiting for slow clients.

Open it if one connection delays the others or uses up all descriptors. A body in chunks of one byte has a chunk for
every six bytes that arrive. uvicorn would handle all chunks that it has read, tens of thousands, before the event loop
could do anything else. It also has no time limit for sending a request or for reading the response, so a few clients
could hold all descriptors.
"""

from __future__ import annotations

import asyncio
import sys

from uvicorn.protocols.http.h11_impl import H11Protocol

if sys.platform != "win32":
    import resource

PORTION = 4096  # bytes to handle at a time
HEADERS_S = 10.0  # seconds for complete headers, from the opening of the connection or the last response
UNREAD_S = 60.0  # seconds between two looks at whether a client reads its response; closes after one or two of them
SPARE_DESCRIPTORS = 64  # descriptors kept for other files


def most_connections() -> int | None:
    """How many connections may be open, so that descriptors do not run out; None where the system has no limit."""
    if sys.platform == "win32":
        return None
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else max(limit - SPARE_DESCRIPTORS, 8)


class PortionedProtocol(H11Protocol):
    """`H11Protocol` that lets the event loop do other work after every portion and closes unused connections."""

    _unhandled = b""
    _headers_timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Close the connection at once if there are too many."""
        super().connection_made(transport)
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
            self.transport.close()  # asyncio first sends what a slow client has not read yet
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
        waiting = bool(self._unhandled)
        self._unhandled += data
        if waiting:
            self.transport.pause_reading()  # the application asked for more, but this must be handled first
        else:
            self._handle_portion()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop unhandled input and the timers."""
        self._unhandled = b""
        if self._headers_timer is not None:
            self._headers_timer.cancel()
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
