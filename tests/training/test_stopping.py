"""The released code's rule, as `literature` has it: patience 10; a loss of at most 0.996 times the threshold moves the
threshold and stretches patience to twice the validations done; stop when patience <= validations done.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.stopping import Stopping


def _after(losses: list[float], patience: int = 10) -> Stopping:
    stopping = Stopping(patience)
    for loss in losses:
        stopping = stopping.after(loss)
    return stopping


@pytest.mark.parametrize(
    ("losses", "patience", "best", "threshold", "exhausted"),
    [
        ([], 10, inf, inf, False),
        ([100.0], 10, 100.0, 100.0, False),  # the first always counts as progress; 2 x 1 is no more than 10
        ([100.0] * 9, 10, 100.0, 100.0, False),
        ([100.0] * 10, 10, 100.0, 100.0, True),
        ([100.0] * 5 + [99.6], 12, 99.6, 99.6, False),  # exactly 0.996 of the threshold, in validation 6
        ([100.0] * 5 + [99.61], 10, 99.61, 100.0, False),  # the best so far, but not by enough
        ([100.0] * 5 + [99.61, 99.59], 14, 99.59, 99.59, False),  # measured against 100, not against the best
        ([100.0] * 9 + [99.0], 20, 99.0, 99.0, False),  # in the last validation that patience allows
        ([100.0] * 9 + [99.0] + [99.0] * 9, 20, 99.0, 99.0, False),
        ([100.0] * 9 + [99.0] + [99.0] * 10, 20, 99.0, 99.0, True),
        ([100.0, 50.0, 70.0, 60.0], 10, 50.0, 50.0, False),
    ],
)
def test_written_out_values(losses: list[float], patience: int, best: float, threshold: float, exhausted: bool) -> None:
    stopping = _after(losses)
    assert (stopping.patience, stopping.best, stopping.threshold) == (patience, best, threshold)
    assert (stopping.done, stopping.exhausted) == (len(losses), exhausted)


def test_a_validation_that_does_not_count_can_be_the_best_and_changes_nothing_else() -> None:
    before = _after([100.0] * 5)
    assert before.after(50.0, counts=False) == replace(before, best=50.0)
    assert before.after(120.0, counts=False) == before


@given(st.lists(st.floats(0.01, 1e4), max_size=60), st.integers(1, 12))
@settings(deadline=None, derandomize=True)
def test_against_the_rule_as_a_loop(losses: list[float], patience: int) -> None:
    stopping, threshold, allowed = Stopping(patience), inf, patience
    for done, loss in enumerate(losses, start=1):
        if loss <= threshold * 0.996:
            allowed = max(allowed, done * 2)
            threshold = loss
        stopping = stopping.after(loss)
        assert stopping.exhausted == (allowed <= done)
        assert stopping.best == min(losses[:done])
