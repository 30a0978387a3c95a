"""Refusals in one shape: `{"detail": [{"loc", "msg", "type"}]}`; the message names field, limit and value."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dialog_cvae.errors import DialogCvaeError

MAX_PROBLEMS = 20
MAX_ECHO_CHARS = 80
MAX_MESSAGE_CHARS = 1000


def install(app: FastAPI) -> None:
    """Give the application its error handlers and the two middlewares below."""
    app.add_exception_handler(RequestValidationError, _refuse_request)
    app.add_exception_handler(DialogCvaeError, _refuse_input)
    app.add_exception_handler(StarletteHTTPException, _refuse_http)
    app.add_middleware(BodyLimit)
    app.add_middleware(StartupLine)


def problem(field: tuple[str | int, ...], kind: str, message: str) -> dict[str, Any]:
    """A problem with a field of the body, as pydantic reports its own, but with the value in the message already."""
    return {"loc": ("body", *field), "type": kind, "msg": message}


def quoted(value: object) -> str:
    """A client's value for a message: short, and of characters that any log or terminal shows."""
    if isinstance(value, str | int | float | None):
        return _shortened(json.dumps(value[: MAX_ECHO_CHARS + 1] if isinstance(value, str) else value))
    return "an array" if isinstance(value, list) else "an object"


def _shortened(text: str, limit: int = MAX_ECHO_CHARS) -> str:
    """At most `limit` characters of the text, without what UTF-8 can't carry."""
    short = text if len(text) <= limit else text[:limit] + "…"
    return short.encode("utf-8", "replace").decode()


def _describe(item: Mapping[str, Any], content_type: str) -> dict[str, Any]:
    loc = [_shortened(part) if isinstance(part, str) else part for part in item["loc"]]
    kind, message = item["type"], item["msg"].removeprefix("Value error, ")
    if isinstance(item.get("input"), bytes):
        kind, message = "content_type", f"should be JSON with Content-Type application/json, not {quoted(content_type)}"
    elif kind == "json_invalid":
        message = f"not valid JSON: {item['ctx']['error']} at character {loc.pop()}"
    elif kind == "extra_forbidden":
        message = "unknown field"
    elif kind not in ("missing", "too_short", "context_mixed") and "input" in item:
        message += f", got {quoted(item['input'])}"
    name = ".".join(str(part) for part in loc[1:]) or "body"
    return {"loc": loc, "msg": f"{name}: {message}", "type": kind}


def _refusal(items: Iterable[Mapping[str, Any]]) -> JSONResponse:
    return JSONResponse({"detail": list(items)}, status_code=422)


async def _refuse_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    content_type = request.headers.get("content-type", "")
    # The input itself is left out: it may be huge, NaN or no Unicode, none of which belongs into a response.
    return _refusal(_describe(item, content_type) for item in error.errors()[:MAX_PROBLEMS])


async def _refuse_input(_request: Request, error: Exception) -> Response:
    """What the model refuses although the request is well formed."""
    return _refusal([{"loc": ["body"], "msg": _shortened(str(error), MAX_MESSAGE_CHARS), "type": "input_refused"}])


async def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    if error.status_code == 400 and error.__cause__ is not None:
        # FastAPI's word for JSON that breaks the parser: bytes that are not UTF-8, deep nesting, endless numbers.
        message = f"body: cannot be read as JSON: {_shortened(str(error.__cause__), MAX_MESSAGE_CHARS)}"
        return _refusal([{"loc": ["body"], "msg": message, "type": "json_invalid"}])
    return await http_exception_handler(request, error)


class BodyLimit:
    """Stops reading a body as soon as it is longer than the settings allow, whatever its headers say."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the connection on with a counting `receive`."""
        service = scope.get("state", {}).get("service")
        if scope["type"] != "http" or service is None:
            await self.app(scope, receive, send)
            return
        limit, seen = service.settings.max_body_bytes, 0

        async def counted() -> Message:
            nonlocal seen
            part = await receive()
            seen += len(part.get("body", b""))
            if seen > limit:
                message = f"body: should have at most {limit} bytes, has more"
                raise HTTPException(422, [{"loc": ["body"], "msg": message, "type": "too_long"}])
            return part

        await self.app(scope, counted, send)


class StartupLine:
    """A start that fails for a reason the operator can mend is reported as one line instead of a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the connection on; rewrite a failed start's message to the server."""

        async def line(message: Message) -> None:
            error = sys.exception()
            if message["type"] == "lifespan.startup.failed" and isinstance(error, DialogCvaeError):
                message = {**message, "message": f"error: {error}"}
            await send(message)

        await self.app(scope, receive, line if scope["type"] == "lifespan" else send)
