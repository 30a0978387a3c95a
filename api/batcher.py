"""Continuous batching: one thread decodes all requests together, and a bounded queue holds those that wait.

Open it to change when a request joins the batch. Requests wait in order of arrival. As soon as the rows (draws) of the
next one fit into the batch, its context is encoded and its rows join; finished rows make room. A request's replies do
not depend on the other requests, so they are the same however busy the service is.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from api.room import Busy, Room
from dialog_cvae.generate.pool import Pool
from dialog_cvae.generate.question import Answer, Question
from dialog_cvae.generate.replies import Replies
from dialog_cvae.generate.responder import Responder

if TYPE_CHECKING:
    from api.traces import ModelSpans

MAX_WAITING = 64  # default number of places
ENCODED_TOGETHER = 8  # contexts encoded at a time at most; decoding pauses meanwhile
REMEMBERED = 0.9  # weight of the past in the measured speed
SWITCH_S = 0.0005  # seconds between switches from thread to thread (model, web server); Python's default is 5 ms


class BatchMetrics(Protocol):
    """Receives measurements, from the model's thread."""

    def queued(self, depth: int) -> None:
        """The number of requests that wait for their first step has changed."""
        ...

    def stepped(self, rows: int, seconds: float) -> None:
        """A decoding step of so many rows took so long."""
        ...

    def finished(self, tokens: int) -> None:
        """A request is complete; this many tokens were decoded for it."""
        ...


class NoMetrics:
    """Ignores all measurements."""

    def queued(self, depth: int) -> None:
        """Ignore it."""

    def stepped(self, rows: int, seconds: float) -> None:
        """Ignore it."""

    def finished(self, tokens: int) -> None:
        """Ignore it."""


@dataclass(eq=False)
class _Job:
    """A request in the queue or in the batch; `answer` may be cancelled at any time.

    Times are nanoseconds since 1970: `accepted` when it arrived, `admitted` when it moved from the queue to the batch.
    """

    question: Question
    rows: int
    answer: Future[Answer] = field(default_factory=Future)
    replies: Replies | None = None
    tokens: int = 0
    accepted: int = field(default_factory=time.time_ns)
    admitted: int | None = None

    @property
    def abandoned(self) -> bool:
        return self.answer.cancelled()

    def succeed(self) -> None:
        assert self.replies is not None
        try:
            found = Answer(self.replies.answer(), self.replies.seen, self.replies.draws)
        except Exception as error:  # affects this request only
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
        responder: the model; only the batcher may use it until it is closed.
        room: the places that this and other models share; default: 64 places of its own. See `share`.
        max_rows: most rows to decode together; a request with more rows is decoded alone.
        metrics: receives the measurements.
    """

    def __init__(
        self,
        responder: Responder,
        *,
        room: Room | None = None,
        max_rows: int = 128,
        metrics: BatchMetrics | None = None,
    ) -> None:
        self._responder, self._max_rows = responder, max_rows
        self._room = room or Room(MAX_WAITING)
        self._metrics = metrics or NoMetrics()
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._working: list[_Job] = []
        self._closing = False
        self._row_seconds = 0.0  # measured mean time for a row, all overheads included
        self._unshared = 0.0  # seconds since the last row finished
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()
        self._room.join(self)

    async def respond(
        self, question: Question, timeout_s: float | None = None, spans: ModelSpans | None = None
    ) -> Answer:
        """The answer to a question; if the awaiting task is cancelled, the request leaves the queue and the batch.

        Args:
            question: what is asked.
            timeout_s: seconds to wait for the replies; None means no limit.
            spans: receives the times of the request, if it is traced.

        Raises:
            Busy: the queue is full, `timeout_s` has passed, or the service is shutting down.
            ConfigError: the question is invalid; see `Responder.check`.
        """
        self._responder.check(question)
        job = _Job(question, max(1, question.rows(self._responder.codec.latent_size)))
        self._accept(job)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job.answer), timeout_s)
        except TimeoutError:
            raise Busy(
                f"no answer within {timeout_s:g} seconds; try again later", self._room.retry_after(), "timeout"
            ) from None
        finally:
            job.answer.cancel()  # no effect once the replies are there
            if spans is not None:
                spans.ended(job, sys.exception())

    def close(self) -> None:
        """Refuse new requests, answer those that were accepted, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._room.leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def share(self, room: Room) -> None:
        """Take the places of later requests from this room. No request may be in work or waiting."""
        self._room.leave(self)
        self._room = room
        room.join(self)

    def held(self) -> int:
        """How many requests are in work or waiting."""
        return len(self._waiting) + len(self._working)

    def forget_abandoned(self) -> None:
        """Free the places of waiting requests whose clients have left."""
        with self._changed:
            self._waiting = deque(each for each in self._waiting if not each.abandoned)

    def seconds_left(self) -> float:
        """Seconds until all requests are answered, at the measured speed."""
        with self._changed:
            rows = sum(job.rows for job in (*self._waiting, *tuple(self._working)))
        return rows * self._row_seconds

    def _accept(self, job: _Job) -> None:
        with self._room.lock:  # no other request can take the place meanwhile
            self._room.check()
            with self._changed:
                if self._closing:
                    raise Busy("the service is shutting down; try again later", 1, "closing")
                self._waiting.append(job)
                self._metrics.queued(len(self._waiting))
                self._changed.notify()

    def _run(self) -> None:
        sys.setswitchinterval(SWITCH_S)
        pool: Pool[tuple[Replies, int]] | None = None
        while True:
            with self._changed:
                while not (self._waiting or self._working or self._closing):
                    self._changed.wait()
                if not (self._waiting or self._working):
                    return
            try:
                if pool is None:
                    pool = self._responder.pool()
                self._turn(pool)
            except BaseException as error:  # any error: all requests in the batch must be answered
                if pool is None:  # nothing can be decoded, so those that wait fail too
                    self._take_waiting()
                failed, self._working, pool = self._working, [], None
                for job in failed:  # after their places are free, so that a client with an answer finds them free
                    job.fail(error)

    def _take_waiting(self) -> None:
        """Take all requests from the queue."""
        with self._changed:
            self._working += self._waiting
            self._waiting.clear()
            self._metrics.queued(0)

    def _turn(self, pool: Pool[tuple[Replies, int]]) -> None:
        """One round: admit requests, decode one step, and answer the requests that are complete."""
        began = time.perf_counter()
        # Bring the batch up to date.
        self._remove_cancelled(pool)
        self._add_rows(pool)
        self._admit(pool)
        self._add_rows(pool)
        # Decode one step, and hand finished rows to their requests.
        rows = len(pool)
        owners = {id(job.replies): job for job in self._working}
        stepping = time.perf_counter()
        finished = pool.step()
        for (replies, index), draw in finished:
            replies.take(index, draw)
            owners[id(replies)].tokens += draw.length
        ended = time.perf_counter()
        if rows:
            self._metrics.stepped(rows, ended - stepping)
        # Answer the requests that are complete.
        for job in [job for job in self._working if job.replies is not None and job.replies.complete]:
            self._working.remove(job)
            self._metrics.finished(job.tokens)  # before the answer, so that a client with an answer finds it counted
            job.succeed()
        self._measure(len(finished), ended - began)

    def _remove_cancelled(self, pool: Pool[tuple[Replies, int]]) -> None:
        """Remove cancelled requests from the batch. One that is cancelled meanwhile stays until the next round."""
        gone = [job for job in self._working if job.abandoned]
        if gone:
            rows = {id(job.replies) for job in gone}
            pool.remove(lambda key: id(key[0]) in rows)
            self._working = [job for job in self._working if job not in gone]

    def _add_rows(self, pool: Pool[tuple[Replies, int]]) -> None:
        """Add the rows that requests need now to the batch."""
        for job in self._working:
            if job.replies is not None and job.replies.wants:
                pool.add(*job.replies.wanted())

    def _admit(self, pool: Pool[tuple[Replies, int]]) -> None:
        """Take requests from the queue as long as their rows fit, and encode their contexts together."""
        joining: list[_Job] = []
        with self._changed:
            rows = len(pool)
            while self._waiting and len(joining) < ENCODED_TOGETHER:
                job = self._waiting[0]
                if not job.abandoned:
                    if rows and rows + job.rows > self._max_rows:
                        break
                    job.admitted = time.time_ns()
                    joining.append(job)
                    rows += job.rows
                self._waiting.popleft()
            self._working += joining
            self._metrics.queued(len(self._waiting))
        if joining:
            self._encode(joining)

    def _encode(self, joining: list[_Job]) -> None:
        """Encode contexts together; if that fails, one by one, so that only the faulty request fails."""
        try:
            for job, replies in zip(joining, self._responder.begin([job.question for job in joining]), strict=True):
                job.replies = replies
        except Exception as error:
            if len(joining) == 1:
                self._working.remove(joining[0])
                joining[0].fail(error)
                return
            for job in joining:
                self._encode([job])

    def _measure(self, finished: int, seconds: float) -> None:
        """Update the running mean of the seconds that a row takes."""
        self._unshared += seconds
        if finished:
            each, self._unshared = self._unshared / finished, 0.0
            self._row_seconds = (
                each if not self._row_seconds else REMEMBERED * self._row_seconds + (1 - REMEMBERED) * each
            )
