"""The linear classifier on codes that hold a class, that hold none, and that hold it in one dimension of many."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from eval.metrics.probe import _stratified, probe


def codes(
    count: int, distance: float, dimensions: int = 4, seed: int = 0, share: float = 0.6
) -> tuple[np.ndarray, np.ndarray]:
    """Two normal clouds whose means are apart by `distance` in the first dimension."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < share).astype(int)
    x = rng.standard_normal((count, dimensions))
    x[:, 0] += distance * labels
    return x, np.where(labels, "positive", "negative")


def test_separable_codes_are_classified_perfectly() -> None:
    train, test = codes(2_000, 12.0), codes(1_000, 12.0, seed=1)
    few, all_ = probe(*train, *test, [100, 10**9])
    assert (few.labels, few.draws, all_.labels, all_.draws) == (100, 5, 2_000, 1)
    assert few.accuracy == few.balanced == all_.accuracy == 1.0
    assert few.half == 0.0
    assert all_.half is None
    assert few.chance == pytest.approx(0.6, abs=0.05)


def test_codes_without_the_class_are_at_chance() -> None:
    train, test = codes(3_000, 0.0), codes(4_000, 0.0, seed=1)
    for found in probe(*train, *test, [100, 1_000], draws=3):
        assert found.balanced == pytest.approx(0.5, abs=0.05)
        assert found.accuracy <= found.chance + 0.01
        assert found.draws == 3


def test_overlapping_codes_come_to_the_best_possible() -> None:
    """Two clouds of equal size 2 apart: no classifier is right more often than Phi(1)."""
    train, test = codes(20_000, 2.0, share=0.5), codes(20_000, 2.0, seed=1, share=0.5)
    (found,) = probe(*train, *test, [20_000])
    assert found.accuracy == pytest.approx(norm.cdf(1.0), abs=0.01)


def test_more_labels_help_where_many_dimensions_say_nothing() -> None:
    train, test = codes(4_000, 3.0, dimensions=100), codes(2_000, 3.0, dimensions=100, seed=1)
    accuracies = [found.accuracy for found in probe(*train, *test, [50, 4_000], draws=2)]
    assert accuracies[0] < accuracies[1] - 0.05


def test_the_scale_of_a_dimension_does_not_matter() -> None:
    (x, y), (test_x, test_y) = codes(1_000, 2.0), codes(1_000, 2.0, seed=1)
    scale, shift = np.array([1e-6, 1.0, 1e3, 1.0]), np.array([5.0, 0.0, -100.0, 3.0])
    plain = probe(x, y, test_x, test_y, [200], draws=2)
    scaled = probe(x * scale + shift, y, test_x * scale + shift, test_y, [200], draws=2)
    assert [one.each for one in plain] == [one.each for one in scaled]


def test_collapsed_codes_are_at_chance_and_not_an_error() -> None:
    (_, y), (_, test_y) = codes(300, 0.0), codes(200, 0.0, seed=1)
    (found,) = probe(np.zeros((300, 3)), y, np.zeros((200, 3)), test_y, [100])
    assert found.accuracy == found.chance
    assert found.balanced == 0.5


def test_draws_depend_on_the_seed_alone_and_have_the_classes_shares() -> None:
    train, test = codes(1_000, 1.0), codes(500, 1.0, seed=1)
    first = probe(*train, *test, [100], seed=3, draws=2)
    assert first == probe(*train, *test, [100, 1_000], seed=3, draws=2)[:1]
    assert first != probe(*train, *test, [100], seed=4, draws=2)
    assert len(set(first[0].each)) > 1


def test_the_interval_is_students_by_hand() -> None:
    train, test = codes(1_000, 1.0), codes(500, 1.0, seed=1)
    (found,) = probe(*train, *test, [20], draws=3)
    mean = sum(found.each) / 3
    deviation = math.sqrt(sum((value - mean) ** 2 for value in found.each) / 2)
    assert found.accuracy == pytest.approx(mean)
    assert found.half == pytest.approx(4.302653 * deviation / math.sqrt(3), rel=1e-6)


def test_a_rare_class_always_has_a_label() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0] * 990 + [1] * 10)
    x = rng.standard_normal((1_000, 2)) + 20 * labels[:, None]
    for found in probe(x, labels, x, labels, [2, 3, 20]):
        assert found.balanced > 0.9


def test_three_classes() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 3
    x = rng.standard_normal((600, 2)) + 15 * np.stack((labels == 1, labels == 2), axis=1)
    (found,) = probe(x, labels, x, labels, [30])
    assert found.accuracy == 1.0
    assert found.chance == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"train_labels": [0] * 9}, r"training codes must be \(N, Z\) and labels \(N,\), but are \(10, 2\) and \(9,\)"),
        ({"train_labels": [1] * 10}, "two classes at least, but the training labels have 1"),
        ({"test_codes": np.zeros((4, 3))}, "must have 2 dimensions as the training codes, but have 3"),
        ({"test_codes": np.full((4, 2), np.nan)}, r"test codes must be finite, but \(0, 0\) is not"),
        ({"counts": [1]}, r"at least the number of classes, 2, .* but they are \[1\] and 5"),
        ({"train_codes": np.zeros((10, 0))}, r"but are \(10, 0\) and \(10,\)"),
    ],
)
def test_refusals_name_what_is_wrong(change: dict[str, object], complaint: str) -> None:
    given = {
        "train_codes": np.zeros((10, 2)),
        "train_labels": [0, 1] * 5,
        "test_codes": np.zeros((4, 2)),
        "test_labels": [0, 1] * 2,
        "counts": [4],
    }
    with pytest.raises(ValueError, match=complaint):
        probe(**(given | change))  # type: ignore[arg-type]


def test_a_draw_has_as_many_labels_as_asked_where_rare_classes_are_raised_to_one() -> None:
    rng = np.random.default_rng(0)
    for sizes, count in (([9, 1, 10, 4, 7], 25), ([1, 1, 30], 3), ([5, 5, 5], 15)):
        labels = np.repeat(np.arange(len(sizes)), sizes)
        chosen = _stratified(labels, count, rng)
        assert len(set(chosen.tolist())) == count
        assert set(labels[chosen]) == set(labels)
