"""The choice of one token against a naive walk along the nucleus."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dialog_cvae.engines.base import Floats, Ints, Step
from dialog_cvae.generate.sampling import (
    NUCLEUS_BOUND,
    Forbidden,
    SamplingParameters,
    choose,
    exactly,
    inverse_temperature,
)

FORBIDDEN_LOGIT = np.float32(4.0)  # logit of tokens that a test rules out; the model may find them likely


def chosen(logits: Floats, temperature: float, top_p: float, uniforms: Floats, likeliest: int = 64) -> Ints:
    """The choice from logits that are -inf where a token is forbidden, by way of what an engine would say of them."""
    rules_out = np.isneginf(logits)
    forbidden = Forbidden.of(np.flatnonzero(rules_out.any(axis=0)), logits.shape[1])
    said = np.where(rules_out, FORBIDDEN_LOGIT, logits).astype(np.float32)
    temperatures = np.full(len(logits), temperature)
    sharp = inverse_temperature(temperatures)
    ids = np.argsort(-said, axis=1, kind="stable")[:, :likeliest]
    values = np.take_along_axis(said, ids, axis=1)
    below = said.astype(np.float64) - values[:, :1]
    masses = (np.exp(below * factor).sum(axis=1).astype(np.float32) for factor in (1.0, sharp[:, None]))
    forbids = np.pad(rules_out[:, forbidden.tokens], ((0, 0), (0, 1)))
    parameters = SamplingParameters(temperatures, np.full(len(logits), top_p), uniforms, sharp, forbids)
    return choose(Step(said, np.zeros((len(logits), 1), np.float32), values, ids, *masses), parameters, forbidden)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("top_p", [1.0, 0.75])
@pytest.mark.parametrize("likeliest", [1, 3, 7])
def test_draws_follow_the_distribution(temperature, top_p, likeliest):
    logits = np.array([0.3, -np.inf, 1.9, -0.4, 1.2, 1.2, -6.0], dtype=np.float32)
    probs = softmax(logits.astype(np.float64) / temperature)
    kept = naive_nucleus(probs, top_p)
    expected = np.where(np.isin(np.arange(7), kept), probs, 0.0)
    expected /= expected.sum()
    count = 20_000
    drawn = chosen(
        np.tile(logits, (count, 1)), temperature, top_p, np.random.default_rng(1).random(count, np.float32), likeliest
    )
    observed = np.bincount(drawn, minlength=7)
    possible = expected > 0
    assert observed[~possible].sum() == 0
    chi_squared = ((observed - count * expected)[possible] ** 2 / (count * expected[possible])).sum()
    assert chi_squared < 25  # the 99.9th percentile of 5 degrees of freedom is 20.5


def naive_nucleus(probs: NDArray[np.float64], top_p: float) -> list[int]:
    kept: list[int] = []
    total = 0.0
    for token in sorted(range(len(probs)), key=lambda i: (-probs[i], i)):
        if total >= top_p and top_p < 1:
            break
        kept.append(token)
        total += probs[token]
    return kept


def naive_choice(logits: NDArray[np.float32], temperature: float, top_p: float, uniform: float) -> int:
    """Walk along the nucleus, from the likeliest token on, until the uniform is used up."""
    probs = softmax(logits.astype(np.float64) / temperature)
    order = naive_nucleus(probs, top_p)
    remaining = uniform * sum(probs[i] for i in order)
    for token in order:
        remaining -= probs[token]
        if remaining < 0:
            return token
    raise AssertionError("the uniform is below 1")


SCORES = st.one_of(st.integers(-3, 3).map(float), st.floats(-30, 30, width=32), st.just(-np.inf))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    scores=st.lists(SCORES, min_size=1, max_size=40).filter(lambda s: max(s) > -np.inf),
    copies=st.sampled_from([1, 1, 1, 20]),
    temperature=st.sampled_from([0.05, 0.5, 1.0, 10.0]),
    top_p=st.one_of(st.floats(1e-9, 1.0), st.sampled_from([1e-300, 0.25, 0.5, 0.9, 1.0])),
    uniform=st.floats(0, 1, exclude_max=True, width=32),
    likeliest=st.sampled_from([1, 2, 3, 8, 1000]),
)
def test_the_choice_equals_the_naive_one(scores, copies, temperature, top_p, uniform, likeliest):
    logits = np.tile(np.array(scores, dtype=np.float32), copies)
    token = int(chosen(logits[None], temperature, top_p, np.array([uniform], np.float32), likeliest)[0])
    assert logits[token] > -np.inf
    expected = naive_choice(logits, temperature, top_p, float(uniform))
    if token != expected:  # only rounding at a border between two tokens may decide otherwise
        shifted = {naive_choice(logits, temperature, p, u) for p, u in borders(top_p, float(uniform))}
        assert token in shifted


def borders(top_p: float, uniform: float) -> list[tuple[float, float]]:
    error = 1e-6  # sums are in single precision
    uniforms = [max(0.0, uniform - error), uniform, min(1 - error, uniform + error)]
    return [(p, u) for p in (top_p - error, top_p, min(1.0, top_p + error)) for u in uniforms if p > 0]


def test_a_nucleus_may_be_larger_than_what_is_sorted_at_first():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((8, 4 * NUCLEUS_BOUND), dtype=np.float32)
    uniforms = np.linspace(0.05, 0.999, 8, dtype=np.float32)
    for top_p in (0.2, 0.9, 0.999):
        expected = [naive_choice(row, 1.5, top_p, float(u)) for row, u in zip(logits, uniforms, strict=True)]
        assert chosen(logits, 1.5, top_p, uniforms).tolist() == expected


def test_of_equally_likely_tokens_those_with_the_lowest_ids_are_the_nucleus():
    size = 4 * NUCLEUS_BOUND
    logits = np.zeros((1000, size), dtype=np.float32)
    uniforms = np.linspace(0, 1, 1000, endpoint=False, dtype=np.float32)
    for top_p in (0.1, 0.5):
        drawn = chosen(logits, 1.0, top_p, uniforms)
        assert drawn.min() == 0
        assert drawn.max() == math.ceil(top_p * size) - 1
        assert (np.diff(drawn) >= 0).all()


def test_a_tiny_nucleus_is_greedy_even_among_ties():
    rng = np.random.default_rng(0)
    logits = rng.integers(-2, 3, (50, 1000)).astype(np.float32)
    uniforms = rng.random(50, dtype=np.float32)
    np.testing.assert_array_equal(chosen(logits, 1.0, 1e-300, uniforms), logits.argmax(axis=1))
    np.testing.assert_array_equal(chosen(logits, 0.0, 1.0, uniforms), logits.argmax(axis=1))


@pytest.mark.parametrize("uniform", [0.0, np.nextafter(np.float32(1), np.float32(0))])
@pytest.mark.parametrize("top_p", [0.5, 0.999999, 1.0])
def test_the_extreme_uniforms_draw_possible_tokens(uniform, top_p):
    logits = np.full((1, 600), -np.inf, dtype=np.float32)
    logits[0, [3, 5, 300, 590]] = [0.0, 1.0, 2.0, -60.0]
    (token,) = chosen(logits, 1.0, top_p, np.array([uniform], np.float32))
    assert token in (3, 5, 300, 590)


def test_extreme_logits_do_not_overflow():
    logits = np.array([[3e38, -3e38, 0.0], [-3e38, -3e38, -np.inf]], dtype=np.float32)
    for temperature in (0.0, 0.01, 10.0):
        first, second = chosen(logits, temperature, 0.9, np.array([0.5, 0.9], np.float32))
        assert first == 0
        assert second in (0, 1)


def test_all_logits_decide_where_the_likeliest_tokens_do_not(monkeypatch):
    """And only there."""
    looked: list[int] = []

    def spied(logits: Floats, *way: float) -> int:
        looked.append(int(logits.argmax()))
        return exactly(logits, *way)

    monkeypatch.setattr("dialog_cvae.generate.sampling.exactly", spied)
    logits = np.full((3, 50), -1.0, dtype=np.float32)
    logits[0, 10] = 30.0  # certain; the second is flat; of the third all likely tokens are forbidden
    logits[1, 20] = 1.0
    logits[2] = np.linspace(3.0, 2.0, 50)
    logits[2, :5] = -np.inf
    half = np.full(3, 0.5, np.float32)
    assert chosen(logits, 1.0, 0.9, half, likeliest=4)[0] == 10
    assert looked == [20, 5]
    assert chosen(logits, 0.0, 1.0, half, likeliest=4).tolist() == [10, 20, 5]
    assert looked == [20, 5, 5]


def test_forbidden_tokens_are_found_whatever_their_order():
    forbidden = Forbidden.of((7, 0, 3, 7), 9)
    assert forbidden.tokens.tolist() == [0, 3, 7]
    assert forbidden.column.tolist() == [0, 3, 3, 1, 3, 3, 3, 2, 3]
