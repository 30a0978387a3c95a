"""Limits of time and size: what a client may cost before and while it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import path_below
from api.batcher import Busy
from api.errors import ClientGone, Refusal, busy_document

T = TypeVar("T")
ANSWERED = "/respond"  # what the queue is for
# What is left of the body can't be told from the next request, so the connection ends with the refusal.
_CLOSE = {"Connection": "close"}


class BodyLimit:
    """Refuses a body that is too long, before it is read where its headers say so, and one that comes too slowly.

    A route that reads no body is not concerned.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the connection on with a `receive` that counts and looks at the clock."""
        service = scope.get("state", {}).get("service")
        if scope["type"] != "http" or service is None:
            await self.app(scope, receive, send)
            return
        await self.app(
            scope, _limited(scope, receive, service.settings.max_body_bytes, service.settings.body_timeout_s), send
        )


class FullQueue:
    """Refuses whom the queue has no place for before the request is read, so that refusals cost the answers little."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the connection on, or answer 503."""
        service = scope.get("state", {}).get("service") if scope["type"] == "http" else None
        if service is not None and scope["method"] == "POST" and path_below(scope) == ANSWERED:
            try:
                service.batcher.check_room()
            except Busy as busy:
                await busy_document(scope, busy)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _limited(scope: Scope, receive: Receive, limit: int, seconds: float) -> Receive:
    """A `receive` that raises `Refusal`: 413 beyond `limit` bytes, 408 once `seconds` are over."""
    length = Headers(scope=scope).get("content-length", "")
    declared = int(length) if length.isascii() and length.isdecimal() and len(length) < 100 else 0
    seen, deadline, complete = 0, None, False

    async def limited() -> Message:
        nonlocal seen, deadline, complete
        if complete:
            return await receive()
        if declared > limit:
            raise _too_large(limit, f"Content-Length is {declared}")
        deadline = deadline or asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                part = await receive()
        except TimeoutError:
            detail = f"the body should come within {seconds:g} seconds, and did not"
            raise Refusal(408, "body-too-slow", detail, _CLOSE) from None
        seen += len(part.get("body", b""))
        if seen > limit:
            raise _too_large(limit, "has more")
        complete = not part.get("more_body", False)
        return part

    return limited


def _too_large(limit: int, found: str) -> Refusal:
    return Refusal(413, "body-too-large", f"the body should have at most {limit} bytes; {found}", _CLOSE)


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client hangs up.

    Args:
        receive: of a request whose body has been read: what comes next is the end of the connection.
        work: what the client waits for.

    Raises:
        ClientGone: the client hung up first.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
