"""Effects, on scores whose contrasts are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eval.measures import Measure
from eval.metrics.significance import holm, paired_bootstrap
from eval.score_thresholds import FEW
from experiments.framework.effects import Contrast, Square, effects

CONVERSATIONS = [f"c{i // 3}" for i in range(36)]
KL = Measure("kl", "KL", 3)
CELLS = Square("m", "c", "m-cyclical", "c-cyclical")
C_LESS_M = Contrast("", {"c": 1.0, "m": -1.0})


def scores(values: dict[str, float], seeds: tuple[int, ...] = (0, 1)) -> dict[str, Any]:
    """Scores of 36 contexts that a row's value raises, with noise that all rows share and a shift by the seed."""
    noise = np.random.default_rng(0).standard_normal(36)
    return {key: {s: {"kl": value + noise + 0.1 * s} for s in seeds} for key, value in values.items()}


# With a score of 1 + 2 [first] + 3 [second] + 5 [both] every contrast is known.
VALUES = {CELLS.neither: 1.0, CELLS.first: 3.0, CELLS.second: 4.0, CELLS.both: 11.0}
EXPECTED = {
    "together": 10,
    "first_alone": 2,
    "first_given_second": 7,
    "main_first": 4.5,
    "main_second": 5.5,
    "interaction": 5,
}


@pytest.mark.parametrize(("question", "expected"), EXPECTED.items())
def test_the_weights_recover_known_effects(question: str, expected: float) -> None:
    weights = getattr(CELLS, question)
    assert sum(weights.values()) == 0
    (effect,) = effects(Contrast(question, weights), scores(VALUES), [KL], CONVERSATIONS)
    tested = effect.over_conversations
    assert tested is not None
    assert effect.mean == pytest.approx(expected)
    assert (tested.low, tested.high) == pytest.approx((effect.mean, effect.mean))  # the noise is shared
    assert effect.over_seeds.mean == pytest.approx(effect.mean)
    assert effect.over_seeds.half == pytest.approx(0, abs=1e-9)
    assert (tested.contexts, effect.measure) == (36, KL)


@pytest.mark.parametrize(("question", "expected"), EXPECTED.items())
def test_figures_without_contexts_have_the_same_effects_over_seeds(question: str, expected: float) -> None:
    figures = {key: {seed: {"kl": value + seed} for seed in (0, 1, 2)} for key, value in VALUES.items()}
    (effect,) = effects(Contrast(question, getattr(CELLS, question)), figures, [KL, Measure("elbo", "ELBO", 2)])
    assert (effect.mean, effect.over_seeds.mean, effect.over_seeds.n) == (expected, expected, 3)
    assert effect.over_conversations is None


def test_seeds_are_averaged_before_the_test_and_only_common_ones_count():
    rng = np.random.default_rng(1)
    found = {
        "m": {s: {"kl": rng.random(36)} for s in (0, 1, 2)},
        "c": {s: {"kl": rng.random(36)} for s in (1, 2, 5)},
    }
    (effect,) = effects(C_LESS_M, found, [KL], CONVERSATIONS, seed=4)
    per_seed = np.array([found["c"][s]["kl"] - found["m"][s]["kl"] for s in (1, 2)])
    tested = effect.over_conversations
    assert (effect.mean, tested.low, tested.high, tested.p) == paired_bootstrap(
        per_seed.mean(axis=0), CONVERSATIONS, seed=4
    )
    assert effect.over_seeds.n == 2
    assert effect.over_seeds.mean == pytest.approx(per_seed.mean())


@pytest.mark.parametrize("found", [{"m": {0: {"kl": 1.0}}, "c": {1: {"kl": 1.0}}}, {"c": {0: {"kl": 1.0}}}, {}])
def test_rows_without_a_common_seed_have_no_effect(found):
    assert effects(C_LESS_M, found, [KL]) == []


def test_a_context_that_one_row_has_no_score_of_takes_no_part():
    found = scores({"m": 0.0, "c": 1.0})
    found["m"][1]["kl"][:4] = np.nan
    found["c"][0]["kl"][35] = np.nan
    (effect,) = effects(C_LESS_M, found, [KL], CONVERSATIONS)
    assert (effect.over_conversations.contexts, effect.mean) == (31, pytest.approx(1.0))
    found["m"][0]["kl"][4:] = np.nan  # now no row has what another has
    assert effects(C_LESS_M, found, [KL], CONVERSATIONS) == []


@pytest.mark.parametrize(("count", "is_tested"), [(FEW - 1, False), (FEW, True)])
def test_few_conversations_have_an_effect_but_no_test(count: int, is_tested: bool) -> None:
    names = [f"c{i % count}" for i in range(36)]
    (effect,) = effects(C_LESS_M, scores({"m": 0.0, "c": 1.0}), [KL], names)
    assert (effect.mean, effect.over_seeds.mean) == pytest.approx((1.0, 1.0))
    assert (effect.over_conversations is not None) == is_tested


def test_holm_is_over_the_measures_that_all_rows_have():
    rng = np.random.default_rng(2)
    names = ("kl", "a_bow.recall", "distinct_replies")
    found = {key: {0: {name: rng.random(36) + i * (key == "c") for i, name in enumerate(names)}} for key in ("m", "c")}
    found["c"][0]["elbo"] = rng.random(36)
    measures = [Measure(name, name, 3) for name in ("elbo", *names, "nothing")]
    result = effects(C_LESS_M, found, measures, CONVERSATIONS)
    assert [effect.measure.name for effect in result] == list(names)
    tests = [effect.over_conversations for effect in result]
    assert [test.adjusted for test in tests] == holm([test.p for test in tests])
    assert all(effect.over_seeds.half is None for effect in result)  # one seed
