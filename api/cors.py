"""CORS: which other web sites' pages may call this server.

Off unless `DIALOG_CVAE_CORS_ORIGINS` names origins.
"""

from __future__ import annotations

from functools import cache

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems
from api.request_record import HEADER


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
            await _preflight(scope, middleware.preflight_response(headers))(scope, receive, send)
        else:
            await middleware(scope, receive, send)

    def _configured(self, origins: tuple[str, ...]) -> CORSMiddleware:
        return CORSMiddleware(
            self.app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("Authorization", "Content-Type", "X-API-Key", HEADER),
            expose_headers=("Retry-After", HEADER),
        )


def _preflight(scope: Scope, response: Response) -> Response:
    """Starlette's response to a preflight request; a refusal becomes a problem document."""
    if response.status_code < 400:
        return response
    kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
    detail = "pages of this origin may not make this request"
    return problems.document(scope, response.status_code, "origin-refused", detail, kept)
