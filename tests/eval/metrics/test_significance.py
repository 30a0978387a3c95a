"""The bootstrap against what is known exactly, against SciPy and by simulation; Holm's correction by hand."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics.significance import Difference, clustered_standard_error, holm, paired_bootstrap

P_VALUES = st.lists(st.floats(0, 1), max_size=12)


def some_differences(clusters=12, columns=3, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(clusters), generator.integers(1, 9, clusters))
    return generator.normal(0.2, 1, (len(labels), columns)), [f"c{label}" for label in labels]


def test_two_clusters_by_hand():
    # resamples: AA with chance 1/4 has mean -1, AB with 1/2 has (-1 + 1 + 1 + 1) / 4, BB with 1/4 has 1
    found = paired_bootstrap([-1.0, 1.0, 1.0, 1.0], ["A", "B", "B", "B"])
    assert (found.mean, found.low, found.high) == (0.5, -1.0, 1.0)
    assert found.p == pytest.approx(2 * 0.25, abs=0.03)
    # AB is at 0 and counts on both sides: of 0 or less 3/4, of 0 or more 3/4
    assert paired_bootstrap([-3.0, 1.0, 1.0, 1.0], ["A", "B", "B", "B"]).p == 1.0


def test_agrees_with_scipy_where_clusters_are_equally_large():
    generator = np.random.default_rng(3)
    means = generator.normal(0.3, 1, 40)
    differences = (means[:, None] + [-1.0, 0.0, 1.0]).ravel()
    found = paired_bootstrap(differences, np.repeat(np.arange(40), 3).tolist())
    reference = scipy.stats.bootstrap((means,), np.mean, n_resamples=20_000, method="percentile", rng=generator)
    assert found.mean == pytest.approx(means.mean())
    assert found.low == pytest.approx(reference.confidence_interval.low, abs=0.015)
    assert found.high == pytest.approx(reference.confidence_interval.high, abs=0.015)
    assert found.p == pytest.approx(2 * (reference.bootstrap_distribution <= 0).mean(), abs=0.02)


def test_intervals_cover_what_they_claim_and_only_with_clusters():
    generator = np.random.default_rng(0)
    simulations, clusters = 400, 40
    covered = rejected = covered_without = 0
    for seed in range(simulations):
        labels = np.repeat(np.arange(clusters), generator.integers(5, 15, clusters))
        differences = generator.normal(size=clusters)[labels] + generator.normal(size=len(labels))
        found = paired_bootstrap(differences, labels.tolist(), resamples=500, seed=seed)
        alone = paired_bootstrap(differences, range(len(labels)), resamples=200, seed=seed)
        covered += found.low <= 0 <= found.high
        rejected += found.p < 0.05
        covered_without += alone.low <= 0 <= alone.high
    assert 0.91 <= covered / simulations <= 0.97
    assert 0.03 <= rejected / simulations <= 0.09
    # contexts of a conversation are not independent: taken for that, the interval is far too narrow
    assert covered_without / simulations < 0.7


def test_a_clear_difference_has_the_smallest_p_value_there_is_and_never_0():
    found = paired_bootstrap([1.0] * 30, list(range(30)), resamples=999)
    assert found == Difference(1.0, 1.0, 1.0, 2 / 1000)
    assert paired_bootstrap([0.0] * 30, list(range(30))) == Difference(0.0, 0.0, 0.0, 1.0)


def test_differences_that_cancel_up_to_rounding_are_none():
    assert 0.1 + 0.2 - 0.3 > 0
    found = paired_bootstrap([0.1, 0.2, -0.3] * 20, np.repeat(np.arange(20), 3).tolist())
    assert (found.low, found.high, found.p) == (0.0, 0.0, 1.0)


def test_each_column_has_the_result_of_that_column_alone():
    differences, clusters = some_differences()
    together = paired_bootstrap(differences, clusters, resamples=300, seed=5)
    for index in range(differences.shape[1]):
        alone = paired_bootstrap(differences[:, index], clusters, resamples=300, seed=5)
        assert all(type(figure) is float for figure in alone)
        assert alone == pytest.approx([figure[index] for figure in together], rel=1e-12)
    assert together.mean == pytest.approx(differences.mean(axis=0))


def test_the_seed_decides():
    differences, clusters = some_differences(columns=1)
    first, again, other = (paired_bootstrap(differences[:, 0], clusters, resamples=300, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first.low != other.low


def test_many_clusters_are_drawn_in_parts_with_the_same_result(monkeypatch):
    differences, clusters = some_differences(clusters=30)
    whole = paired_bootstrap(differences, clusters, resamples=200)
    monkeypatch.setattr("eval.metrics.significance._DRAWN_AT_ONCE", 30 * 7)
    parts = paired_bootstrap(differences, clusters, resamples=200)
    for one, other in zip(whole, parts, strict=True):
        assert one == pytest.approx(other, rel=1e-12)


@given(seed=st.integers(0, 1000), factor=st.floats(0.01, 100))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_units_sign_and_names_change_nothing(seed, factor):
    differences, clusters = some_differences(columns=1, seed=seed)
    values = differences[:, 0]
    found = paired_bootstrap(values, clusters, resamples=200, seed=seed)
    assert 2 / 201 <= found.p <= 1
    assert found.low <= found.high
    scaled = paired_bootstrap(values * factor, clusters, resamples=200, seed=seed)
    assert scaled[:3] == pytest.approx([factor * figure for figure in found[:3]])
    assert scaled.p == found.p
    turned = paired_bootstrap(-values, clusters, resamples=200, seed=seed)
    assert turned == pytest.approx((-found.mean, -found.high, -found.low, found.p))
    assert paired_bootstrap(values, [(name, 1) for name in clusters], resamples=200, seed=seed) == found


@pytest.mark.parametrize(
    ("differences", "clusters", "resamples", "message"),
    [
        ([], [], 10, r"at least 1 context and column, got \(0,\)"),
        (np.zeros((3, 0)), [1, 2, 3], 10, r"at least 1 context and column, got \(3, 0\)"),
        (np.zeros((2, 2, 2)), [1, 2], 10, r"must be \(N,\) or \(N, M\)"),
        ([1.0, 2.0], ["a"], 10, "got 2 differences and 1 clusters"),
        ([1.0, 2.0], ["a", "a"], 10, "at least 2 of them, got 1"),
        ([1.0, 2.0], ["a", "b"], 0, "at least 1 resample, got 0"),
        ([1.0, float("nan")], ["a", "b"], 10, r"must be finite, but \(1,\) is nan"),
        ([[1.0, 2.0], [3.0, float("inf")]], ["a", "b"], 10, r"must be finite, but \(1, 1\) is inf"),
    ],
)
def test_refusals_name_what_is_wrong(differences, clusters, resamples, message):
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(differences, clusters, resamples=resamples)


def test_the_clustered_error_is_that_of_the_means_of_equally_large_clusters():
    generator = np.random.default_rng(5)
    means = generator.normal(0.3, 1, 40)
    values = (means[:, None] + generator.permutation([-1.0, 0.0, 1.0])).ravel()
    found = clustered_standard_error(values, np.repeat(np.arange(40), 3).tolist())
    assert found == pytest.approx(scipy.stats.sem(means))
    assert clustered_standard_error(values, range(120)) == pytest.approx(scipy.stats.sem(values))
    assert clustered_standard_error([1.0, 1.0, 4.0], ["A", "A", "B"]) == pytest.approx((2 * (2**2 + 2**2)) ** 0.5 / 3)
    with pytest.raises(ValueError, match="at least 2 of them, got 1"):
        clustered_standard_error([1.0, 2.0], ["A", "A"])


def test_holm_by_hand():
    # sorted .005 * 4, .01 * 3, .03 * 2, .04 * 1; the last is raised to the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([0.02, 0.02, 0.02]) == pytest.approx([0.06, 0.06, 0.06])
    assert holm([0.9, 0.9]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(p_values=P_VALUES)
@settings(derandomize=True, deadline=None)
def test_holm_by_its_definition(p_values):
    adjusted = holm(p_values)
    for p, found in zip(p_values, adjusted, strict=True):
        steps = [(sum(other >= smaller for other in p_values)) * smaller for smaller in p_values if smaller <= p]
        assert found == pytest.approx(min(1.0, max(steps)))
    assert holm(p_values[::-1]) == adjusted[::-1]


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_holm_refuses_numbers_that_are_no_p_values(p):
    with pytest.raises(ValueError, match="p-value 1 must be from 0 to 1, but is"):
        holm([0.5, p])
