"""The record of a request: its id and what its log line and metrics need.

Open it to add a fact to the log line. `api.request_log` creates it before anything else handles the request; routes and
refusals add to it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

HEADER = "X-Request-ID"
_KEY = "dialog_cvae.request_record"
_VALID = re.compile(r"[A-Za-z0-9._~-]{1,128}", re.ASCII)  # safe in any log, URI and header without escaping


@dataclass
class RequestRecord:
    """What is known about a request while it is answered.

    Attributes:
        method: the client's method; HEAD is answered as GET is.
        request_id: the client's, if it sent a valid `X-Request-ID`, else a new one.
        rows: number of replies that the request asks for.
        rejection: the reason under which a refusal is counted.
        text: the texts of the request and its replies; logged only if the settings allow it.
    """

    method: str
    request_id: str
    rows: int | None = None
    rejection: str | None = None
    text: dict[str, Any] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """The request as a URI, for problem documents."""
        return f"urn:dialog-cvae:request:{self.request_id}"


def new_record(scope: Scope, method: str) -> RequestRecord:
    """Create the record of a request and store it in the scope."""
    record = RequestRecord(method, _request_id(scope["headers"]))
    scope[_KEY] = record
    return record


def record_of(scope: Scope) -> RequestRecord:
    """The record of a request."""
    record: RequestRecord = scope[_KEY]
    return record


def path_below(scope: Scope) -> str:
    """The path without the prefix that the server is mounted at, as routes see it."""
    # Starlette adds the path of mounted files to `root_path`, and keeps the server's own prefix in `app_root_path`.
    root, path = scope.get("app_root_path", scope.get("root_path", "")).rstrip("/"), str(scope["path"])
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    wanted = HEADER.lower().encode()
    sent = [value.decode("latin-1") for name, value in headers if name.lower() == wanted]
    return sent[0] if len(sent) == 1 and _VALID.fullmatch(sent[0]) else uuid.uuid4().hex
