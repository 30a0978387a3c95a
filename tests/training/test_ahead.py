"""Items made ahead are the source's, and no thread is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from training.prefetch import Prefetcher as Ahead


def _numbers(made: list[int], fail_at: int = -1) -> Iterator[int]:
    for number in range(20):
        if number == fail_at:
            raise OSError("no more")
        made.append(number)
        yield number


@pytest.mark.parametrize("depth", [0, 1, 3, 50])
def test_the_items_are_those_of_the_source_in_order(depth: int) -> None:
    made: list[int] = []
    with Ahead(_numbers(made), depth) as items:
        assert list(items) == list(range(20))
        with pytest.raises(StopIteration):
            next(items)
    assert threading.active_count() == 1 or not [t for t in threading.enumerate() if t.name.startswith("ahead")]


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_exception_comes_where_its_item_would(depth: int) -> None:
    with Ahead(_numbers([], fail_at=4), depth) as items:
        assert [next(items) for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(OSError, match="no more"):
            next(items)


@pytest.mark.parametrize("depth", [0, 2])
def test_no_more_is_made_than_was_ordered(depth: int) -> None:
    made: list[int] = []
    with Ahead(_numbers(made), depth) as items:
        assert next(items) == 0
    assert len(made) <= 1 + depth
    before = len(made)
    time.sleep(0.05)
    assert len(made) == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


@pytest.mark.parametrize(("depth", "waits"), [(0, True), (1, False)])
def test_waiting_is_measured(depth: int, waits: bool) -> None:
    def slow() -> Iterator[int]:
        for number in range(3):
            time.sleep(0.1)
            yield number

    with Ahead(slow(), depth) as items:
        for _ in range(3):
            time.sleep(0.25)  # an update, during which the next item is made
            next(items)
        assert (items.waited > 0.25) == waits
