"""Problem documents (RFC 9457): every refusal and failure of the service has this form.

Open it to change how an error becomes a document. A problem's `type` is a stable relative URI, `/problems/` and its
kind (see `api.problem_kinds`). Its `instance` contains the request id that is also in the server's log. For an invalid
request, `errors` has a message for each invalid field, with the field, its limit and the value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from api import openai_errors
from api.problem_kinds import BUSY, BY_STATUS, KINDS
from api.problem_schemas import PROBLEM_TYPE
from api.request_record import record_of
from api.room import Busy
from dialog_cvae.errors import DialogCvaeError

CLIENT_GONE = 499  # in logs and metrics only, as in nginx: the client has disconnected
MAX_PROBLEMS = 20
MAX_ECHO_CHARS = 80
MAX_MESSAGE_CHARS = 1000


class Refusal(HTTPException):
    """A refusal, with a kind of `KINDS`."""

    def __init__(self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.kind = kind


class UnknownModelError(RequestValidationError):
    """A request names a model that is not served.

    Args:
        name: the requested name.
        served: the names of all models.
    """

    def __init__(self, name: str, served: Sequence[str]) -> None:
        self.name = name
        self.message = f"should be one of {', '.join(served)}, got {quoted(name)}"
        super().__init__([problem(("model",), "unknown_model", self.message)])


class ClientGone(Exception):  # noqa: N818  (not a fault)
    """The client disconnected before its reply was ready."""


def install(app: FastAPI) -> None:
    """Add the error handlers to the application."""
    app.add_exception_handler(RequestValidationError, _refuse_request)
    app.add_exception_handler(DialogCvaeError, _refuse_input)
    app.add_exception_handler(StarletteHTTPException, _refuse_http)
    app.add_exception_handler(ClientGone, _no_client)
    app.add_exception_handler(ClientDisconnect, _no_client)  # while its body was read
    app.add_exception_handler(Busy, _refuse_busy)


def document(
    scope: Scope,
    status: int,
    kind: str | None,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: Iterable[Mapping[str, Any]] | None = None,
) -> Response:
    """The response that carries a problem document, or an error in OpenAI's form below its paths."""
    record = record_of(scope)
    record.rejection = KINDS[kind].counted if kind else None
    if openai_errors.expected(scope):
        return openai_errors.document(status, kind, detail, headers, list(errors or ()))
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"
    content: dict[str, Any] = {
        "type": f"/problems/{kind}" if kind else "about:blank",
        "title": KINDS[kind].title if kind else phrase,
        "status": status,
        "detail": detail,
        "instance": record.uri,
    }
    if errors is not None:
        content["errors"] = list(errors)
    return JSONResponse(content, status_code=status, headers=headers, media_type=PROBLEM_TYPE)


def busy_document(scope: Scope, busy: Busy) -> Response:
    """The response to a request that has no place in the queue, or whose reply took too long."""
    return document(scope, 503, BUSY[busy.reason], str(busy), {"Retry-After": str(busy.retry_after)})


def failure(scope: Scope) -> Response:
    """The response after an internal error: it contains the request id, but nothing about the error."""
    detail = f"the server failed to answer; its log shows the reason under request id {record_of(scope).request_id}"
    return document(scope, 500, "internal-error", detail)


def problem(field: tuple[str | int, ...], kind: str, message: str) -> dict[str, Any]:
    """An invalid field of the body, in pydantic's form, but with the value already in the message."""
    return {"loc": ("body", *field), "type": kind, "msg": message}


def quoted(value: object) -> str:
    """A client's value for a message: shortened, and in ASCII."""
    if isinstance(value, str | int | float | None):
        return shortened(json.dumps(value[: MAX_ECHO_CHARS + 1] if isinstance(value, str) else value))
    return "an array" if isinstance(value, list) else "an object"


def shortened(text: str, limit: int = MAX_ECHO_CHARS) -> str:
    """At most `limit` characters of the text, without characters that UTF-8 can't encode."""
    short = text if len(text) <= limit else text[:limit] + "…"
    return short.encode("utf-8", "replace").decode()


def _describe(item: Mapping[str, Any]) -> dict[str, Any]:
    loc = [shortened(part) if isinstance(part, str) else part for part in item["loc"]]
    kind, message = item["type"], item["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        message = "unknown field"
    elif kind not in ("missing", "too_short", "context_mixed") and "input" in item:
        message += f", got {quoted(item['input'])}"
    name, message = ".".join(str(part) for part in loc[1:]) or "body", shortened(message, MAX_MESSAGE_CHARS)
    return {"loc": loc, "msg": f"{name}: {message}", "type": kind}


def messages(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """The messages of the errors that pydantic and FastAPI report for a request."""
    return [item["msg"] for item in described(items)]


def described(items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The errors that pydantic and FastAPI report, in the form of `errors` of a problem document."""
    rooted = (item if item["loc"][:1] == ("body",) else {**item, "loc": ("body", *item["loc"])} for item in items)
    return [_describe(item) for item in rooted]


def input_refused(error: Exception) -> dict[str, Any]:
    """The only item of `errors` if the model refuses a valid request."""
    return {"loc": ["body"], "msg": shortened(str(error), MAX_MESSAGE_CHARS), "type": "input_refused"}


def _invalid(scope: Scope, items: Iterable[Mapping[str, Any]]) -> Response:
    errors = list(items)
    rest = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return document(scope, 422, "invalid-request", f"{errors[0]['msg']}{rest}", errors=errors)


async def _refuse_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if isinstance(error, UnknownModelError) and openai_errors.expected(request.scope):
        return openai_errors.no_model(error.name)
    # The input itself is left out: it may be huge, NaN or invalid Unicode.
    return _invalid(request.scope, [_describe(item) for item in error.errors()[:MAX_PROBLEMS]])


async def _refuse_input(request: Request, error: Exception) -> Response:
    """The model refuses a valid request."""
    return _invalid(request.scope, [input_refused(error)])


async def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    if isinstance(error.__cause__, ClientDisconnect):
        return await _no_client(request, error)
    kind = error.kind if isinstance(error, Refusal) else BY_STATUS.get(error.status_code)
    headers = dict(error.headers or {})
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"  # `api.request_log` answers HEAD as GET
    return document(request.scope, error.status_code, kind, str(error.detail), headers)


async def _refuse_busy(request: Request, error: Exception) -> Response:
    assert isinstance(error, Busy)
    return busy_document(request.scope, error)


async def _no_client(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)
