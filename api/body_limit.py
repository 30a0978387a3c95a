"""Limits on request bodies: how long a body may be, and how long it may take to arrive.

Open it to change when a body is refused.
"""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Refusal

# The connection is closed, because the rest of the body would be read as the next request.
_CLOSE = {"Connection": "close"}


class BodyLimit:
    """Middleware: refuses a body that is too long or arrives too slowly.

    A body is refused before any of it is read if its Content-Length is too large. Routes that read no body are not
    affected.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a `receive` that enforces both limits."""
        models = scope.get("state", {}).get("models")
        if scope["type"] != "http" or models is None:
            await self.app(scope, receive, send)
            return
        settings = models.settings
        await self.app(scope, _limited(scope, receive, settings.max_body_bytes, settings.body_timeout_s), send)


def _limited(scope: Scope, receive: Receive, limit: int, seconds: float) -> Receive:
    """A `receive` that raises `Refusal`: 413 above `limit` bytes, 408 after `seconds`."""
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
        complete = not part.get("more_body", False)
        return part

    return limited


def _too_large(limit: int, found: str = "") -> Refusal:
    return Refusal(413, "body-too-large", f"the body exceeds {limit} bytes{found}", _CLOSE)
