"""The web service: `DIALOG_CVAE_CHECKPOINT=DIR uvicorn api.app:app`.

Importing this module reads no setting and opens no checkpoint: both happen when the server starts.
"""

from __future__ import annotations

import difflib
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import Annotated, Any, TypedDict

from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse

from api import errors
from api.schemas import (
    DEFAULT_RESPONSES,
    PROBLEMS_EXAMPLE,
    REQUEST_EXAMPLES,
    RESPONSE_EXAMPLE,
    Candidate,
    Health,
    Problem,
    RespondRequest,
    RespondResponse,
    Topics,
    ValidationProblems,
)
from api.settings import Settings, read_settings
from api.worker import Busy, ModelThread
from dialog_cvae.errors import ConfigError
from dialog_cvae.respond import Decoding, Responder

DRAWN_SEEDS = 2**53  # a drawn seed survives clients whose numbers are doubles

router = APIRouter()


class Service:
    """A loaded model with its thread and its limits."""

    def __init__(self, responder: Responder, thread: ModelThread, settings: Settings) -> None:
        self.responder, self.thread, self.settings = responder, thread, settings
        self._topics = {topic.casefold(): topic for topic in reversed(responder.topics)}

    def topic(self, name: str | None) -> str | None:
        """The topic as the model knows it, whatever its case.

        Raises:
            RequestValidationError: for an unknown topic; the message offers the closest names.
        """
        if name is None or name in self.responder.topics:
            return name
        folded = name.strip().casefold()
        if folded in self._topics:
            return self._topics[folded]
        close = [self._topics[key] for key in difflib.get_close_matches(folded, self._topics, n=3, cutoff=0.0)]
        hint = f"the closest are {', '.join(map(repr, close))}" if close else "leave it out"
        message = f"should be one of the {len(self._topics)} known topics, got {errors.quoted(name)}; {hint}"
        raise RequestValidationError([errors.problem(("topic",), "unknown_topic", message)])

    def check(self, request: RespondRequest) -> None:
        """Hold a well-formed request against this server's limits.

        Raises:
            RequestValidationError: with every limit that is passed.
        """
        limits, problems = self.settings, []
        if len(request.context) > limits.max_context:
            message = f"should have at most {limits.max_context} utterances, has {len(request.context)}"
            problems.append(errors.problem(("context",), "too_long", message))
        for position, turn in enumerate(request.context):
            if len(turn.text) > limits.max_text_chars:
                message = f"should have at most {limits.max_text_chars} characters, has {len(turn.text)}"
                problems.append(errors.problem(("context", position, "text"), "string_too_long", message))
        for field in ("num_responses", "max_tokens"):
            value = getattr(request, field)
            limit = {"num_responses": limits.max_responses, "max_tokens": limits.max_tokens}[field]
            if value is not None and value > limit:
                message = f"should be at most {limit}, got {errors.quoted(value)}"
                problems.append(errors.problem((field,), "less_than_equal", message))
        if problems:
            raise RequestValidationError(problems)

    def _decoding(self, request: RespondRequest) -> Decoding:
        """How to draw: as the request says, else as the settings say, else as the checkpoint says."""
        stored = self.responder.decoding
        names = ("temperature", "top_p", "prior_temperature", "candidates")
        given = {name: value for name in names if (value := getattr(self.settings, name)) is not None}
        given["max_tokens"] = min(self.settings.max_tokens, stored.max_tokens)
        asked = {"temperature": request.temperature, "top_p": request.top_p, "max_tokens": request.max_tokens}
        return replace(stored, **given | {name: value for name, value in asked.items() if value is not None})

    async def respond(self, request: RespondRequest) -> RespondResponse:
        """Answer a request.

        Raises:
            RequestValidationError: for an unknown topic or a passed limit.
            Busy: when too many wait already, or the answer takes too long.
        """
        self.check(request)
        topic = self.topic(request.topic)
        seed = secrets.randbelow(DRAWN_SEEDS) if request.seed is None else request.seed
        wanted = request.num_responses or min(DEFAULT_RESPONSES, self.settings.max_responses)
        decoding = self._decoding(request)
        found = await self.thread.run(
            lambda: self.responder.respond(
                request.conversation(topic), respond_as=request.responder(), n=wanted, seed=seed, decoding=decoding
            ),
            self.settings.timeout_s,
        )
        note = {"note": f"{len(found)} of {wanted} responses: no more distinct ones were found"}
        return RespondResponse(
            responses=[Candidate(text=each.text, log_prob=each.log_prob) for each in found],
            topic=topic,
            seed=seed,
            model=self.responder.name,
            **(note if len(found) < wanted else {}),
        )


class State(TypedDict):
    """What the lifespan hands to requests."""

    service: Service


def ready_service(request: Request) -> Service:
    """The service; 503 while there is none.

    uvicorn runs the application's startup, which loads the model, before it opens its port, so that its clients meet a
    refused connection instead; the 503 is for a server that takes requests earlier.
    """
    service: Service | None = getattr(request.state, "service", None)
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
        raise HTTPException(503, str(busy), headers={"Retry-After": "1"}) from None


@router.get("/topics", summary="Topics the model knows", responses=UNREADY)
async def topics(service: Ready) -> Topics:
    """Names that `topic` in a request may take, in the model's order."""
    return Topics(topics=list(service.responder.topics))


@router.get("/health/live", summary="Is the process alive?")
async def live() -> Health:
    """Answers as long as the process does, whatever the model is doing.

    Under uvicorn the port opens once the model is loaded: until then a connection is refused.
    """
    return Health(status="live")


@router.get("/health/ready", summary="Is the model loaded?", responses=UNREADY)
async def ready(service: Ready) -> Health:
    """200 once requests can be answered; under uvicorn that is as soon as the port is open."""
    return Health(status="ready")


@router.get("/", include_in_schema=False)
async def root() -> RedirectResponse:
    """Lead a browser to the documentation."""
    return RedirectResponse("/docs")


def load_responder(settings: Settings) -> Responder:
    """Open the checkpoint that the settings name.

    Raises:
        CheckpointError: it is missing or broken.
        ConfigError: the device is not there.
    """
    if settings.threads is not None:
        # Read once, when the engine is loaded below; set here because OpenMP counts threads anew in each of ours.
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    try:
        return Responder.load(settings.checkpoint, device=settings.device)
    except (AssertionError, RuntimeError) as error:  # what PyTorch raises for a device that it lacks
        if settings.device == "cpu":
            raise
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"DIALOG_CVAE_DEVICE: {settings.device} can't be used: {reason}") from None


def create_app(
    load: Callable[[Settings], Responder] = load_responder, settings: Callable[[], Settings] = read_settings
) -> FastAPI:
    """The application.

    Args:
        load: opens the model, in the model's thread, when the server starts.
        settings: read when the server starts.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
        chosen = settings()
        with ModelThread(chosen.max_waiting) as thread:
            responder = await thread.run(lambda: load(chosen))
            yield {"service": Service(responder, thread, chosen)}

    application = FastAPI(
        title="Dialog responses",
        summary="Diverse responses to a conversation, drawn from a conditional VAE",
        version=version("dialog-cvae"),
        lifespan=lifespan,
    )
    application.include_router(router)
    errors.install(application)
    return application


app = create_app()
