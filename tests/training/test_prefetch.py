"""Prefetching: the items, the measured waiting, and the end of the thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from training import prefetch
from training.prefetch import Prefetcher

SAFETY_S = 60  # seconds after which a test that hangs fails


def _numbers(made: list[int], fail_at: int = -1) -> Iterator[int]:
    for number in range(20):
        if number == fail_at:
            raise OSError("no more")
        made.append(number)
        yield number


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize("depth", [0, 1, 3, 50])
def test_items_equal_the_sources_in_order(depth: int) -> None:
    made: list[int] = []
    with Prefetcher(_numbers(made), depth) as items:
        assert list(items) == list(range(20))
        with pytest.raises(StopIteration):
            next(items)
    assert not _threads()


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_exception_is_raised_at_its_items_place(depth: int) -> None:
    with Prefetcher(_numbers([], fail_at=4), depth) as items:
        assert [next(items) for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(OSError, match="no more"):
            next(items)


@pytest.mark.parametrize("depth", [0, 2])
def test_at_most_depth_items_are_made_in_advance_and_none_after_the_end(depth: int) -> None:
    made: list[int] = []
    with Prefetcher(_numbers(made), depth) as items:
        assert next(items) == 0
    assert not _threads()  # so that nothing more can be made
    assert 1 <= len(made) <= 1 + depth


class Clock:
    """Seconds that pass only while an item is made."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(prefetch, "perf_counter", clock)
    return clock


def test_without_a_thread_making_an_item_counts_as_waiting(clock: Clock) -> None:
    def slow() -> Iterator[int]:
        for number in range(3):
            clock.seconds += 10
            yield number

    with Prefetcher(slow(), 0) as items:
        assert list(items) == [0, 1, 2]
    assert items.waited == 30


def _gated(clock: Clock, start: threading.Semaphore, made: threading.Semaphore) -> Iterator[int]:
    """Makes an item each time `start` is released, which takes ten seconds on the clock."""
    for number in range(3):
        assert start.acquire(timeout=SAFETY_S)
        clock.seconds += 10
        made.release()
        yield number


def test_items_made_in_advance_cost_no_waiting(clock: Clock) -> None:
    start, made = threading.Semaphore(0), threading.Semaphore(0)
    with Prefetcher(_gated(clock, start, made), 1) as items:
        for number in range(3):
            start.release()
            assert made.acquire(timeout=SAFETY_S)
            assert next(items) == number
        assert items.waited == 0


def test_waiting_for_an_item_that_is_not_ready_is_measured(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    start, made = threading.Semaphore(0), threading.Semaphore(0)
    with Prefetcher(_gated(clock, start, made), 1) as items:
        reads = 0

        def read() -> float:
            """The clock. Every second reading, at the start of `next`, lets the source make an item."""
            nonlocal reads
            reads += 1
            seconds = clock()
            if reads % 2:
                start.release()
            return seconds

        monkeypatch.setattr(prefetch, "perf_counter", read)
        assert [next(items) for _ in range(3)] == [0, 1, 2]
        assert items.waited == 30
