"""What is done around every request: its id, its log line, its figures, and an answer even where we fail."""

from __future__ import annotations

import logging
import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors, logs, tracing
from api.access import path_below
from api.limits import ANSWERED

UNMATCHED = "unmatched"  # the route of all paths that lead nowhere


class Observer:
    """Wraps all that answers.

    HEAD is answered as GET is, without the body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the connection on, and tell what came of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, method = time.perf_counter(), scope["method"]
        if method == "HEAD":
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        trace = tracing.begin(scope)
        status = errors.CLIENT_GONE  # until something is sent, and if nothing ever is

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[tracing.HEADER] = trace.request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            _tell(scope, trace, method, status, time.perf_counter() - begun)


class Failsafe:
    """Answers where we fail: with the request's id for the client, and the reason in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the connection on; what is raised ends here, unless the answer is on its way already."""
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
            logs.event("failed", logging.ERROR, error=error, request_id=tracing.trace_of(scope).request_id)
            if started:
                raise  # the server can only hang up
            await errors.failure(scope)(scope, receive, send)


def _without_body(send: Send) -> Send:
    async def headers_only(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return headers_only


def _tell(scope: Scope, trace: tracing.Trace, method: str, status: int, seconds: float) -> None:
    state, route = scope.get("state", {}), _route(scope)
    service, metrics = state.get("service"), state.get("metrics")
    text = trace.text if service is not None and service.settings.log_text else {}
    logs.event(
        "request",
        request_id=trace.request_id,
        method=method[:16],
        route=route,
        status=status,
        seconds=round(seconds, 6),
        rows=trace.rows,
        rejection=trace.rejection,
        **text,
    )
    if metrics is not None:
        metrics.answered(route, method, status, seconds, trace.rejection)


def _route(scope: Scope) -> str:
    """The template of the route, whose number is bounded."""
    route = getattr(scope.get("route"), "path", None)
    if isinstance(route, str):
        return route
    if path_below(scope) == ANSWERED:  # refused before it came to a route
        return ANSWERED
    return "/page/{path}" if scope["path"].startswith("/page/") else UNMATCHED
