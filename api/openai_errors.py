"""Refusals and failures below `/v1/`: errors in OpenAI's form instead of problem documents.

Open it to see which status, `type` and `code` a kind of problem gets there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.responses import JSONResponse, Response
from starlette.types import Scope

from api.request_record import path_below

BELOW = "/v1/"
_CODES = {"unauthorised": "invalid_api_key", "not-found": "not_found"}  # other kinds keep their name, with underscores
_ROLES = {"system", "developer", "user", "assistant"}  # pydantic adds the role after a message's position


def expected(scope: Scope) -> bool:
    """Whether the client of this request expects OpenAI's form."""
    return path_below(scope).startswith(BELOW)


def document(
    status: int, kind: str | None, detail: str, headers: Mapping[str, str] | None, errors: Sequence[Mapping[str, Any]]
) -> Response:
    """The response that carries an error.

    Args:
        status: our status; 422, an invalid request, becomes 400.
        kind: a kind of `api.problem_kinds`; None: an error of HTTP itself.
        detail: what is wrong, in words.
        headers: of the response.
        errors: the invalid fields, as a problem document lists them; the first one is named.
    """
    param = _param(errors[0]["loc"]) if errors else None
    if status == 422:
        status, code = 400, errors[0]["type"] if errors else None
    else:
        code = None if kind is None else _CODES.get(kind, kind.replace("-", "_"))
    return error(status, detail, param, code, headers)


def error(
    status: int, message: str, param: str | None, code: str | None, headers: Mapping[str, str] | None = None
) -> Response:
    """The response with this error."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    content = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return JSONResponse(content, status_code=status, headers=headers)


def no_model(name: str) -> Response:
    """The response to a request for a model that is not served."""
    message = f"The model `{name[:80]}` does not exist; GET /v1/models lists what is served."
    return error(404, message, "model", "model_not_found")


def _param(loc: Sequence[str | int]) -> str | None:
    """A field as OpenAI writes it, such as `messages[0].content`; None: the whole body."""
    parts = [part for place, part in enumerate(loc[1:]) if place != 2 or part not in _ROLES]
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return name.removeprefix(".") or None
