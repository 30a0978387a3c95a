"""Limits on request bodies: the length of one, the time in which it must arrive, and the length of all together.

Open it to change when a body is refused. Large bodies share a limited amount of memory, because many clients can send
them at once. The beginning of a body does not count, so that large bodies never keep out ordinary requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Refusal
from api.room import Busy

# The connection is closed, so that the rest of the body is not awaited; `api.http_protocol` drops a part of it first.
_CLOSE = {"Connection": "close"}
UNCOUNTED = 65_536  # bytes at the beginning of each body
LARGE_TOGETHER = 8  # bodies of the maximum length that may be in memory at a time


class BodyLimit:
    """Middleware: refuses a body that is too long, arrives too slowly, or finds too many other large ones.

    A body is refused before any of it is read if its Content-Length is too large. Routes that read no body are not
    affected.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._held = 0  # bytes of all large bodies; they stay in memory until their requests are answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a `receive` that enforces the limits."""
        models = scope.get("state", {}).get("models")
        if scope["type"] != "http" or models is None:
            await self.app(scope, receive, send)
            return
        limit, seconds, own = models.settings.max_body_bytes, models.settings.body_timeout_s, 0

        def hold(length: int) -> None:
            nonlocal own
            more = max(0, length - UNCOUNTED) - own
            if self._held + more > LARGE_TOGETHER * limit:
                raise Busy("too many large requests at once; try again later", models.room.retry_after(), "queue_full")
            own, self._held = own + more, self._held + more

        try:
            await self.app(scope, _limited(scope, receive, limit, seconds, hold), send)
        finally:
            self._held -= own


def _limited(scope: Scope, receive: Receive, limit: int, seconds: float, hold: Callable[[int], None]) -> Receive:
    """A `receive` that raises `Refusal`: 413 above `limit` bytes, 408 after `seconds`.

    It calls `hold` with the number of bytes that have arrived.
    """
    length = Headers(scope=scope).get("content-length", "")
    declared = int(length) if length.isascii() and length.isdecimal() and len(length) < 100 else 0
    seen, deadline, complete = 0, None, False

    async def limited() -> Message:
        nonlocal seen, deadline, complete
        if complete:
            return await receive()
        if declared > limit:
            raise _too_large(limit, f"; Content-Length is {declared}")
        deadline = deadline or asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                part = await receive()
        except TimeoutError:
            detail = f"the body did not arrive within {seconds:g} seconds"
            raise Refusal(408, "body-too-slow", detail, _CLOSE) from None
        seen += len(part.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        hold(seen)
        complete = not part.get("more_body", False)
        return part

    return limited


def _too_large(limit: int, found: str = "") -> Refusal:
    return Refusal(413, "body-too-large", f"the body exceeds {limit} bytes{found}", _CLOSE)
