"""The routes: what each takes, gives and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from api.examples import PROBLEMS_EXAMPLE, REQUEST_EXAMPLES, RESPONSE_EXAMPLE
from api.schemas import (
    Health,
    Liveness,
    Model,
    Problem,
    RespondRequest,
    RespondResponse,
    Topics,
    ValidationProblems,
)
from api.service import Service
from api.worker import Busy

PAGE = Path(__file__).parent / "page"

router = APIRouter()


def loaded_service(request: Request) -> Service | None:
    """The service, as soon as the model is loaded."""
    service: Service | None = getattr(request.state, "service", None)
    return service


def ready_service(request: Request) -> Service:
    """The service; 503 while there is none.

    uvicorn runs the application's startup, which loads the model, before it opens its port, so that its clients meet a
    refused connection instead; the 503 is for a server that takes requests earlier.
    """
    service = loaded_service(request)
    if service is None:
        raise HTTPException(503, "the model is not loaded yet", headers={"Retry-After": "1"})
    return service


Ready = Annotated[Service, Depends(ready_service)]
NOT_LOADED = "The model is not loaded yet (not under uvicorn, which loads it before it opens the port)"
UNREADY: dict[int | str, dict[str, Any]] = {503: {"model": Problem, "description": NOT_LOADED}}
REFUSALS: dict[int | str, dict[str, Any]] = {
    422: {
        "model": ValidationProblems,
        "description": "A field is missing, unknown or out of its limits",
        "content": {"application/json": {"example": PROBLEMS_EXAMPLE}},
    },
    503: {"model": Problem, "description": f"Too many requests are waiting, or the answer took too long. {NOT_LOADED}"},
}


@router.post(
    "/respond",
    summary="Answer a conversation",
    response_model_exclude_unset=True,
    responses={200: {"content": {"application/json": {"example": RESPONSE_EXAMPLE}}}, **REFUSALS},
)
async def respond(
    service: Ready,
    request: Annotated[RespondRequest, Body(openapi_examples=REQUEST_EXAMPLES)],
) -> RespondResponse:
    """Draw a latent variable for each response, decode it, and return the distinct texts, likeliest per token first
    (or the most typical first, where the server selects them from more candidates).

    The same request with the same seed gets the same answer.
    """
    try:
        return await service.respond(request)
    except Busy as busy:
        raise HTTPException(503, str(busy), headers={"Retry-After": str(busy.retry_after)}) from None


@router.get("/topics", summary="Topics the model knows", responses=UNREADY)
async def topics(service: Ready) -> Topics:
    """Names that `topic` in a request may take, in the model's order."""
    return Topics(topics=list(service.responder.topics))


@router.get("/model", summary="The model, its limits and defaults", responses=UNREADY)
async def model(service: Ready) -> Model:
    """What answers here, and what a request may ask of it."""
    return service.model()


@router.get("/health/live", summary="Is the process alive?")
async def live(request: Request) -> Liveness:
    """Answers as long as the process does, whatever the model is doing.

    Under uvicorn the port opens once the model is loaded: until then a connection is refused.
    """
    service = loaded_service(request)
    if service is None:
        return Liveness(status="live", model=None, licence=None)
    return Liveness(status="live", model=service.responder.name, licence=service.licence)


@router.get("/health/ready", summary="Is the model loaded?", responses=UNREADY)
async def ready(service: Ready) -> Health:
    """200 once requests can be answered; under uvicorn that is as soon as the port is open."""
    return Health(status="ready")


@router.get("/", include_in_schema=False)
async def root(request: Request) -> Response:
    """The page; where there is none, lead a browser to the documentation."""
    service = loaded_service(request)
    if service is None or not service.settings.page or not (PAGE / "index.html").is_file():
        return RedirectResponse("docs")
    return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})


def mount_page(app: FastAPI) -> None:
    """Serve what the page is made of under `/page`, if it is installed."""
    if PAGE.is_dir():
        app.mount("/page", StaticFiles(directory=PAGE), name="page")
