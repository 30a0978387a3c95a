"""Items made ahead of their use, in a thread; and how long was waited for them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """An iterator over the same items as `source`, in the same order; an exception comes where its item would.

    Use it as a context manager, which ends the thread.

    Args:
        source: is only ever advanced by one thread.
        depth: items made ahead, at most; 0 makes each when it is asked for, without a thread.

    Attributes:
        waited: seconds spent so far in waiting for items.
    """

    def __init__(self, source: Iterator[T], depth: int) -> None:
        self.waited = 0.0
        self._source = source
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead") if depth else None
        self._made: deque[Future[T]] = deque()
        for _ in range(depth):
            self._order()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        began = time.perf_counter()
        try:
            if not self._made:
                return next(self._source)
            item = self._made.popleft().result()
            self._order()
            return item
        finally:
            self.waited += time.perf_counter() - began

    def _order(self) -> None:
        if self._thread is not None:
            self._made.append(self._thread.submit(next, self._source))
