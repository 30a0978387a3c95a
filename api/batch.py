"""`POST /respond/batch`: several requests at once, each with its own response or problem.

Open it to see what the requests of a batch share: one body with its limits, and the connection. Each takes its own
place in the queue and gets the replies that it would get alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field

from api import logs
from api.disconnect import while_connected
from api.models import Models
from api.problem_kinds import BUSY, KINDS
from api.problems import described, input_refused, problem
from api.request_body import validated
from api.request_record import record_of
from api.respond_schemas import RespondRequest, RespondResponse
from api.room import Busy
from api.routes import OffLoopRoute, Ready, declared
from api.schema import Schema
from api.settings import Settings
from dialog_cvae.errors import DialogCvaeError

PROBLEMS = "/problems/"
MAX_REQUESTS = 1000  # the highest value of the setting

router = APIRouter(route_class=OffLoopRoute)


class BatchRequest(Schema):
    """Requests that are answered at the same time."""

    requests: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_REQUESTS)] = Field(
        description="bodies of POST /respond; at most 16 by default. An "
        "invalid body gets a problem, and the others are answered"
    )

    @classmethod
    def times(cls, settings: Settings) -> int:
        """See `Schema.times`; one more than there may be requests, because too many get a more exact error."""
        return settings.max_batch + 1


class BatchProblem(Schema):
    """Why one request was not answered: the fields of a problem document that differ within a batch."""

    type: str = Field(description="kind of problem, for programs: a stable relative URI")
    title: str = Field(description="the kind in words")
    status: int = Field(description="the HTTP status that the request gets alone")
    detail: str = Field(description="what is wrong with this request, in words")
    errors: list[dict[str, Any]] | None = Field(None, description="present only if the request is invalid")
    retry_after: int | None = Field(None, description="present only with status 503: seconds after which to try again")


class BatchResult(Schema):
    """The result of one request: a response or a problem."""

    response: RespondResponse | None = None
    problem: BatchProblem | None = None


class BatchResponse(Schema):
    """The results, in the order of the requests."""

    results: list[BatchResult]


@router.post(
    "/respond/batch",
    summary="Answer several conversations",
    response_model_exclude_unset=True,
    responses=declared(408, 413, 422, 503),
)
async def respond_batch(models: Ready, asked: BatchRequest, request: Request) -> BatchResponse:
    """Answer each request as `POST /respond` does, with the same replies.

    The status is 200 even if single requests have problems. All bodies together may be as long as one body.
    """
    most = models.settings.max_batch
    if len(asked.requests) > most:
        message = f"should have at most {most} requests, has {len(asked.requests)}"
        raise RequestValidationError([problem(("requests",), "too_long", message)])
    results = await while_connected(request.receive, _results(models, asked.requests))
    responses = [each.response for each in results if each.response is not None]
    record = record_of(request.scope)
    refused = [each.problem.type for each in results if each.problem is not None and each.problem.status == 503]
    record.rejection = KINDS[refused[0].removeprefix(PROBLEMS)].counted if refused else None
    record.rows = sum(len(each.responses) for each in responses)
    record.text["responses"] = [[reply.text for reply in each.responses] for each in responses]
    return BatchResponse(results=results)


async def _results(models: Models, bodies: Sequence[dict[str, Any]]) -> list[BatchResult]:
    requests = [await models.worker_thread.run(_validated, body, models.settings) for body in bodies]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_result(models, request)) for request in requests]
    return [task.result() for task in tasks]


def _validated(body: dict[str, Any], settings: Settings) -> RespondRequest | BatchProblem:
    try:
        return validated(body, settings)
    except RequestValidationError as error:
        return _invalid(described(error.errors()))


async def _result(models: Models, request: RespondRequest | BatchProblem) -> BatchResult:
    if isinstance(request, BatchProblem):
        return BatchResult(problem=request)
    try:
        with models.lease(request.model) as service:
            question = await service.worker_thread.run(service.question, request)
            return BatchResult(response=await service.respond(question))
    except RequestValidationError as error:
        return BatchResult(problem=_invalid(described(error.errors())))
    except DialogCvaeError as error:
        return BatchResult(problem=_invalid([input_refused(error)]))
    except Busy as busy:
        return BatchResult(problem=_problem(BUSY[busy.reason], 503, str(busy), retry_after=busy.retry_after))
    except Exception as error:  # the model failed: the other requests still get their results
        logs.event("failed", logging.ERROR, error=error)
        return BatchResult(problem=_problem("internal-error", 500, KINDS["internal-error"].title))


def _invalid(errors: list[dict[str, Any]]) -> BatchProblem:
    rest = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return _problem("invalid-request", 422, f"{errors[0]['msg']}{rest}", errors=errors)


def _problem(kind: str, status: int, detail: str, **more: Any) -> BatchProblem:
    return BatchProblem(type=f"{PROBLEMS}{kind}", title=KINDS[kind].title, status=status, detail=detail, **more)
