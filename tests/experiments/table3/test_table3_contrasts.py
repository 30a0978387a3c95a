"""What changes from M to C, on scores whose contrasts are known."""

from __future__ import annotations

import numpy as np
import pytest

from eval.measures import Measure
from eval.metrics.significance import holm, paired_bootstrap
from experiments.table3.cells import Variant
from experiments.table3.contrasts import TESTED, Contrast, contrasts, effects

M, C = "monotonic", "cyclical"
CONSTANT, COSINE = "constant", "cosine_restarts"
ALL = [Variant(bow, schedule, rate) for bow in (False, True) for schedule in (M, C) for rate in (CONSTANT, COSINE)]
CONVERSATIONS = [f"c{i // 3}" for i in range(12)]
KL = Measure("kl", "KL", 3)


def scores(values: dict[Variant, float], seeds: tuple[int, ...] = (0, 1)) -> dict:
    """Scores of 12 contexts that a cell's value raises, with noise that all cells share and a shift by the seed."""
    noise = np.random.default_rng(0).standard_normal(12)
    return {variant: {s: {"kl": value + noise + 0.1 * s} for s in seeds} for variant, value in values.items()}


def test_all_six_questions_for_both_models():
    found = contrasts(ALL)
    assert len(found) == len({one.name for one in found}) == 12
    for contrast in found:
        assert sum(contrast.weights.values()) == 0
        assert {variant.bow for variant in contrast.weights} == {contrast.name.startswith("CVAE+BoW")}
    diagonal = contrasts([variant for variant in ALL if variant.on_diagonal])
    assert [one.name for one in diagonal] == [
        "CVAE: the paper's C - M: β and η together",
        "CVAE+BoW: the paper's C - M: β and η together",
    ]
    assert contrasts(ALL[:1]) == []


def test_the_weights_recover_known_effects():
    """With a score of 1 + 2 [C] + 3 [cosine] + 5 [both] every contrast is known."""

    def score(v: Variant) -> float:
        return 1 + 2 * (v.schedule == C) + 3 * (v.rate == COSINE) + 5 * (v.schedule == C and v.rate == COSINE)

    expected = {
        "the paper's C - M: β and η together": 10,
        "C - M of β, constant η": 2,
        "C - M of β, cyclical η": 7,
        "main effect of β": 4.5,
        "main effect of η": 5.5,
        "interaction of β and η": 5,
    }
    for contrast in contrasts(ALL):
        (effect,) = effects(contrast, scores({v: score(v) for v in ALL}), CONVERSATIONS, measures=[KL])
        assert effect.mean == pytest.approx(expected[contrast.name.split(": ", 1)[1]])
        assert (effect.low, effect.high) == pytest.approx((effect.mean, effect.mean))  # the noise is shared
        assert effect.over_seeds.mean == pytest.approx(effect.mean)
        assert effect.over_seeds.half == pytest.approx(0, abs=1e-9)
        assert (effect.contexts, effect.measure) == (12, KL)


def test_seeds_are_averaged_before_the_test_and_only_common_ones_count():
    m, c = Variant(False, M, CONSTANT), Variant(False, C, CONSTANT)
    rng = np.random.default_rng(1)
    found = {m: {s: {"kl": rng.random(12)} for s in (0, 1, 2)}, c: {s: {"kl": rng.random(12)} for s in (1, 2, 5)}}
    (effect,) = effects(Contrast("", {c: 1.0, m: -1.0}), found, CONVERSATIONS, measures=[KL], seed=4)
    per_seed = np.array([found[c][s]["kl"] - found[m][s]["kl"] for s in (1, 2)])
    tested = paired_bootstrap(per_seed.mean(axis=0), CONVERSATIONS, seed=4)
    assert (effect.mean, effect.low, effect.high, effect.p) == tested
    assert effect.over_seeds.n == 2
    assert effect.over_seeds.mean == pytest.approx(per_seed.mean())
    assert effects(Contrast("", {c: 1.0, m: -1.0}), {m: {0: {}}, c: {1: {}}}, CONVERSATIONS) == []


def test_a_context_that_one_cell_has_no_score_of_takes_no_part():
    m, c = Variant(False, M, CONSTANT), Variant(False, C, CONSTANT)
    found = scores({m: 0.0, c: 1.0})
    found[m][1]["kl"][:4] = np.nan
    found[c][0]["kl"][11] = np.nan
    (effect,) = effects(Contrast("", {c: 1.0, m: -1.0}), found, CONVERSATIONS, measures=[KL])
    assert (effect.contexts, effect.mean) == (7, pytest.approx(1.0))
    found[m][0]["kl"][3:] = np.nan  # one conversation is left, and none that all have
    assert effects(Contrast("", {c: 1.0, m: -1.0}), found, CONVERSATIONS, measures=[KL]) == []


def test_holm_is_over_the_measures_that_are_there():
    rng = np.random.default_rng(2)
    m, c = Variant(False, M, CONSTANT), Variant(False, C, CONSTANT)
    names = ("kl", "a_bow.recall", "distinct_replies")
    found = {v: {0: {name: rng.random(12) + i * (v == c) for i, name in enumerate(names)}} for v in (m, c)}
    result = effects(Contrast("", {c: 1.0, m: -1.0}), found, CONVERSATIONS)
    assert [effect.measure.name for effect in result] == [one.name for one in TESTED if one.name in names]
    assert [effect.adjusted for effect in result] == holm([effect.p for effect in result])
    assert all(effect.over_seeds.half is None for effect in result)  # one seed
