"""All requests decode together, in one thread: a bounded queue, and rows that come and go at every step.

Requests wait in the order in which they came. As soon as the rows of the next one fit beside those that are being
decoded, its context is encoded and its rows join them; a row that has finished makes room. What is computed for a
request does not depend on the others, so that its answer is the same however busy the service is.
"""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from dialog_cvae.generate.pool import Pool
from dialog_cvae.generate.replies import Question, Replies
from dialog_cvae.generate.responder import Reply, Responder

ENCODED_TOGETHER = 8  # contexts, at most, for which those that are being decoded wait
REMEMBERED = 0.9  # weight of the past in the measured speed
MAX_RETRY_S = 60
SWITCH_S = 0.0005  # after which the model's thread and the web server's ask each other for the interpreter, not 5 ms


class Busy(Exception):  # noqa: N818  (a state of the server, not a fault)
    """The queue is full, the answer did not come in time, or the service is about to end; the message says which.

    Args:
        message: for the client.
        retry_after: seconds after which it is worth trying again.
        reason: "queue_full", "timeout" or "closing".
    """

    def __init__(self, message: str, retry_after: int, reason: str) -> None:
        super().__init__(message)
        self.retry_after, self.reason = retry_after, reason


class Observer(Protocol):
    """Who is told, from the model's thread, of what is measured."""

    def queued(self, depth: int) -> None:
        """How many requests wait for their first step."""
        ...

    def stepped(self, rows: int, seconds: float) -> None:
        """A step of so many rows took so long."""
        ...

    def finished(self, tokens: int) -> None:
        """A request was answered, for which so many tokens were decoded."""
        ...


class Unobserved:
    """Nobody is told."""

    def queued(self, depth: int) -> None:
        """Say nothing."""

    def stepped(self, rows: int, seconds: float) -> None:
        """Say nothing."""

    def finished(self, tokens: int) -> None:
        """Say nothing."""


@dataclass(eq=False)
class _Job:
    """A request on its way; whoever awaits `answer` may cancel it at any time."""

    question: Question
    rows: int
    answer: Future[list[Reply]] = field(default_factory=Future)
    replies: Replies | None = None
    tokens: int = 0

    @property
    def abandoned(self) -> bool:
        return self.answer.cancelled()

    def succeed(self) -> None:
        assert self.replies is not None
        try:
            found = self.replies.answer()
        except Exception as error:  # of this request alone
            self.fail(error)
            return
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_result(found)

    def fail(self, error: BaseException) -> None:
        if not self.answer.done() and self.answer.set_running_or_notify_cancel():
            self.answer.set_exception(error)


class Batcher:
    """The model's thread and its queue.

    Args:
        responder: the model; nobody else may use it meanwhile.
        max_waiting: requests in work or waiting; more are refused at once.
        max_rows: responses decoded together, about: a request of more is taken alone.
        observer: is told what is measured.
    """

    def __init__(
        self, responder: Responder, *, max_waiting: int = 64, max_rows: int = 128, observer: Observer | None = None
    ) -> None:
        self._responder, self._max_waiting, self._max_rows = responder, max_waiting, max_rows
        self._observer = observer or Unobserved()
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._working: list[_Job] = []
        self._closing = False
        self._row_seconds = 0.0  # measured: what a row costs, with its share of everything
        self._unshared = 0.0  # seconds since a row finished
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    async def respond(self, question: Question, timeout_s: float | None = None) -> list[Reply]:
        """The replies to a question; when the awaiting task is cancelled, the request leaves queue and batch.

        Args:
            question: what is asked.
            timeout_s: seconds to wait for the answer; None waits for ever.

        Raises:
            Busy: there is no place to wait, the time is over, or the service is closing.
            ConfigError: nobody can answer this; see `Responder.check`.
        """
        self._responder.check(question)
        job = _Job(question, max(question.n, question.decoding.candidates))
        self._accept(job)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job.answer), timeout_s)
        except TimeoutError:
            raise Busy(
                f"no answer within {timeout_s:g} seconds; try again later", self._retry_after(), "timeout"
            ) from None
        finally:
            job.answer.cancel()  # without effect on an answer that is there

    def close(self) -> None:
        """Take no more requests, answer those that were accepted, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def check_room(self) -> None:
        """Refuse at once whom there is no place for.

        Raises:
            Busy: the queue is full, or the service is closing.
        """
        with self._changed:
            if self._closing:
                raise Busy("the service is about to end; try again later", 1, "closing")
            if self._held() >= self._max_waiting:
                self._waiting = deque(each for each in self._waiting if not each.abandoned)
            if self._held() >= self._max_waiting:
                message = f"at most {self._max_waiting} request(s) may wait, and as many do; try again later"
                raise Busy(message, self._retry_after(), "queue_full")

    def _accept(self, job: _Job) -> None:
        with self._changed:
            self.check_room()
            self._waiting.append(job)
            self._observer.queued(len(self._waiting))
            self._changed.notify()

    def _held(self) -> int:
        return len(self._waiting) + len(self._working)

    def _retry_after(self) -> int:
        """Seconds until about half of what is waiting will be done, from 1 to a minute."""
        with self._changed:
            rows = sum(job.rows for job in (*self._waiting, *tuple(self._working)))
        return min(MAX_RETRY_S, max(1, math.ceil(rows * self._row_seconds / 2)))

    def _run(self) -> None:
        sys.setswitchinterval(SWITCH_S)
        pool = self._responder.pool()
        while True:
            with self._changed:
                while not (self._waiting or self._working or self._closing):
                    self._changed.wait()
                if not (self._waiting or self._working):
                    return
            try:
                self._turn(pool)
            except BaseException as error:  # whatever it is, whoever waits must hear of it
                for job in self._working:
                    job.fail(error)
                self._working, pool = [], self._responder.pool()

    def _turn(self, pool: Pool[tuple[Replies, int]]) -> None:
        """Admit who fits, take one step, and answer whom that completes."""
        began = time.perf_counter()
        self._leave(pool)
        self._join(pool)
        self._admit(pool)
        self._join(pool)
        rows = len(pool)
        owners = {id(job.replies): job for job in self._working}
        stepping = time.perf_counter()
        finished = pool.step()
        for (replies, index), draw in finished:
            replies.take(index, draw)
            owners[id(replies)].tokens += draw.length
        ended = time.perf_counter()
        if rows:
            self._observer.stepped(rows, ended - stepping)
        for job in [job for job in self._working if job.replies is not None and job.replies.complete]:
            self._working.remove(job)
            job.succeed()
            self._observer.finished(job.tokens)
        self._measure(len(finished), ended - began)

    def _leave(self, pool: Pool[tuple[Replies, int]]) -> None:
        """Let go of what nobody waits for any longer."""
        if any(job.abandoned for job in self._working):
            gone = {id(job.replies) for job in self._working if job.abandoned}
            pool.remove(lambda key: id(key[0]) in gone)
            self._working = [job for job in self._working if not job.abandoned]

    def _join(self, pool: Pool[tuple[Replies, int]]) -> None:
        """Begin the draws that requests want by now."""
        for job in self._working:
            if job.replies is not None and job.replies.wants:
                pool.add(*job.replies.wanted())

    def _admit(self, pool: Pool[tuple[Replies, int]]) -> None:
        """Take the next requests from the queue, as far as their rows fit, and encode their contexts together."""
        joining: list[_Job] = []
        with self._changed:
            rows = len(pool)
            while self._waiting and len(joining) < ENCODED_TOGETHER:
                job = self._waiting[0]
                if not job.abandoned:
                    if rows and rows + job.rows > self._max_rows:
                        break
                    joining.append(job)
                    rows += job.rows
                self._waiting.popleft()
            self._working += joining
            self._observer.queued(len(self._waiting))
        if joining:
            self._begin(joining)

    def _begin(self, joining: list[_Job]) -> None:
        """Encode contexts; if that fails, each by itself, so that only who is at fault hears of it."""
        try:
            for job, replies in zip(joining, self._responder.begin([job.question for job in joining]), strict=True):
                job.replies = replies
        except Exception as error:
            if len(joining) == 1:
                self._working.remove(joining[0])
                joining[0].fail(error)
                return
            for job in joining:
                self._begin([job])

    def _measure(self, finished: int, seconds: float) -> None:
        """Keep a running mean of the seconds that a row takes."""
        self._unshared += seconds
        if finished:
            each, self._unshared = self._unshared / finished, 0.0
            self._row_seconds = (
                each if not self._row_seconds else REMEMBERED * self._row_seconds + (1 - REMEMBERED) * each
            )
