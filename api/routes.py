"""The routes: paths, their request and response types, and their documentation.

Open it to add a route. A request to `/respond` continues in `api.service`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from api.disconnect import while_connected
from api.field_types import MAX_MODEL_CHARS
from api.model_schemas import Health, Liveness, Model, Topics
from api.models import Models
from api.openapi_examples import PROBLEM_EXAMPLES, REQUEST_EXAMPLES, RESPONSE_EXAMPLE
from api.problem_kinds import KINDS
from api.problem_schemas import InvalidRequest, Problem
from api.problems import Refusal, UnknownModelError
from api.request_body import read_request
from api.request_record import record_of
from api.respond_schemas import RespondRequest, RespondResponse
from api.service import Service

PAGE = Path(__file__).parent / "page"
PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}

router = APIRouter()


def loaded_models(request: Request) -> Models | None:
    """The models; None before they are loaded."""
    models: Models | None = getattr(request.state, "models", None)
    return models


async def ready_models(request: Request) -> Models:
    """The models; 503 before they are loaded.

    uvicorn opens its port after loading them, so its clients get a refused connection instead. The 503 is for servers
    that accept requests earlier.
    """
    models = loaded_models(request)
    if models is None:
        raise Refusal(503, "not-loaded", "the model is not loaded yet", {"Retry-After": "1"})
    return models


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Refusals of a route for the OpenAPI document; `api.openapi` adds media type and headers."""
    return {
        status: {
            "model": InvalidRequest if status == 422 else Problem,
            "description": REFUSALS[status],
            "content": {"application/json": {"example": PROBLEM_EXAMPLES[status]}},
        }
        for status in (*statuses, 500)
    }


Ready = Annotated[Models, Depends(ready_models)]
Chosen = Annotated[Service, Depends(ready_models)]  # in a `ModelRoute`: the service of the model that the body names
OfModel = Annotated[
    str | None,
    Query(
        alias="model",
        max_length=MAX_MODEL_CHARS,
        description="name of a model; default: that of requests that name none",
    ),
]
NOT_LOADED = "The model is not loaded yet (not under uvicorn, which loads it before it opens the port)"
REFUSALS = {
    403: "The server has no API keys, so that everyone could use it",
    404: "Not found: the operator has switched it off, or no such model is served",
    408: "The body did not arrive in time",
    413: "The body is larger than any request within the other limits",
    409: "The checkpoint can't be used; the earlier model still answers",
    422: "A field is missing, unknown or outside its limits",
    500: "The server failed; its log shows the reason under the request id in `instance`",
    507: "The operator's file has reached its limit, or its disk is full",
    503: f"Too many requests are waiting, or the reply took too long: see Retry-After. {NOT_LOADED}",
}


class OffLoopRoute(APIRoute):
    """A route that reads the request and writes the response outside the event loop, see `api.service.WorkerThread`.

    FastAPI does both on the event loop, where a large body would delay all other requests. The route's function takes
    the models, `asked` (its annotation is the schema of the body) and the request.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The function that answers a request."""
        schema = get_type_hints(self.endpoint)["asked"]

        async def answer(request: Request) -> Response:
            models = await ready_models(request)
            content_type = request.headers.get("content-type", "")
            asked = await models.worker_thread.run(
                read_request, await request.body(), content_type, models.settings, schema
            )
            found = await self.found(models, asked, request)
            if isinstance(found, Response):
                return found
            content = await models.worker_thread.run(_encoded, found, self.response_model_exclude_unset)
            return Response(content, media_type="application/json")

        return answer

    async def found(self, models: Models, asked: Any, request: Request) -> Any:
        """What the route's function returns."""
        return await self.endpoint(models, asked, request)


class ModelRoute(OffLoopRoute):
    """A route whose function takes the service of the model that the body names, instead of all models."""

    async def found(self, models: Models, asked: Any, request: Request) -> Any:
        """What the route's function returns; the model stays open until then."""
        with models.lease(asked.model) as service:
            return await self.endpoint(service, asked, request)


def _encoded(answer: BaseModel, exclude_unset: bool) -> bytes:
    return answer.model_dump_json(exclude_unset=exclude_unset).encode()


answering = APIRouter(route_class=ModelRoute)


@answering.post(
    "/respond",
    summary="Answer a conversation",
    response_model_exclude_unset=True,
    responses={
        200: {"content": {"application/json": {"example": RESPONSE_EXAMPLE}}},
        **declared(408, 413, 422, 503),
    },
)
async def respond(
    service: Chosen,
    asked: Annotated[RespondRequest, Body(openapi_examples=REQUEST_EXAMPLES)],
    request: Request,
) -> RespondResponse:
    """Draw a latent variable for each response, decode it, and return the distinct texts, likeliest per token first
    (or the most typical first, where the server selects them from more candidates).

    The same request with the same seed gets the same answer. A client that disconnects loses its place in the queue.
    """
    record = record_of(request.scope)
    record.rows = service.num_responses(asked)
    record.text["context"] = [turn.text for turn in asked.context]
    question = await service.worker_thread.run(service.question, asked)
    answer = await while_connected(request.receive, service.respond(question))
    record.text["responses"] = [each.text for each in answer.responses]
    return answer


@router.get("/topics", summary="Topics the model knows", response_model=Topics, responses=declared(404, 422, 503))
async def topics(models: Ready, name: OfModel = None) -> Response:
    """The values that `topic` may have in a request, in the model's order."""
    return Response(_served(models, name).topics, media_type="application/json")


@router.get("/model", summary="The model, its limits and defaults", responses=declared(404, 422, 503))
async def model(models: Ready, name: OfModel = None) -> Model:
    """The model that answers, the names of the others, and what a request may ask for."""
    return _served(models, name).model.model_copy(update={"models": models.names})


def _served(models: Models, name: str | None) -> Service:
    """The model of this name; 404 if there is none."""
    try:
        return models.named(name)
    except UnknownModelError as error:
        raise Refusal(404, "not-found", f"model: {error.message}") from None


@router.get("/health/live", summary="Is the process alive?", responses=declared())
async def live(request: Request) -> Liveness:
    """200 as long as the process runs, whatever the model is doing.

    Under uvicorn the port opens once the model is loaded; until then connections are refused.
    """
    models = loaded_models(request)
    if models is None:
        return Liveness(status="live", model=None, licence=None)
    return Liveness(status="live", model=models.default.name, licence=models.default.licence)


@router.get("/health/ready", summary="Can requests be answered?", responses=declared(503))
async def ready(_models: Ready) -> Health:
    """200 once every model has produced a reply; under uvicorn that is as soon as the port is open."""
    return Health(status="ready")


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **declared(404, 503)},
)
def metrics(models: Ready, request: Request) -> Response:
    """Requests, seconds, queue, batches and rejections, in Prometheus' text format."""
    if models.settings.metrics == "off":
        raise HTTPException(404, "metrics are switched off")
    return Response(request.state.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


@router.get("/problems/{kind}", include_in_schema=False)
async def explain(kind: str) -> Response:
    """What the `type` of a problem document means."""
    if kind not in KINDS:
        raise HTTPException(404, "unknown kind of problem")
    return PlainTextResponse(f"{KINDS[kind].title}\n\n{KINDS[kind].meaning}\n")


@router.get("/", include_in_schema=False)
async def root(request: Request) -> Response:
    """The page; if it is switched off, a redirect to the documentation."""
    if not _has_page(loaded_models(request)) or not (PAGE / "index.html").is_file():
        return RedirectResponse("docs")
    return FileResponse(PAGE / "index.html", headers=PAGE_HEADERS)


def _has_page(models: Models | None) -> bool:
    return models is not None and models.settings.page


class _PageFiles(StaticFiles):
    """The page's files; 404 if the settings switch the page off."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file."""
        if not _has_page(scope.get("state", {}).get("models")):
            raise HTTPException(404)
        if scope["method"] != "GET":  # `api.request_log` has turned HEAD into GET
            raise HTTPException(405, headers={"Allow": "GET"})
        await super().__call__(scope, receive, send)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """The file, with the page's security headers."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(PAGE_HEADERS)
        return response


def mount_page(app: FastAPI) -> None:
    """Serve the page's files under `/page`, if they are installed."""
    if PAGE.is_dir():
        app.mount("/page", _PageFiles(directory=PAGE), name="page")
