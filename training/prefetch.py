"""Prefetches items in a thread, and measures the time spent waiting for them.

Open this to change how batches are made ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """An iterator over the items of `source`, in the same order.

    If the source raises an exception, `next` raises it in the place of the item. Use it as a context manager, which
    ends the thread.

    Args:
        source: iterator, which one thread advances.
        depth: most prefetched items; with 0, each item is made on request, without a thread.

    Attributes:
        waited: seconds spent waiting for items so far.
    """

    def __init__(self, source: Iterator[T], depth: int) -> None:
        self.waited = 0.0
        self._source = source
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch") if depth else None
        self._prefetched: deque[Future[T]] = deque()
        for _ in range(depth):
            self._request_next()

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
            if not self._prefetched:
                return next(self._source)
            item = self._prefetched.popleft().result()
            self._request_next()
            return item
        finally:
            self.waited += perf_counter() - began

    def _request_next(self) -> None:
        if self._thread is not None:
            self._prefetched.append(self._thread.submit(next, self._source))
