"""The places for requests in work or waiting, shared by all models of a process.

Open it to change how many requests the service holds, or when a rejected client should retry.
"""

from __future__ import annotations

import math
import threading
from typing import Protocol

MAX_RETRY_S = 60


class Busy(Exception):  # noqa: N818  (a state of the server, not a fault)
    """The queue is full, the reply took too long, or the service is shutting down; the message says which.

    Args:
        message: for the client.
        retry_after: seconds after which the client should try again.
        reason: "queue_full", "timeout" or "closing".
    """

    def __init__(self, message: str, retry_after: int, reason: str) -> None:
        super().__init__(message)
        self.retry_after, self.reason = retry_after, reason


class Queue(Protocol):
    """The requests of one model."""

    def held(self) -> int:
        """How many requests are in work or waiting."""
        ...

    def forget_abandoned(self) -> None:
        """Free the places of waiting requests whose clients have left."""
        ...

    def seconds_left(self) -> float:
        """About how many seconds until all its requests are answered."""
        ...


class Room:
    """Places for at most `most` requests in all joined queues.

    Attributes:
        most: number of places.
        lock: a queue holds it while it checks for a place and takes it. Acquire it before any queue's own lock.
    """

    def __init__(self, most: int) -> None:
        self.most, self.lock = most, threading.RLock()
        self._queues: list[Queue] = []

    def join(self, queue: Queue) -> None:
        """Count the requests of this queue from now on."""
        with self.lock:
            self._queues.append(queue)

    def leave(self, queue: Queue) -> None:
        """Count the requests of this queue no longer."""
        with self.lock:
            self._queues = [each for each in self._queues if each is not queue]

    def check(self) -> None:
        """Check that there is a free place.

        Raises:
            Busy: all places are taken.
        """
        with self.lock:
            if self._held() >= self.most:
                for queue in self._queues:
                    queue.forget_abandoned()
            if self._held() >= self.most:
                message = f"at most {self.most} request(s) may wait, and that many do; try again later"
                raise Busy(message, self.retry_after(), "queue_full")

    def retry_after(self) -> int:
        """Seconds until about half of the requests are answered, from 1 to 60."""
        with self.lock:
            seconds = sum(queue.seconds_left() for queue in self._queues)
        return min(MAX_RETRY_S, max(1, math.ceil(seconds / 2)))

    def _held(self) -> int:
        return sum(queue.held() for queue in self._queues)
