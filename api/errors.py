"""Everything that goes wrong in one shape: RFC 9457 problem documents.

A problem's `type` is a stable relative URI, `/problems/` and its kind; `instance` carries the request's id, under which
the server's log has it. Of a refused request, `errors` lists what is wrong with which field: the message names the
field, its limit and the value.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.batcher import Busy
from api.schemas import PROBLEM_TYPE
from api.tracing import trace_of
from dialog_cvae.errors import DialogCvaeError

CLIENT_GONE = 499  # in logs and metrics, as nginx has it; nobody is left to receive it
MAX_PROBLEMS = 20
MAX_ECHO_CHARS = 80
MAX_MESSAGE_CHARS = 1000


class Kind(NamedTuple):
    """A kind of problem.

    Attributes:
        title: in short.
        meaning: what to do about it; what the problem's `type` leads to.
        counted: the reason that such a rejection is counted under; None where it is no rejection.
    """

    title: str
    meaning: str
    counted: str | None = None


KINDS = {
    "unauthorised": Kind(
        "An API key is needed",
        "Send one of the server's API keys as Authorization: Bearer KEY, or as X-API-Key: KEY. If both are sent, both "
        "must be right.",
        "unauthorised",
    ),
    "not-found": Kind(
        "There is nothing here", "The path is none of the service's, or its operator has switched it off."
    ),
    "method-not-allowed": Kind("The method is not allowed here", "The header Allow names the methods that are."),
    "body-too-slow": Kind(
        "The body did not come in time", "Send the whole body at once; the connection was ended.", "timeout"
    ),
    "body-too-large": Kind(
        "The body is too large",
        "No request within the limits that GET /model tells is as long. Nothing of it was read, or no more than the "
        "limit, and the connection was ended.",
        "too_large",
    ),
    "invalid-request": Kind(
        "The request is not valid", "Each of `errors` names a field, its limit and the value that was sent.", "invalid"
    ),
    "origin-refused": Kind(
        "Pages of other origins may not do this",
        "The operator names the origins whose pages may ask in DIALOG_CVAE_CORS_ORIGINS: by GET, HEAD and POST, with "
        "the headers Authorization, Content-Type, X-API-Key and X-Request-ID.",
    ),
    "internal-error": Kind(
        "The server failed", "Tell its operator the request id, which is in `instance` and in the header X-Request-ID."
    ),
    "not-loaded": Kind("The model is not loaded yet", "Try again after as many seconds as Retry-After says."),
    "queue-full": Kind(
        "Too many requests are waiting",
        "Try again after as many seconds as Retry-After says: by then about half of them should be answered.",
        "queue_full",
    ),
    "answer-too-slow": Kind(
        "The answer took too long", "Ask for fewer responses, or try again after Retry-After seconds.", "timeout"
    ),
    "closing": Kind(
        "The server is about to end", "Try again after Retry-After seconds; another one may take its place."
    ),
}
BUSY = {"queue_full": "queue-full", "timeout": "answer-too-slow", "closing": "closing"}  # kinds, by `Busy.reason`
BY_STATUS = {404: "not-found", 405: "method-not-allowed", 422: "invalid-request", 500: "internal-error"}


class Refusal(HTTPException):
    """A refusal of a kind in `KINDS`."""

    def __init__(self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.kind = kind


class ClientGone(Exception):  # noqa: N818  (nothing is wrong here)
    """The client hung up before it got its answer."""


def install(app: FastAPI) -> None:
    """Give the application its error handlers."""
    app.add_exception_handler(RequestValidationError, _refuse_request)
    app.add_exception_handler(DialogCvaeError, _refuse_input)
    app.add_exception_handler(StarletteHTTPException, _refuse_http)
    app.add_exception_handler(ClientGone, _nobody)


def document(
    scope: Scope,
    status: int,
    kind: str | None,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: Iterable[Mapping[str, Any]] | None = None,
) -> Response:
    """The answer that tells a problem."""
    trace = trace_of(scope)
    trace.rejection = KINDS[kind].counted if kind else None
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"
    content: dict[str, Any] = {
        "type": f"/problems/{kind}" if kind else "about:blank",
        "title": KINDS[kind].title if kind else phrase,
        "status": status,
        "detail": detail,
        "instance": trace.uri,
    }
    if errors is not None:
        content["errors"] = list(errors)
    return JSONResponse(content, status_code=status, headers=headers, media_type=PROBLEM_TYPE)


def busy_document(scope: Scope, busy: Busy) -> Response:
    """The answer to a request that the model has no time for."""
    return document(scope, 503, BUSY[busy.reason], str(busy), {"Retry-After": str(busy.retry_after)})


def failure(scope: Scope) -> Response:
    """What a client gets to see of a fault of ours: where to ask about it, and nothing of how we work."""
    detail = f"the server failed to answer; its log has the reason under request id {trace_of(scope).request_id}"
    return document(scope, 500, "internal-error", detail)


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


def messages(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is wrong with a request, in words, of errors as pydantic and FastAPI report them."""
    rooted = (item if item["loc"][:1] == ("body",) else {**item, "loc": ("body", *item["loc"])} for item in items)
    return [_describe(item, "")["msg"] for item in rooted]


def _invalid(scope: Scope, items: Iterable[Mapping[str, Any]]) -> Response:
    errors = list(items)
    rest = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return document(scope, 422, "invalid-request", f"{errors[0]['msg']}{rest}", errors=errors)


async def _refuse_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    content_type = request.headers.get("content-type", "")
    # The input itself is left out: it may be huge, NaN or no Unicode, none of which belongs into a response.
    return _invalid(request.scope, [_describe(item, content_type) for item in error.errors()[:MAX_PROBLEMS]])


async def _refuse_input(request: Request, error: Exception) -> Response:
    """What the model refuses although the request is well formed."""
    message = _shortened(str(error), MAX_MESSAGE_CHARS)
    return _invalid(request.scope, [{"loc": ["body"], "msg": message, "type": "input_refused"}])


async def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    if isinstance(error.__cause__, ClientDisconnect):
        return await _nobody(request, error)
    if error.status_code == 400 and error.__cause__ is not None:
        # FastAPI's word for JSON that breaks the parser: bytes that are not UTF-8, deep nesting, endless numbers.
        message = f"body: cannot be read as JSON: {_shortened(str(error.__cause__), MAX_MESSAGE_CHARS)}"
        return _invalid(request.scope, [{"loc": ["body"], "msg": message, "type": "json_invalid"}])
    kind = error.kind if isinstance(error, Refusal) else BY_STATUS.get(error.status_code)
    headers = dict(error.headers or {})
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"  # see `api.observing`
    return document(request.scope, error.status_code, kind, str(error.detail), headers)


async def _nobody(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


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
