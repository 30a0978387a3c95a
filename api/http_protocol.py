"""uvicorn's HTTP protocol, which handles what a client sends in small portions.

Open it if one connection delays the others. A body in chunks of one byte has a chunk for every six bytes that arrive.
uvicorn would handle all that it has read, tens of thousands, before the event loop could do anything else.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

PORTION = 4096  # bytes that are handled at a time


class PortionedProtocol(H11Protocol):
    """`H11Protocol`, which lets the event loop do other work after every portion."""

    _unhandled = b""

    def data_received(self, data: bytes) -> None:
        """Handle the first portion now, and the others in later rounds of the event loop."""
        waiting = bool(self._unhandled)
        self._unhandled += data
        if waiting:
            self.transport.pause_reading()  # the application has asked for more, but must handle this first
        else:
            self._handle_portion()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what is unhandled."""
        self._unhandled = b""
        super().connection_lost(exc)

    def _handle_portion(self) -> None:
        if not self._unhandled or self.transport.is_closing():
            self._unhandled = b""
            return
        portion, self._unhandled = self._unhandled[:PORTION], self._unhandled[PORTION:]
        try:
            super().data_received(portion)
        except Exception:
            # In a later round, asyncio would not close the connection itself, and it would stay for good.
            self._unhandled = b""
            self.transport.abort()
            return
        if self._unhandled:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._handle_portion)
        elif not self.flow.read_paused:
            self.transport.resume_reading()
