"""Kappa, Wilson's interval, the sign-flip test and listening noises, against known examples and other libraries."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from eval.blind.agreement import agreement
from eval.blind.intervals import EXACT, paired_difference, share, sign_flip, wilson
from eval.blind.listening import is_listening_noise
from eval.score_thresholds import FEW


def test_kappa_of_a_known_example():
    """Two readers of 50 proposals: 20 both yes, 15 both no, 5 and 10 differ; p_o .7, p_e .5, kappa .4."""
    first = np.repeat([1.0, 1, 0, 0], [20, 5, 10, 15])
    second = np.repeat([1.0, 0, 1, 0], [20, 5, 10, 15])
    found = agreement(first, second, np.arange(50))
    assert (found.replies, found.percent, found.kappa) == (50, 0.7, pytest.approx(0.4))
    # the large-sample interval is .4 +- 1.96 * sqrt(p_o (1 - p_o) / n) / (1 - p_e) = .4 +- .254
    assert found.low == pytest.approx(0.4 - 0.254, abs=0.03)
    assert found.high == pytest.approx(0.4 + 0.254, abs=0.03)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 1, np.nan]), st.sampled_from([0.0, 1, np.nan])), min_size=1, max_size=30)
)
def test_kappa_is_that_of_scikit_learn(pairs):
    first, second = np.array(pairs).T
    found = agreement(first, second, np.arange(len(first)) // 2)
    known = ~np.isnan(first) & ~np.isnan(second)
    a, b = first[known], second[known]
    assert found.replies == len(a)
    if len(a) == 0:
        assert found.percent is None
        return
    assert found.percent == pytest.approx((a == b).mean())
    if (len(set(a)) == 1 and len(set(b)) == 1 and a[0] == b[0]) or len(a) == 0:
        assert found.kappa is None
    else:
        assert found.kappa == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)


def test_replies_of_one_context_make_the_interval_wider():
    rng = np.random.default_rng(0)
    first = np.repeat(rng.integers(0, 2, 40), 5).astype(float)
    second = np.where(np.repeat(rng.random(40) < 0.2, 5), 1 - first, first)
    nested, alone = (agreement(first, second, contexts) for contexts in (np.arange(200) // 5, np.arange(200)))
    assert nested.kappa == alone.kappa
    assert nested.high - nested.low > 1.5 * (alone.high - alone.low)


def test_wilson_of_known_examples():
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", Table I, method 3
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_a_share_of_yes_and_no_has_wilsons_interval():
    values = np.array([1.0, 0, 0, 0, np.nan] * 3)
    assert share(values, range(15)) == (0.25, *wilson(3, 12), 12)
    assert share(np.zeros(20), range(20)) == (0, *wilson(0, 20), 20)


def test_other_shares_have_the_interval_of_a_bootstrap():
    values = np.array([0.2, 0.4, 0.6, 0.8] * 10)
    found = share(values, range(40))
    error = values.std() / np.sqrt(40)
    assert found.mean == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((0.5 - 1.96 * error, 0.5 + 1.96 * error), abs=0.01)


def test_few_conversations_have_no_interval():
    assert share(np.array([np.nan]), "a") == (None, None, None, 0)
    assert share(np.array([0.4]), "a") == (0.4, None, None, 1)
    assert paired_difference(np.array([1.0]), np.array([np.nan]), "a") == (None, None, None, None, 0)
    assert paired_difference(np.array([1.0]), np.array([0.5]), "a") == (0.5, None, None, 1.0, 1)
    values = np.array([0.0, 1] * 20)
    for few in (FEW - 1, FEW):
        conversations = np.arange(40) % few
        assert (share(values, conversations.tolist()).low is None) == (few < FEW)
        assert (paired_difference(values, 1 - values, conversations.tolist()).low is None) == (few < FEW)
        assert (agreement(values, 1 - values, conversations).low is None) == (few < FEW)


def test_contexts_of_one_conversation_are_no_independent_answers():
    """40 contexts whose answer depends on their conversation alone say as much as 20 contexts of 20 conversations."""
    alone = np.array([1.0] * 8 + [0.0] * 12)
    together, conversations = np.repeat(alone, 2), np.repeat(np.arange(20), 2).tolist()
    found = share(together, conversations)
    error = alone.std() / np.sqrt(20)
    assert (found.low, found.high) == pytest.approx((0.4 - 1.96 * error, 0.4 + 1.96 * error), abs=0.03)
    assert share(np.ones(40), conversations) == (1, *wilson(20, 20), 40)
    difference = paired_difference(together, np.zeros(40), conversations)
    assert (difference.low, difference.high) == pytest.approx((found.low, found.high))
    assert difference.p == sign_flip(2 * alone) == 2 / 2**8
    # the conversation decides, so equal means of conversations say nothing of their spread
    assert share(np.array([0.0, 1] * 20), conversations)[1:3] == (None, None)


def test_an_interval_that_one_answer_decides_is_not_given():
    conversations = np.arange(40)
    none, one = np.zeros(40), np.eye(40)[0]
    assert agreement(one, one, conversations)[1:] == (1, 1, None, None)
    # one yes of both, and one of a single reader: most resamples have a kappa, many have not
    assert agreement(one, one + np.eye(40)[1], conversations)[3:] == (None, None)
    assert agreement(none, one, conversations)[3:] == (None, None)
    often = np.array([0.0, 1] * 20)
    assert agreement(often, np.abs(often - one), conversations).low is not None


def test_differences_are_over_the_contexts_that_both_have():
    first, second = np.tile([1, 1, 0.5, np.nan], 4), np.tile([0, 0.5, 0.5, 1], 4)
    found = paired_difference(first, second, range(16))
    assert (found.mean, found.contexts) == (pytest.approx(0.5), 12)
    assert found.low <= 0.5 <= found.high


@given(st.lists(st.sampled_from([-1.0, -0.4, 0.0, 0.2, 0.6, 1.0]), min_size=1, max_size=8))
def test_the_sign_flip_test_tries_all_signs(differences):
    values = np.array(differences)
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(values))
    ]
    assert sign_flip(values) == pytest.approx(np.mean([total >= abs(values.sum()) - 1e-9 for total in sums]))


def test_the_sign_flip_test_of_many_differences_is_close_to_the_exact_one():
    values = np.array([1.0] * 12 + [-1.0] * 4)
    assert len(values) > EXACT
    exact = 2 * sum(np.array([1, 16, 120, 560, 1820])) / 2**16  # at most 4 of 16 heads, or at least 12
    assert sign_flip(values) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize(
    "text", ["Uh-huh.", "Right.", "I know.", "Yeah, I see.", "That's true.", "Oh, really?", "it is true"]
)
def test_listening_noises(text):
    assert is_listening_noise(text)


@pytest.mark.parametrize("text", ["", "No.", "That.", "I know him.", "Yeah yeah yeah yeah yeah", "It was great.", "?"])
def test_other_replies_are_no_listening_noises(text):
    assert not is_listening_noise(text)
