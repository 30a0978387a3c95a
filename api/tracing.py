"""What is known of a request while it is answered."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

HEADER = "X-Request-ID"
_KEY = "dialog_cvae.trace"
_VALID = re.compile(r"[A-Za-z0-9._~-]{1,128}", re.ASCII)  # what may stand in any log, URI and header as it is


@dataclass
class Trace:
    """What a request's log line and metrics are made of.

    Attributes:
        request_id: of the client, where it sent a valid `X-Request-ID`, else ours.
        rows: responses asked for.
        rejection: what its refusal is counted as.
        text: what was said and answered; logged only where the settings say so.
    """

    request_id: str
    rows: int | None = None
    rejection: str | None = None
    text: dict[str, Any] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """The request as a URI, for problem documents."""
        return f"urn:dialog-cvae:request:{self.request_id}"


def begin(scope: Scope) -> Trace:
    """Start to trace the request of a scope."""
    trace = Trace(_request_id(scope["headers"]))
    scope[_KEY] = trace
    return trace


def trace_of(scope: Scope) -> Trace:
    """The trace that was begun."""
    trace: Trace = scope[_KEY]
    return trace


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    wanted = HEADER.lower().encode()
    sent = [value.decode("latin-1") for name, value in headers if name.lower() == wanted]
    return sent[0] if len(sent) == 1 and _VALID.fullmatch(sent[0]) else uuid.uuid4().hex
