"""Hand-worked values in two dimensions, and the vectorised code against a plain loop."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics.embedding import (
    average,
    context_embedding,
    cosine,
    extrema,
    greedy,
    known_vectors,
)


class Vectors(NamedTuple):
    rows: dict[str, int]
    matrix: np.ndarray


EAST_NORTH = Vectors(
    {"east": 0, "north": 1, "west": 2, "nowhere": 3},
    np.array([[2, 0], [0, 1], [-4, 0], [0, 0]], dtype=np.float32),
)
WORDS = [f"w{i}" for i in range(8)]
RANDOM = Vectors({w: i for i, w in enumerate(WORDS)}, np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32))
SENTENCES = st.lists(st.lists(st.sampled_from([*WORDS, "unknown"]), max_size=5), min_size=1, max_size=4)


def test_known_vectors_keeps_order_and_repetitions():
    words = known_vectors(["north", "unknown", "east", "north"], EAST_NORTH)
    assert words.tolist() == [[0, 1], [2, 0], [0, 1]]
    assert known_vectors(["unknown"], EAST_NORTH).shape == (0, 2)


def test_extrema_takes_the_value_furthest_from_zero_and_the_positive_one_of_a_tie():
    assert extrema(np.array([[1.0, -3.0, 2.0], [-2.0, 1.0, -2.0]])).tolist() == [-2.0, -3.0, 2.0]
    assert extrema(np.array([[-1.0, -2.0], [-3.0, -1.0]])).tolist() == [-3.0, -2.0]


def test_average_by_hand():
    assert average(np.array([[2.0, 0.0], [0.0, 1.0]])).tolist() == [1.0, 0.5]


def test_cosine_by_hand():
    rows = known_vectors(["east", "north", "west", "nowhere"], EAST_NORTH)
    expected = [[1, 0, -1, 0], [0, 1, 0, 0], [-1, 0, 1, 0], [0, 0, 0, 0]]
    assert cosine(rows, rows).tolist() == expected


def test_greedy_by_hand():
    left, right = known_vectors(["east", "north"], EAST_NORTH), known_vectors(["east", "west", "west"], EAST_NORTH)
    # best of east 1, of north 0; best of east 1, of each west 0
    assert greedy([left], [right]).tolist() == [[pytest.approx((1 / 2 + 1 / 3) / 2)]]


def test_context_by_hand():
    scores = context_embedding([["east"], ["north"]], [["east", "east"], ["west"]], EAST_NORTH)
    assert scores is not None
    # cosines: east 1, -1; north 0, 0, mapped to 1, 0 and .5, .5
    assert scores.average == pytest.approx(((1 + 0.5) / 2, (1 + 0.5) / 2))
    raw = context_embedding([["east"], ["north"]], [["east", "east"], ["west"]], EAST_NORTH, mapped=False)
    assert raw is not None
    assert raw.average == pytest.approx((0.5, 0.5))
    # extrema of east and west is west
    mixed = context_embedding([["east", "west"]], [["west"]], EAST_NORTH)
    assert mixed is not None
    assert mixed.extrema == pytest.approx((1.0, 1.0))
    assert mixed.average == pytest.approx((1.0, 1.0))
    assert mixed.greedy == pytest.approx(((0.5 * (1 - 1) + 1) / 2 / 2 + 0.5,) * 2)


def plain_context(hypotheses, references, vectors):
    """The published definition in loops over pairs."""

    def similarity(a, b):
        return float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)))

    def words(sentence):
        return [vectors.matrix[vectors.rows[t]].astype(float) for t in sentence if t in vectors.rows]

    def furthest(sentence):
        columns = zip(*sentence, strict=True)
        return [max(c) if abs(min(c)) <= max(c) else min(c) for c in columns]

    def one_way(a, b):
        return sum(max(similarity(x, y) for y in b) for x in a) / len(a)

    pairs = {
        "average": lambda a, b: similarity(sum(a) / len(a), sum(b) / len(b)),
        "extrema": lambda a, b: similarity(furthest(a), furthest(b)),
        "greedy": lambda a, b: (one_way(a, b) + one_way(b, a)) / 2,
    }
    left = [w for w in map(words, hypotheses) if w]
    right = [w for w in map(words, references) if w]
    if not left or not right:
        return None
    result = {}
    for name, score in pairs.items():
        table = [[(score(a, b) + 1) / 2 for b in right] for a in left]
        result[name] = (
            sum(max(row) for row in table) / len(left),
            sum(max(column) for column in zip(*table, strict=True)) / len(right),
        )
    return result


@given(hypotheses=SENTENCES, references=SENTENCES)
@settings(derandomize=True, deadline=None, max_examples=80)
def test_equals_the_plain_definition(hypotheses, references):
    expected, scores = plain_context(hypotheses, references, RANDOM), context_embedding(hypotheses, references, RANDOM)
    assert (expected is None) == (scores is None)
    if scores is not None and expected is not None:
        for name, value in expected.items():
            assert getattr(scores, name) == pytest.approx(value, rel=1e-9)
            assert all(0.0 <= part <= 1.0 for part in getattr(scores, name))


@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), seed=st.integers(0, 9))
@settings(derandomize=True, deadline=None)
def test_word_order_changes_nothing_and_a_reply_equals_itself(words, seed):
    shuffled = np.random.default_rng(seed).permutation(words).tolist()
    scores = context_embedding([words], [shuffled], RANDOM)
    assert scores is not None
    assert [scores.average.precision, scores.extrema.precision, scores.greedy.precision] == pytest.approx([1, 1, 1])


def test_sentences_without_a_known_word_are_ignored():
    alone = context_embedding([["east"]], [["north"]], EAST_NORTH)
    assert context_embedding([["east"], ["zzz"], []], [["north"], ["zzz"]], EAST_NORTH) == alone


def test_a_context_without_a_known_word_on_either_side_has_no_scores():
    assert context_embedding([["zzz"]], [["east"]], EAST_NORTH) is None
    assert context_embedding([["east"]], [[]], EAST_NORTH) is None


def test_a_context_without_references_is_refused():
    with pytest.raises(ValueError, match="got 1 hypotheses and 0 references"):
        context_embedding([["east"]], [], EAST_NORTH)
