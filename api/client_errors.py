"""How the client reads a response: as the expected body, or as an error with its problem document.

Open it to see which error the client raises for a response.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from api.problem_schemas import InvalidRequest, Problem
from dialog_cvae.errors import DialogCvaeError

MAX_SHOWN_CHARS = 200

T = TypeVar("T", bound=BaseModel)


class ServiceError(DialogCvaeError):
    """The service refused the request or failed.

    Attributes:
        problem: the problem document; if the response does not come from the service, a document that says so.
        retry_after: seconds after which to try again; None if the response does not say.
    """

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(problem.detail)
        self.problem, self.retry_after = problem, retry_after


class InvalidRequestError(ServiceError):
    """A field is missing, unknown or outside its limits; `problem.errors` says which."""

    problem: InvalidRequest


class UnauthorisedError(ServiceError):
    """The service requires an API key, and the request had none or an invalid one."""


class UnavailableError(ServiceError):
    """The service was busy or not ready for as long as the client may wait."""


class UnreachableError(DialogCvaeError):
    """The connection failed or was closed, or the response took too long."""


def read(response: httpx2.Response, kind: type[T]) -> T:
    """The content of a successful response; unknown fields, which a newer server may send, are ignored.

    Raises:
        ServiceError: the response is an error, or does not come from the service.
    """
    if response.is_success:
        try:
            return kind.model_validate_json(response.content, extra="ignore")
        except ValidationError:
            raise ServiceError(_foreign(response, "is not a response of this service")) from None
    status, after = response.status_code, retry_after(response)
    problem = _problem(response)
    if isinstance(problem, InvalidRequest):
        raise InvalidRequestError(problem, after)
    raise {401: UnauthorisedError, 503: UnavailableError}.get(status, ServiceError)(problem, after)


def _problem(response: httpx2.Response) -> Problem:
    kind = InvalidRequest if response.status_code == 422 else Problem
    try:
        return kind.model_validate_json(response.content, extra="ignore")
    except ValidationError:
        return _foreign(response, "is not a problem document of this service")


def _foreign(response: httpx2.Response, what: str) -> Problem:
    """A problem document for a response that does not come from the service, such as a proxy's page."""
    shown = " ".join(response.text[:MAX_SHOWN_CHARS].split())
    return Problem(
        type="about:blank",
        title=response.reason_phrase,
        status=response.status_code,
        detail=f"{response.url}: status {response.status_code} {response.reason_phrase} {what}: {shown!r}",
        instance="about:blank",
    )


def retry_after(response: httpx2.Response) -> float | None:
    """The header Retry-After in seconds; it may also be a date."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.astimezone(UTC) - datetime.now(UTC)).total_seconds())
