"""CORS: pages of which other web sites may call this server.

Open it to change which headers a page may send. CORS is off unless `DIALOG_CVAE_CORS_ORIGINS` names origins. In a
browser, OpenAI's client adds headers to each request that begin with `x-stainless-`. Their names change with its
version and the server ignores them, so a preflight request may ask for any of them.
"""

from __future__ import annotations

import re
from functools import cache

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems
from api.request_record import HEADER

ALLOWED = ("Authorization", "Content-Type", "X-API-Key", "OpenAI-Organization", "OpenAI-Project", HEADER)
ASKED = "access-control-request-headers"
_CLIENTS_OWN = re.compile(r"x-stainless-[a-z0-9-]{1,64}")


class Cors:
    """Middleware: answers preflight requests and adds CORS headers, if the settings name any origin."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._for = cache(self._configured)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, through Starlette's middleware if any origin is allowed."""
        models = scope.get("state", {}).get("models") if scope["type"] == "http" else None
        if models is None or not models.settings.cors_origins:
            await self.app(scope, receive, send)
            return
        middleware, headers = self._for(models.settings.cors_origins), Headers(scope=scope)
        if scope["method"] == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers:
            await _preflight(scope, middleware, headers)(scope, receive, send)
        else:
            await middleware(scope, receive, send)

    def _configured(self, origins: tuple[str, ...]) -> CORSMiddleware:
        return CORSMiddleware(
            self.app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=ALLOWED,
            expose_headers=("Retry-After", HEADER),
        )


def _preflight(scope: Scope, middleware: CORSMiddleware, headers: Headers) -> Response:
    """The response to a preflight request; a refusal is a problem document."""
    names = [name.strip().lower() for value in headers.getlist(ASKED) for name in value.split(",")]
    own = [name for name in dict.fromkeys(names) if _CLIENTS_OWN.fullmatch(name)]
    asked = MutableHeaders(raw=list(headers.raw))
    if own:
        asked[ASKED] = ",".join(name for name in names if name not in own) or "accept"
    response = middleware.preflight_response(asked)
    if response.status_code < 400:
        response.headers["Access-Control-Allow-Headers"] = ", ".join(
            [response.headers["Access-Control-Allow-Headers"], *own]
        )
        return response
    kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
    detail = "pages of this origin may not make this request"
    return problems.document(scope, response.status_code, "origin-refused", detail, kept)
