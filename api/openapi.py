"""The OpenAPI document: FastAPI's, completed with this server's limits and the rules of its validators.

Open it after a change of a limit or a validator. The document then allows exactly what the server accepts, so that
clients and tests can be generated from it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.api_keys import is_open
from api.field_types import MAX_SEED, READABLE_CONTROLS
from api.openapi_examples import PROBLEM_EXAMPLES
from api.problem_schemas import PROBLEM_TYPE
from api.request_checks import CHOSEN_BY_DIVERSITY
from api.request_record import HEADER
from api.settings import Settings
from dialog_cvae.config import MAX_TEMPERATURE, MIN_TEMPERATURE
from dialog_cvae.limits import visible

_PLANES = (range(0x20000), range(0xE0000, 0xE1000))  # Unicode ranges that contain all invisible characters
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "one of the server's API keys"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "the same"},
}
_REQUEST_ID = {
    "description": "the request's id: the client's own, if it sent a valid one",
    "schema": {"type": "string"},
}
_HEADERS = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string", "const": "Bearer"}}},
    503: {
        "Retry-After": {
            "required": True,
            "description": "seconds after which to try again",
            "schema": {"type": "string", "pattern": "^[1-9][0-9]*$"},
        }
    },
}


def install(
    app: FastAPI,
    settings: Settings,
    topics: Sequence[str] | None = None,
    needs_key: bool = False,
    indexed: bool = True,
    names: Sequence[str] | None = None,
) -> None:
    """Replace the application's OpenAPI document by the complete one.

    Args:
        app: the application, with all its routes.
        settings: its limits.
        topics: the models' topics; None before they are loaded, if a topic may be any text, and if they are secret.
        needs_key: whether some routes need an API key.
        indexed: whether a model has an index of responses; true before they are loaded.
        names: names of models that requests may use; None before they are loaded, and if they are secret.
    """
    make = cache(lambda: _document(app, settings, topics, needs_key, indexed, names))
    app.openapi = make  # type: ignore[method-assign]  # as FastAPI's manual recommends
    app.state.openapi_json = cache(lambda: json.dumps(make(), ensure_ascii=False).encode())


def _document(
    app: FastAPI,
    settings: Settings,
    topics: Sequence[str] | None,
    needs_key: bool,
    indexed: bool,
    names: Sequence[str] | None,
) -> dict[str, Any]:
    content = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=app.description, routes=app.routes
    )
    for path, operations in content["paths"].items():
        for operation in operations.values():
            if needs_key and not is_open(path, settings):
                operation["security"] = [{name: []} for name in _SCHEMES]
                operation["responses"]["401"] = _unauthorised()
            operation["responses"] = {
                status: _response(int(status), operation["responses"][status])
                for status in sorted(operation["responses"])
            }
    if needs_key:
        content["components"]["securitySchemes"] = _SCHEMES
    _tighten(content["components"]["schemas"], settings, topics, indexed)
    if names is not None:
        asked = content["components"]["schemas"]["RespondRequest"]["properties"]["model"]
        asked["anyOf"] = [{"type": "string", "enum": list(names)}, {"type": "null"}]
    return content


def _unauthorised() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    media = {"application/json": {"schema": schema, "example": PROBLEM_EXAMPLES[401]}}
    return {"description": "An API key is required, and the request has none or an invalid one", "content": media}


def _response(status: int, answer: dict[str, Any]) -> dict[str, Any]:
    """A response with its headers; if it is a problem document, with its media type."""
    if status >= 400:
        answer["content"] = {PROBLEM_TYPE: answer["content"]["application/json"]}
    request_id = {"required": True, **_REQUEST_ID}
    return answer | {"headers": {HEADER: request_id, **_HEADERS.get(status, {})}}


def _tighten(schemas: dict[str, Any], settings: Settings, topics: Sequence[str] | None, indexed: bool) -> None:
    """Add the limits of this server's settings and of the validators in `api.field_types`."""
    request, turn = schemas["RespondRequest"], schemas["Turn"]["properties"]
    fields = request["properties"]
    readable = {"pattern": readable_pattern()}
    text = {"minLength": 1, "maxLength": settings.max_text_chars, **readable}
    turn["text"] |= text
    turn["speaker"] |= readable
    _form(fields["respond_as"], "string").update(readable)
    given = schemas["FeedbackRequest"]["properties"]
    optional = given["context"].pop("anyOf")[0]["anyOf"]  # a nullable field nests the two forms of a context
    for form in (*fields["context"]["anyOf"], *optional):
        form |= {"minItems": 1, "maxItems": settings.max_context}
        if form["items"].get("type") == "string":
            form["items"] |= text
    given["context"]["anyOf"] = [*optional, {"type": "null"}]
    _form(fields["seed"], "integer")["maximum"] = MAX_SEED  # FastAPI has rounded it to a double
    _form(fields["num_responses"], "integer")["maximum"] = settings.max_responses
    _form(fields["max_tokens"], "integer")["maximum"] = settings.max_tokens
    _form(fields["topic"], "string").update(readable)
    _form(fields["speakers"], "object")["propertyNames"] |= readable
    _form(given["sent"], "string").update(text)
    for name in ("respond_as", "topic", "model", "request_id"):
        _form(given[name], "string").update(readable)
    given["topic"]["anyOf"].append({"type": "string", "pattern": "^ *$"})
    schemas["BatchRequest"]["properties"]["requests"]["maxItems"] = settings.max_batch
    if topics is not None:
        known = [{"type": "string", "enum": list(topics)}] if topics else []
        fields["topic"]["anyOf"] = [*known, {"type": "null"}]
    warm = {"type": "number", "minimum": MIN_TEMPERATURE, "maximum": MAX_TEMPERATURE}
    fields["temperature"]["anyOf"] = [{"const": 0}, warm, {"type": "null"}]
    if not indexed:
        fields["candidates_from"]["anyOf"] = [{"const": "model"}, {"type": "null"}]
    retrieved_at = {
        "required": ["at", "candidates_from"],
        "properties": {"at": {"type": "array"}, "candidates_from": {"enum": ["corpus", "both"]}},
    }
    request["not"] = {"anyOf": [*(_both("diversity", name) for name in CHOSEN_BY_DIVERSITY), retrieved_at]}


def _form(field: dict[str, Any], kind: str) -> dict[str, Any]:
    """The alternative of a field's `anyOf` that has a type."""
    form: dict[str, Any] = next(form for form in field["anyOf"] if form.get("type") == kind)
    return form


def _both(*names: str) -> dict[str, Any]:
    """The schema of an object with numbers in all these fields."""
    return {"required": list(names), "properties": {name: {"type": "number"} for name in names}}


@cache
def readable_pattern() -> str:
    """The rule for readable text of `api.field_types`, as a regular expression of JSON Schema (ECMA 262)."""
    controls = _ranges(filter(_is_control, chain(*_PLANES)))
    hidden = _ranges(code for code in chain(*_PLANES) if not visible(chr(code)) and not 0xD800 <= code < 0xE000)
    return f"^[^{controls}]*[^{hidden}][^{controls}]*$"


def _is_control(code: int) -> bool:
    return unicodedata.category(chr(code)) == "Cc" and chr(code) not in READABLE_CONTROLS


def _ranges(codes: Iterable[int]) -> str:
    """Ascending code points as the content of a character class."""
    spans: list[list[int]] = []
    for code in codes:
        if spans and code == spans[-1][1] + 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return "".join(_escaped(first) if first == last else f"{_escaped(first)}-{_escaped(last)}" for first, last in spans)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else chr(code)
