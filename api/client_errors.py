"""What comes back from a service: an answer, or an error that carries its problem document."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from api.schemas import InvalidRequest, Problem
from dialog_cvae.errors import DialogCvaeError

MAX_SHOWN_CHARS = 200

T = TypeVar("T", bound=BaseModel)


class ServiceError(DialogCvaeError):
    """The service did not answer.

    Attributes:
        problem: its problem document; for what is no answer of the service, one that says so.
        retry_after: seconds after which to try again; None where it does not say.
    """

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(problem.detail)
        self.problem, self.retry_after = problem, retry_after


class InvalidRequestError(ServiceError):
    """A field is missing, unknown or out of its limits: `problem.errors` says which."""

    problem: InvalidRequest


class UnauthorisedError(ServiceError):
    """The service wants an API key, and got none or another one."""


class UnavailableError(ServiceError):
    """The service is too busy, or not ready, and stayed so for as long as the client may wait."""


class UnreachableError(DialogCvaeError):
    """There is no connection, or it ended, or the answer took too long."""


def read(response: httpx2.Response, kind: type[T]) -> T:
    """The answer; unknown fields are a newer server's.

    Raises:
        ServiceError: it is none.
    """
    if response.is_success:
        try:
            return kind.model_validate_json(response.content, extra="ignore")
        except ValidationError:
            raise ServiceError(_foreign(response, "is no answer of this service")) from None
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
        return _foreign(response, "came instead of an answer")


def _foreign(response: httpx2.Response, what: str) -> Problem:
    """A problem document for what does not come from the service, such as a proxy's page."""
    shown = " ".join(response.text[:MAX_SHOWN_CHARS].split())
    return Problem(
        type="about:blank",
        title=response.reason_phrase,
        status=response.status_code,
        detail=f"{response.url}: status {response.status_code} {response.reason_phrase} {what}: {shown!r}",
        instance="about:blank",
    )


def retry_after(response: httpx2.Response) -> float | None:
    """Seconds that the header says, which may also be a date."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.astimezone(UTC) - datetime.now(UTC)).total_seconds())
