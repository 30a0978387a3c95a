"""Opening the checkpoints again without a restart: SIGHUP, and `POST /admin/reload`.

Open it to see who may ask for it; `api.models` does the work.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import Field

from api import logs
from api.models import Models, Outcome
from api.problems import Refusal
from api.routes import Ready, declared
from api.schema import Schema

router = APIRouter()


class Reloaded(Schema):
    """A model whose checkpoint was opened again."""

    name: str = Field(description="under which the model is served")
    checkpoint: str = Field(description="what the weights that answer now were fitted on, and after how many steps")


class Reload(Schema):
    """All models have been replaced."""

    status: Literal["reloaded"] = "reloaded"
    models: list[Reloaded]


@router.post("/admin/reload", summary="Open the checkpoints again", responses=declared(403, 409, 503))
async def reload(models: Ready, request: Request) -> Reload:
    """Replace every model by the one that its folder holds now; answers once the earlier models are closed.

    Requests in work finish on the earlier models. If a folder can't be used, its earlier model stays, and the status is
    409 with the reason. Only a server with API keys allows this.
    """
    if not request.state.keys:
        raise Refusal(
            403, "no-keys", "this server has no API keys (DIALOG_CVAE_API_KEYS); its operator can send SIGHUP"
        )
    if (reason := request.app.state.one_of_several()) is not None:
        raise Refusal(409, "reload-failed", reason)
    found = await models.reload()
    if failed := [each for each in found if each.reason is not None]:
        raise Refusal(409, "reload-failed", _reasons(failed, len(found)))
    return Reload(models=[Reloaded(name=each.name, checkpoint=each.model) for each in found])


def _reasons(failed: list[Outcome], count: int) -> str:
    reasons = "; ".join(f"{each.name}: {each.reason}" for each in failed)
    return reasons if len(failed) == count else f"{reasons}. {count - len(failed)} of {count} models were reloaded"


def one_of_several() -> str | None:
    """Why a request can't reload this server: it would reach only one of several workers. None with one process."""
    if multiprocessing.parent_process() is None:
        return None
    return (
        "this is one of several workers, and a request reaches only one of them; send SIGHUP to each: "
        f"pkill -HUP -P {os.getppid()} -f spawn_main"
    )


@contextmanager
def at_hangup(models: Models) -> Iterator[None]:
    """Reload at SIGHUP, where the system has it and this is the main thread.

    A closed terminal sends SIGHUP too. The server then ends, as without this function, unless SIGHUP was ignored.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, before = asyncio.get_running_loop(), signal.getsignal(signal.SIGHUP)
    bound = before == signal.SIG_DFL and multiprocessing.parent_process() is None and _has_terminal()
    tasks: set[asyncio.Task[list[Outcome]]] = set()

    def hang_up() -> None:
        if bound and not _has_terminal():
            signal.raise_signal(signal.SIGTERM)
            return
        logs.event("reloading")
        task = asyncio.ensure_future(models.reload())
        tasks.add(task)  # asyncio itself keeps only weak references
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, before)


def _has_terminal() -> bool:
    """Whether the process belongs to a terminal that is still open."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
