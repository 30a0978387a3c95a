"""The web service: `dialog-cvae serve DIR`, or `DIALOG_CVAE_CHECKPOINT=DIR uvicorn api.app:app`.

Open it to see the order of the middleware, and what happens when the server starts. Importing this module reads no
settings and opens no checkpoint; both happen when the server starts. A request passes the middleware listed in
`create_app`, then its route (`api.routes`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TypedDict

from fastapi import FastAPI

from api import batch, documentation, feedback, logs, openai_routes, openapi, problems, reload
from api.api_keys import KeyGuard, Keys, read_keys
from api.body_limit import BodyLimit
from api.cors import Cors
from api.failsafe import Failsafe, StartupLine
from api.full_queue import FullQueue
from api.models import Models
from api.prometheus import Metrics
from api.request_log import RequestLog
from api.routes import answering, mount_page, router
from api.settings import Settings, effective, open_by_mistake, read_settings, unknown_variables
from api.traces import TraceRequests, Traces, open_traces
from api.word_filter import configured_filter
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.responder import Responder

DESCRIPTION = """
Every refusal and failure is a problem document (RFC 9457, `application/problem+json`), for unknown paths and methods
too; its `type` links to an explanation. Every response has an `X-Request-ID`: the client's own, if it sent one of up to
128 letters, digits and `._~-`. The server's log shows the request under this id.
"""


class State(TypedDict):
    """What the lifespan passes to requests."""

    models: Models
    keys: Keys
    metrics: Metrics
    traces: Traces | None


def load_responder(settings: Settings) -> Responder:
    """Open the checkpoint that the settings name.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        ConfigError: the device is not available.
    """
    if settings.threads is not None:
        # PyTorch reads it when it is imported below. torch.set_num_threads would apply to one of our threads only.
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    try:
        return Responder.load(
            settings.checkpoint,
            device=settings.device,
            engine=settings.engine_name,
            threads=settings.threads,
            backbone=settings.backbone,
        )
    except (AssertionError, RuntimeError) as error:  # PyTorch raises these if a device is missing
        if settings.device == "cpu":
            raise
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"DIALOG_CVAE_DEVICE: {settings.device} can't be used: {reason}") from None


def create_app(
    load: Callable[[Settings], Responder] = load_responder, settings: Callable[[], Settings] = read_settings
) -> FastAPI:
    """The application.

    Args:
        load: opens the checkpoint that its settings name; called for each checkpoint when the server starts, and again
            when it reloads.
        settings: reads the settings; called when the server starts.
    """
    application = FastAPI(
        title="Dialog responses",
        summary="Diverse responses to a conversation, drawn from a conditional VAE",
        description=DESCRIPTION,
        version=version("dialog-cvae"),
        lifespan=lambda started: _lifespan(started, load, settings()),
        redirect_slashes=False,
        docs_url=None,  # FastAPI's pages load their scripts from another host
        redoc_url=None,
        openapi_url=None,  # `api.documentation` sends the document, which FastAPI would build on the event loop
        # FastAPI's own traces hold paths and queries, and its logs the messages of errors; `api.traces` replaces them.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    application.include_router(answering)
    application.include_router(router)
    application.include_router(batch.router)
    application.include_router(feedback.router)
    application.include_router(reload.router)
    application.include_router(openai_routes.completing)
    application.include_router(openai_routes.router)
    application.include_router(documentation.router)
    mount_page(application)
    application.state.one_of_several = reload.one_of_several
    problems.install(application)
    openapi.install(application, Settings.model_construct())
    # Each wraps those before it, so that early refusals are logged too and have CORS headers.
    for middleware in (BodyLimit, FullQueue, KeyGuard, Failsafe, Cors, TraceRequests, RequestLog, StartupLine):
        application.add_middleware(middleware)
    return application


@asynccontextmanager
async def _lifespan(
    application: FastAPI, load: Callable[[Settings], Responder], settings: Settings
) -> AsyncIterator[State]:
    """Everything between the start of the server and its end."""
    # Log the settings, and read the files that they name before the model: that takes longer.
    logs.configure(settings.log_format, settings.log_text)
    logs.event("configuration", **effective(settings))
    for line in unknown_variables():
        logs.event(line, logging.WARNING)
    if (warning := open_by_mistake(settings)) is not None:
        logs.event(warning, logging.WARNING)
    keys = read_keys(settings)
    accepts = configured_filter(settings)
    feedback.check_file(settings)
    metrics = Metrics()
    traces = open_traces()
    models = Models(settings, load, accepts, metrics)
    # Open the models, and serve until the server shuts down.
    try:
        await models.open()
        models.changed = lambda: _describe(application, models, bool(keys))
        models.changed()
        for slot in models.slots:
            logs.event("ready", model=slot.name, licence=slot.service.licence)
        with reload.at_hangup(models):
            yield {"models": models, "keys": keys, "metrics": metrics, "traces": traces}
            logs.event("finishing")
    finally:
        await models.close()
        metrics.close()
        if traces is not None:
            await traces.close()


def _describe(application: FastAPI, models: Models, needs_key: bool) -> None:
    """Adapt the OpenAPI document to the models. Readers need no key, so with keys it has no names and no topics."""
    responders = [slot.service.responder for slot in models.slots]
    indexed = any(responder.index is not None for responder in responders)
    topics, names = None, None
    if not needs_key:
        names = models.accepted_names
        if not any(responder.codec.free_topic for responder in responders):
            topics = list(dict.fromkeys(topic for responder in responders for topic in responder.topics))
    openapi.install(application, models.settings, topics, needs_key, indexed, names)


app = create_app()
