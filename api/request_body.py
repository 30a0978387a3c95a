"""From the bytes of a body to a request: sizes are checked before anything is built or validated.

Open it to change how much work a body may cause. All of it runs outside the event loop (see `WorkerThread`), and each
step has a limit: the text is scanned in windows until it has too many items, JSON is parsed only if it has not too
many, lengths are checked before validation, and validation stops at the first errors.
"""

from __future__ import annotations

import json
import re
from email.message import Message
from typing import TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.problems import MAX_MESSAGE_CHARS, MAX_PROBLEMS, problem, quoted, shortened
from api.respond_schemas import RespondRequest
from api.schema import Schema
from api.settings import ESCAPED_CHARS, Settings
from dialog_cvae.limits import MAX_SPEAKER_CHARS, MAX_TOPIC_CHARS

ITEMS_PER_UTTERANCE, MORE_ITEMS = 8, 256  # an utterance has 3 brackets and commas; more get a more exact message
TIMES_LONGER = 4  # a text that exceeds its limit up to this many times gets a more exact message
MAX_DEPTH = 32  # levels; a request within the limits has 3

Asked = TypeVar("Asked", bound=Schema)

# Everything up to the next bracket or comma outside a string. Possessive: it never backtracks.
_ITEM = re.compile(r'(?:[^"\[\]{},]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+([\[\]{},])', re.DOTALL)


def read_request(body: bytes, content_type: str, settings: Settings, schema: type[Asked]) -> Asked:
    """The request in a body.

    Args:
        body: the bytes.
        content_type: the header.
        settings: have the limits.
        schema: the schema of the route's body.

    Raises:
        RequestValidationError: the body is not a valid request, or is too large; it has at most `MAX_PROBLEMS` errors.
    """
    if not body:
        raise RequestValidationError([problem((), "missing", "Field required")])
    if not _is_json(content_type):
        message = f"should be JSON with Content-Type application/json, not {quoted(content_type)}"
        raise RequestValidationError([problem((), "content_type", message)])
    return _validated(_parsed(body, settings, schema.times(settings)), settings, schema)


def validated(content: object, settings: Settings) -> RespondRequest:
    """The request to `/respond` in the content of a body; lengths are checked before anything is validated.

    Raises:
        RequestValidationError: it has at most `MAX_PROBLEMS` errors.
    """
    return _validated(content, settings, RespondRequest)


def _validated(content: object, settings: Settings, schema: type[Asked]) -> Asked:
    check_lengths(content, settings)
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        items = error.errors(include_url=False)[:MAX_PROBLEMS]
    # The errors outlive the content, which they quote only in part.
    raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in items])


def check_lengths(content: object, settings: Settings) -> None:
    """Check how many utterances the content of a body has, and how long they are.

    Raises:
        RequestValidationError: the first `MAX_PROBLEMS` limits that it exceeds.
    """
    context = content.get("context") if isinstance(content, dict) else None
    if not isinstance(context, list):
        return
    if len(context) > settings.max_context:
        message = f"should have at most {settings.max_context} utterances, has {len(context)}"
        raise RequestValidationError([problem(("context",), "too_long", message)])
    found = []
    for position, turn in enumerate(context):
        text = turn.get("text") if isinstance(turn, dict) else turn
        if isinstance(text, str) and len(text) > settings.max_text_chars:
            message = f"should have at most {settings.max_text_chars} characters, has {len(text)}"
            found.append(problem(("context", position, "text"), "string_too_long", message))
            if len(found) == MAX_PROBLEMS:
                break
    if found:
        raise RequestValidationError(found)


def _is_json(content_type: str) -> bool:
    """Whether a media type is JSON."""
    message = Message()
    message["content-type"] = content_type
    subtype = message.get_content_subtype()
    return (
        bool(content_type)
        and message.get_content_maintype() == "application"
        and (subtype == "json" or subtype.endswith("+json"))
    )


def _parsed(body: bytes, settings: Settings, times: int) -> object:
    """The JSON value in a body."""
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
        _check_size(text, settings, times)
        return json.loads(text)
    except json.JSONDecodeError as error:
        message = f"not valid JSON: {error.msg} at character {error.pos}"
    except ValueError as error:  # bytes that are not UTF-8, numbers with thousands of digits
        message = f"cannot be read as JSON: {shortened(str(error), MAX_MESSAGE_CHARS)}"
    raise RequestValidationError([problem((), "json_invalid", message)])


def _check_size(text: str, settings: Settings, times: int) -> None:
    """Check how many items a JSON text has, how long they are and how deep they are nested, without building them.

    Args:
        text: the text of a body.
        settings: have the limits.
        times: the text may have as many items as this number of requests to `/respond`.

    Raises:
        RequestValidationError: one of these is more than a request within the limits can have.
    """
    most_items = times * (settings.max_context * ITEMS_PER_UTTERANCE + MORE_ITEMS)
    longest = max(settings.max_text_chars, MAX_TOPIC_CHARS) + MAX_SPEAKER_CHARS
    window = TIMES_LONGER * ESCAPED_CHARS * longest
    at, depth, items = 0, 0, 0
    while at < len(text):
        found = _ITEM.match(text, at, at + window)
        if found is None:
            if len(text) - at <= window:
                return  # the rest has no bracket and no comma, or an unclosed string
            raise _too_much(f"has an item of more than {window} characters")
        at = found.end()
        mark = found[1]
        depth += (mark in "[{") - (mark in "]}")
        items += mark not in "]}"
        if depth < 0:
            return  # the parser stops here too
        if depth > MAX_DEPTH:
            raise _too_much(f"is nested more than {MAX_DEPTH} levels deep")
        if items > most_items:
            raise _too_much(f"has more than {most_items} items")


def _too_much(what: str) -> RequestValidationError:
    message = f"{what}, which no request within the limits of GET /model has"
    return RequestValidationError([problem((), "too_long", message)])
