"""Selection against exhaustive search and similarities worked by hand."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.generate.selection import draw_weights, loops, representatives, select, similarity
from dialog_cvae.text.words import normalised

TEXT = st.lists(st.sampled_from(["yes", "no", "well", "i", "see"]), min_size=1, max_size=7).map(" ".join)
TEXTS = st.lists(TEXT, min_size=1, max_size=7)


def places(*arguments):
    return [choice for choice, _ in select(*arguments)]


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def test_likeness_by_hand():
    likeness = similarity([words("i see"), words("i see it"), words("no"), words("i see")])
    # "i see" has 3 n-grams (i, see, i see), "i see it" has 5, and all 3 are among them: 2 * 3 / (3 + 5)
    expected = [[1, 0.75, 0, 1], [0.75, 1, 0, 0.75], [0, 0, 1, 0], [1, 0.75, 0, 1]]
    np.testing.assert_allclose(likeness, expected)


def test_repeated_words_count_as_often_as_both_have_them():
    # {no: 2, no no: 1} and {no: 3, no no: 2}: 2 * (2 + 1) / (3 + 5)
    assert similarity([words("no no"), words("no no no")])[0, 1] == 0.75


@settings(derandomize=True, deadline=None)
@given(TEXTS)
def test_likeness_is_dice_of_multisets(texts: list[str]) -> None:
    said = list(map(words, texts))
    grams = [Counter(one) + Counter(pairwise(one)) for one in said]
    expected = [[2 * (a & b).total() / (a.total() + b.total()) for b in grams] for a in grams]
    np.testing.assert_allclose(similarity(said), expected)


@pytest.mark.parametrize(
    ("text", "circles"),
    [
        ("and i think and i think", True),
        ("no no no no", True),
        ("no no no", False),
        ("i think so and i think not", False),
        ("", False),
    ],
)
def test_a_loop_says_three_words_twice(text: str, circles: bool) -> None:
    assert loops(words(text)) is circles


def covered(likeness: np.ndarray, chosen: tuple[int, ...]) -> float:
    return float(likeness[:, chosen].max(axis=1).sum())


def all_representatives(likeness: np.ndarray, weights: np.ndarray, n: int) -> list[int]:
    return representatives(likeness, weights, np.ones(len(weights), dtype=bool), n)


@settings(derandomize=True, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=7, unique=True), st.integers(1, 4), st.data())
def test_the_choice_is_nearly_the_best_there_is(texts: list[str], n: int, data: st.DataObject) -> None:
    size = len(texts)
    likeness = similarity(list(map(words, texts)))
    weights = np.array(data.draw(st.lists(st.integers(1, 9), min_size=size, max_size=size)), dtype=np.float64)

    def covered(chosen: tuple[int, ...]) -> float:
        return float(likeness[:, chosen].max(axis=1) @ weights)

    chosen = all_representatives(likeness, weights, n)
    assert len(chosen) == len(set(chosen)) == min(n, size)
    best = max(map(covered, combinations(range(size), len(chosen))))
    assert covered(tuple(chosen)) >= (1 - 1 / math.e) * best - 1e-9
    assert covered((chosen[0],)) == pytest.approx(max(covered((i,)) for i in range(size)))
    assert all_representatives(likeness, weights, n + 1)[: len(chosen)] == chosen


def test_the_most_typical_comes_first_and_then_what_is_different():
    texts = ["yeah.", "i like cats a lot", "i like cats", "i like dogs", "Yeah", "where do you go"]
    # of the draws three are about liking, and "i like cats" is closest to all of them; "yeah" was drawn twice
    assert [texts[i] for i in places(texts, [True] * 6, 3)] == ["i like cats", "yeah.", "where do you go"]


def test_one_listening_noise_represents_the_others():
    texts = ["Right.", "Uh-huh.", "Yeah.", "Right.", "i have two dogs", "we had a cat once"]
    assert [texts[i] for i in places(texts, [True] * 6, 4)][:3] == ["Right.", "i have two dogs", "we had a cat once"]


def test_replies_that_are_cut_off_or_loop_come_last():
    texts = ["we we we we we", "we we we", "we went and", "we went home"]
    assert set(places(texts, [True, True, False, True], 2)) == {1, 3}
    assert set(places(texts, [True, True, False, True], 4)[2:]) == {0, 2}


def test_the_last_replies_are_different_too():
    """Of what was cut off, "no" says something that the reply already chosen does not."""
    texts = ["yes we like cats", *["yes we like cats a lot"] * 6, *["no"] * 3]
    chosen = places(texts, [True] + [False] * 9, 3)
    assert [texts[i] for i in chosen] == ["yes we like cats", "no", "yes we like cats a lot"]


def test_of_equal_draws_a_finished_one_is_shown():
    assert places(["so we", "So we."], [False, True], 1) == [1]


def test_nothing_is_chosen_from_no_draws():
    assert places([], [], 5) == []


@settings(derandomize=True, deadline=None)
@given(st.lists(st.one_of(TEXT, st.sampled_from(["!", "Yes.", "¿?", "…"])), min_size=1, max_size=9), st.integers(1, 9))
def test_replies_are_distinct_and_as_many_as_there_are(texts: list[str], n: int) -> None:
    chosen = places(texts, [len(text) % 2 == 0 for text in texts], n)
    distinct = {normalised(text) for text in texts}
    assert len({normalised(texts[i]) for i in chosen}) == len(chosen) == min(n, len(distinct))


@pytest.mark.parametrize(
    ("draws", "first"),
    [
        (["我去学校了", "你好", "我去学校", "我去学校吧"], 2),
        (["ฉันไปโรงเรียนแล้ว", "สวัสดี", "ฉันไปโรงเรียน", "ฉันไปโรงเรียนนะ"], 2),
    ],
)
def test_the_most_typical_is_found_without_spaces(draws: list[str], first: int) -> None:
    assert places(draws, [True] * len(draws), 1)[0] == first
    assert sorted(places(draws, [True] * len(draws), 4)) == [0, 1, 2, 3]


def test_a_loop_without_spaces_comes_last() -> None:
    assert places(["我去学校我去学校", "我去学校我去学校", "你好吗"], [True] * 3, 2) == [2, 0]


def test_replies_that_differ_in_a_vowel_sign_or_an_emoji_are_two() -> None:
    assert len(places(["तुम गए", "तुम गया", "ok 👍", "ok 👎", "OK, 👍!"], [True] * 5, 5)) == 4


def test_a_score_is_the_mean_similarity_of_all_draws():
    # "a b c" and "a b d" share 3 of 5 words and pairs each: a, b, (a, b); "x y z" shares nothing with them
    found = dict(select(["a b c", "a b c", "a b d", "x y z"], [True] * 4, 3))
    assert found == pytest.approx({0: (1 + 1 + 0.6 + 0) / 4, 2: (0.6 + 0.6 + 1 + 0) / 4, 3: 1 / 4})


def test_a_draw_counts_by_how_much_likelier_its_context_makes_each_token():
    # -.5, -2 and -1 nats a token, times 3: the first is the likeliest
    np.testing.assert_allclose(draw_weights([-2, -6, -1], [1, 0, 0], [2, 3, 1]), [1, math.exp(-4.5), math.exp(-1.5)])
    assert draw_weights([], [], []).shape == (0,)


def test_likelier_draws_are_selected_first():
    texts = ["a b c", "x y z", "p q r"]
    assert places(texts, [True] * 3, 3, draw_weights([-9, -3, -6], [0] * 3, [3] * 3)) == [1, 2, 0]
    assert places(texts, [True] * 3, 3, draw_weights([-9, -3, -6], [8, 0, 0], [3] * 3))[0] == 0
