"""Errors that nothing else handles: a 500 with a problem document for a request, one line for a failed startup.

Open it to change what a client or an operator sees after such an error.
"""

from __future__ import annotations

import logging
import sys

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import logs, problems
from api.request_record import record_of
from dialog_cvae.errors import DialogCvaeError


class Failsafe:
    """Middleware: answers 500 after an unexpected error. The client gets the request id, the log the reason."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer 500 if it raises, unless the response has already begun."""
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, sending if scope["type"] == "http" else send)
        except Exception as error:
            if scope["type"] != "http":
                raise
            logs.event("failed", logging.ERROR, error=error, request_id=record_of(scope).request_id)
            if started:
                raise  # the response has begun: the server can only close the connection
            await problems.failure(scope)(scope, receive, send)


class StartupLine:
    """Middleware: a startup error that the operator can correct is shown as one line instead of a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; shorten the message of a failed startup."""

        async def line(message: Message) -> None:
            error = sys.exception()
            if message["type"] == "lifespan.startup.failed" and isinstance(error, DialogCvaeError):
                message = {**message, "message": f"error: {error}"}
            await send(message)

        await self.app(scope, receive, line if scope["type"] == "lifespan" else send)
