"""One thread for the model: answers leave the event loop free, and draws never interleave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import BoundedSemaphore
from types import TracebackType
from typing import Any, Self, TypeVar

from dialog_cvae.respond import Decoding, Responder, Response
from dialog_cvae.types import Conversation

T = TypeVar("T")


class Busy(Exception):  # noqa: N818  (a state of the server, not a fault)
    """The queue is full, or the answer did not come in time; the message says which.

    Attributes:
        retry_after: seconds after which to try again.
    """

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ModelThread:
    """Runs functions one after another in a thread of its own.

    Args:
        max_waiting: functions in work or waiting; more raise `Busy` at once.
    """

    def __init__(self, max_waiting: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._places = BoundedSemaphore(max_waiting)
        self._max_waiting = max_waiting

    async def run(self, function: Callable[[], T], timeout_s: float | None = None) -> T:
        """The function's result.

        A caller that gives up frees its place at once if its turn has not come; work already begun is finished, and
        keeps its place until then.

        Args:
            function: what to run in the model's thread.
            timeout_s: seconds to wait for the result; None waits for ever.

        Raises:
            Busy: there is no place to wait, or the time is over.
        """
        if not self._places.acquire(blocking=False):
            raise Busy(f"at most {self._max_waiting} request(s) may wait, and as many do; try again later")
        future = self._pool.submit(function)
        future.add_done_callback(lambda _: self._places.release())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), timeout_s)
        except TimeoutError:
            raise Busy(f"no answer within {timeout_s:g} seconds; try again later") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


class Batcher:
    """Answers requests one after another in a model's thread.

    Args:
        responder: what answers.
        max_waiting: requests in work or waiting; more raise `Busy` at once.
    """

    def __init__(self, responder: Responder, *, max_waiting: int, max_rows: int, observer: object) -> None:
        self._responder, self._thread = responder, ModelThread(max_waiting)

    async def respond(
        self,
        conversation: Conversation,
        *,
        respond_as: str,
        n: int,
        seed: int,
        decoding: Decoding,
        at: tuple[float, float] | None = None,
        places: bool = False,
        timeout_s: float,
    ) -> list[Response]:
        """Replies to a conversation; see `Responder.respond`.

        Raises:
            Busy: there is no place to wait, or the time is over.
        """
        mapped: dict[str, Any] = {"at": at, "places": places} if places or at is not None else {}
        respond = partial(
            self._responder.respond, conversation, respond_as=respond_as, n=n, seed=seed, decoding=decoding, **mapped
        )
        return await self._thread.run(respond, timeout_s)

    def close(self) -> None:
        """Finish what was accepted."""
        self._thread.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
