"""Thresholds on a score, against values worked out by hand and a naive bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from eval.metrics.significance import cluster_bootstrap
from eval.metrics.thresholds import differences, thresholds


def test_thresholds_are_quantiles_of_all_scores_and_of_the_best_ones() -> None:
    # of all five: .2, .3, .4; of the best ones .3 and .5: .32, .35, .4, .45
    assert thresholds([(0.1, 0.2, 0.3), (), (0.4, 0.5)]) == [0.0, 0.2, 0.3, 0.32, 0.35, 0.4, 0.45]


def test_thresholds_have_three_digits_and_differ() -> None:
    assert thresholds([(0.123456,), (0.1234567,)]) == [0.0, 0.123]
    assert thresholds([(1.23456e-7,)]) == [0.0, 1.23e-7]
    assert thresholds([(), ()]) == thresholds([]) == [0.0]


SCORES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
QUALITY = np.array([0.0, 1.0, 2.0, 4.0, 3.0, 8.0])
GROUPS = ["a", "a", "b", "b", "c", "c"]


def test_what_is_left_minus_what_is_left_out() -> None:
    found = differences(SCORES, QUALITY, GROUPS, [0.0, 0.1, 0.4, 0.6, 0.61])
    assert [None if each is None else each.value for each in found] == [None, None, 5.0 - 1.0, 8.0 - 2.0, None]


def test_the_interval_is_that_of_resampled_groups() -> None:
    """With three groups all 27 resamples can be listed."""
    listed = []
    for drawn in np.ndindex(3, 3, 3):
        rows = np.concatenate([[2 * group, 2 * group + 1] for group in drawn])
        left = SCORES[rows] >= 0.4
        sides = QUALITY[rows][left], QUALITY[rows][~left]
        listed.append(sides[0].mean() - sides[1].mean() if all(map(len, sides)) else 0.0)
    (found,) = differences(SCORES, QUALITY, GROUPS, [0.4])
    assert found is not None
    low, high = np.quantile(listed, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.3)
    assert found.high == pytest.approx(high, abs=0.3)


def test_chance_alone_is_within_the_interval_about_95_times_of_100() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5).tolist()
    inside = 0
    for _ in range(100):
        (found,) = differences(rng.random(200), rng.random(200), groups, [0.5])
        assert found is not None
        inside += found.low <= 0 <= found.high
    assert 88 <= inside <= 99


def test_a_better_half_is_found() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random(200)
    (found,) = differences(scores, scores + rng.random(200), np.repeat(np.arange(40), 5).tolist(), [0.5])
    assert found is not None
    assert found.low > 0.3


def test_a_bootstrap_needs_two_groups_and_finite_values() -> None:
    with pytest.raises(ValueError, match="at least 2 of them, got 1"):
        differences(SCORES, QUALITY, ["a"] * 6, [0.4])
    with pytest.raises(ValueError, match="must be finite"):
        cluster_bootstrap([[1.0], [np.nan]], ["a", "b"], lambda sums: sums)
