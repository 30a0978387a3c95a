"""Prefetching: a thread makes items before they are needed, and the time spent in waiting for them is measured.

Training makes its batches this way; see `training.loop`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """An iterator over the items of `source`, in the same order.

    If the source raises an exception instead of an item, `next` raises it at that item's place. Use it as a context
    manager, which ends the thread.

    Args:
        source: advanced by one thread only.
        depth: how many items are made in advance at most; with 0, `next` makes the item itself, without a thread.

    Attributes:
        waited: seconds that `next` has spent so far in waiting for items.
    """

    def __init__(self, source: Iterator[T], depth: int) -> None:
        self.waited = 0.0
        self._source = source
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead") if depth else None
        self._made: deque[Future[T]] = deque()
        for _ in range(depth):
            self._submit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        began = perf_counter()
        try:
            if not self._made:
                return next(self._source)
            item = self._made.popleft().result()
            self._submit()
            return item
        finally:
            self.waited += perf_counter() - began

    def _submit(self) -> None:
        if self._thread is not None:
            self._made.append(self._thread.submit(next, self._source))
