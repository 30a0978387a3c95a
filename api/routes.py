"""The routes: what each takes, gives and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import Receive, Scope, Send

from api.batcher import Busy
from api.errors import BUSY, KINDS, Refusal
from api.examples import PROBLEM_EXAMPLES, REQUEST_EXAMPLES, RESPONSE_EXAMPLE
from api.limits import while_connected
from api.schemas import Health, InvalidRequest, Liveness, Model, Problem, RespondRequest, RespondResponse, Topics
from api.service import Service
from api.tracing import trace_of

PAGE = Path(__file__).parent / "page"
PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}

router = APIRouter()


def loaded_service(request: Request) -> Service | None:
    """The service, once it has produced a reply."""
    service: Service | None = getattr(request.state, "service", None)
    return service


async def ready_service(request: Request) -> Service:
    """The service; 503 while there is none.

    uvicorn runs the application's startup, which loads the model, before it opens its port, so that its clients meet a
    refused connection instead; the 503 is for a server that takes requests earlier.
    """
    service = loaded_service(request)
    if service is None:
        raise Refusal(503, "not-loaded", "the model is not loaded yet", {"Retry-After": "1"})
    return service


def _declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Refusals for the OpenAPI document; `openapi.document` gives them their media type and headers."""
    return {
        status: {
            "model": InvalidRequest if status == 422 else Problem,
            "description": REFUSALS[status],
            "content": {"application/json": {"example": PROBLEM_EXAMPLES[status]}},
        }
        for status in (*statuses, 500)
    }


Ready = Annotated[Service, Depends(ready_service)]
NOT_LOADED = "The model is not loaded yet (not under uvicorn, which loads it before it opens the port)"
REFUSALS = {
    404: "There is nothing here: the operator has switched it off",
    408: "The body did not come in time",
    413: "The body is larger than any request within the other limits",
    422: "A field is missing, unknown or out of its limits",
    500: "The server failed; `instance` names what its operator finds the reason under",
    503: f"Too many requests are waiting, or the answer took too long: try again after so many seconds. {NOT_LOADED}",
}


@router.post(
    "/respond",
    summary="Answer a conversation",
    response_model_exclude_unset=True,
    responses={
        200: {"content": {"application/json": {"example": RESPONSE_EXAMPLE}}},
        **_declared(408, 413, 422, 503),
    },
)
async def respond(
    service: Ready,
    asked: Annotated[RespondRequest, Body(openapi_examples=REQUEST_EXAMPLES)],
    request: Request,
) -> RespondResponse:
    """Draw a latent variable for each response, decode it, and return the distinct texts, likeliest per token first
    (or the most typical first, where the server selects them from more candidates).

    The same request with the same seed gets the same answer. Who hangs up gives up the place in the queue.
    """
    trace = trace_of(request.scope)
    trace.rows = service.wanted(asked)
    trace.text["context"] = [turn.text for turn in asked.context]
    try:
        answer = await while_connected(request.receive, service.respond(asked))
    except Busy as busy:
        raise Refusal(503, BUSY[busy.reason], str(busy), {"Retry-After": str(busy.retry_after)}) from None
    trace.text["responses"] = [each.text for each in answer.responses]
    return answer


@router.get("/topics", summary="Topics the model knows", responses=_declared(503))
async def topics(service: Ready) -> Topics:
    """Names that `topic` in a request may take, in the model's order."""
    return Topics(topics=list(service.responder.topics))


@router.get("/model", summary="The model, its limits and defaults", responses=_declared(503))
async def model(service: Ready) -> Model:
    """What answers here, and what a request may ask of it."""
    return service.model()


@router.get("/health/live", summary="Is the process alive?", responses=_declared())
async def live(request: Request) -> Liveness:
    """Answers as long as the process does, whatever the model is doing.

    Under uvicorn the port opens once the model is loaded: until then a connection is refused.
    """
    service = loaded_service(request)
    if service is None:
        return Liveness(status="live", model=None, licence=None)
    return Liveness(status="live", model=service.responder.name, licence=service.licence)


@router.get("/health/ready", summary="Can requests be answered?", responses=_declared(503))
async def ready(service: Ready) -> Health:
    """200 once the model has produced a reply; under uvicorn that is as soon as the port is open."""
    return Health(status="ready")


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **_declared(404, 503)},
)
def metrics(service: Ready, request: Request) -> Response:
    """Requests, seconds, queue, batches and rejections, in Prometheus' text format."""
    if service.settings.metrics == "off":
        raise HTTPException(404, "metrics are switched off")
    return Response(request.state.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


@router.get("/problems/{kind}", include_in_schema=False)
async def explain(kind: str) -> Response:
    """What a problem document's `type` means."""
    if kind not in KINDS:
        raise HTTPException(404, "there is no such problem")
    return PlainTextResponse(f"{KINDS[kind].title}\n\n{KINDS[kind].meaning}\n")


@router.get("/", include_in_schema=False)
async def root(request: Request) -> Response:
    """The page; where there is none, lead a browser to the documentation."""
    if not _has_page(loaded_service(request)) or not (PAGE / "index.html").is_file():
        return RedirectResponse("docs")
    return FileResponse(PAGE / "index.html", headers=PAGE_HEADERS)


def _has_page(service: Service | None) -> bool:
    return service is not None and service.settings.page


class _PageFiles(StaticFiles):
    """What the page is made of, while the settings have it on."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file."""
        if not _has_page(scope.get("state", {}).get("service")):
            raise HTTPException(404)
        if scope["method"] != "GET":  # HEAD comes as GET, see `api.observing`
            raise HTTPException(405, headers={"Allow": "GET"})
        await super().__call__(scope, receive, send)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """The file, under the page's policy."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(PAGE_HEADERS)
        return response


def mount_page(app: FastAPI) -> None:
    """Serve what the page is made of under `/page`, if it is installed."""
    if PAGE.is_dir():
        app.mount("/page", _PageFiles(directory=PAGE), name="page")
