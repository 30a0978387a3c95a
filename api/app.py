"""The web service: `DIALOG_CVAE_CHECKPOINT=DIR uvicorn api.app:app`.

Importing this module reads no setting and opens no checkpoint: both happen when the server starts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TypedDict

from fastapi import FastAPI

from api import errors
from api.routes import mount_page, router
from api.service import Service
from api.settings import Settings, read_settings
from api.worker import Batcher
from dialog_cvae.errors import ConfigError
from dialog_cvae.respond import Responder


class State(TypedDict):
    """What the lifespan hands to requests."""

    service: Service


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
        load: opens the model when the server starts.
        settings: read when the server starts.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
        chosen = settings()
        responder = await asyncio.to_thread(load, chosen)
        batcher = Batcher(responder, max_waiting=chosen.max_waiting, max_rows=chosen.max_rows, observer=None)
        with batcher:
            yield {"service": Service(responder, batcher, chosen)}

    application = FastAPI(
        title="Dialog responses",
        summary="Diverse responses to a conversation, drawn from a conditional VAE",
        version=version("dialog-cvae"),
        lifespan=lifespan,
    )
    application.include_router(router)
    mount_page(application)
    errors.install(application)
    return application


app = create_app()
