"""The time that a run still takes."""

import pytest

from training.time_left import TimeLeft, duration


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_updates_and_validations_are_counted() -> None:
    clock = Clock()
    left = TimeLeft(25, 10, stops_early=False, clock=clock)
    assert left.text(0) == ""
    clock.now += 4
    left.updated(2)
    assert left.text(2) == "about 46 s left, without validations"
    clock.now += 16
    left.updated(8)
    clock.now += 5
    left.validated()
    assert left.text(12) == "about 36 s left"  # 13 updates of 2 s, validations after 20 and 25
    assert left.text(20) == "about 20 s left"  # the validation at this step comes after the line
    assert left.text(25) == "about 5 s left"


def test_early_stopping_makes_it_a_limit() -> None:
    clock = Clock()
    left = TimeLeft(100, 100, stops_early=True, clock=clock)
    clock.now = 3600
    left.updated(1)
    assert left.text(1) == "at most 4 days 3 h left, without validations"


def test_late_updates_count_more() -> None:
    clock = Clock()
    left = TimeLeft(2000, 2000, stops_early=False, clock=clock)
    clock.now += 300
    left.updated(300)  # 1 s each
    clock.now += 600
    left.updated(100)  # 6 s each: another program came
    assert left.text(400) == "about 1 h 43 min left, without validations"


def test_nothing_is_left_at_the_end_of_a_run_whose_validation_is_not_known() -> None:
    clock = Clock()
    left = TimeLeft(5, 5, stops_early=False, clock=clock)
    clock.now += 5
    left.updated(5)
    assert left.text(5) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1 s"),
        (99, "99 s"),
        (100, "2 min"),
        (5940, "99 min"),
        (6000, "1 h 40 min"),
        (7200, "2 h"),
        (172800, "2 days"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
