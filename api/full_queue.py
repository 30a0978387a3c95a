"""Early refusal: while the queue is full, a request for replies gets 503 before its body is read.

Open it to change which requests are refused early. Parsing and validation would take time from the requests that are
being answered.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import busy_document
from api.request_record import path_below
from api.room import Busy

ANSWERING = {"/respond", "/respond/batch", "/v1/chat/completions"}  # the paths of the requests that wait in the queue


class FullQueue:
    """Middleware: refuses requests for replies while the queue has no free place."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 503."""
        models = scope.get("state", {}).get("models") if scope["type"] == "http" else None
        if models is not None and scope["method"] == "POST" and path_below(scope) in ANSWERING:
            try:
                models.room.check()
            except Busy as busy:
                await busy_document(scope, busy)(scope, receive, send)
                return
        await self.app(scope, receive, send)
