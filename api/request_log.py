"""The outermost middleware: each request gets an id, a log line and its metrics, and HEAD is answered as GET.

Open it to change what is logged or counted for a request.
"""

from __future__ import annotations

import time
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import logs, problems
from api.full_queue import ANSWERING
from api.request_record import HEADER, RequestRecord, new_record, path_below

UNMATCHED = "unmatched"  # logged as the route of all paths without a route


class RequestLog:
    """Middleware: creates the request's record, and logs and counts the request when it is answered.

    HEAD is answered as GET is, without the body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, then log and count it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, method = time.perf_counter(), scope["method"]
        if method == "HEAD":
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        record = new_record(scope, method)
        status = problems.CLIENT_GONE  # the status if no response begins

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[HEADER] = record.request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            await _log(scope, record, method, status, time.perf_counter() - begun)


def _without_body(send: Send) -> Send:
    async def headers_only(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return headers_only


async def _log(scope: Scope, record: RequestRecord, method: str, status: int, seconds: float) -> None:
    state, route = scope.get("state", {}), route_of(scope)
    models, metrics = state.get("models"), state.get("metrics")
    if metrics is not None:
        metrics.answered(route, method, status, seconds, record.rejection)
    line: dict[str, Any] = {
        "request_id": record.request_id,
        "method": method[:16],
        "route": route,
        "status": status,
        "seconds": round(seconds, 6),
        "rows": record.rows,
        "rejection": record.rejection,
    }
    if models is None or not models.settings.log_text or not record.text:
        logs.event("request", **line)
    else:  # texts can be very long
        await models.worker_thread.run(lambda: logs.event("request", **line, **record.text))


def route_of(scope: Scope) -> str:
    """The route's template rather than the path, so that metrics have a bounded number of labels."""
    route = getattr(scope.get("route"), "path", None)
    if isinstance(route, str):
        return route
    if (path := path_below(scope)) in ANSWERING:  # refused before it reached its route
        return path
    return "/page/{path}" if path.startswith("/page/") else UNMATCHED
