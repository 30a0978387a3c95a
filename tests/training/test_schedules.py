"""Schedules against the paper's equations 6 and 7, written-out values and the released code's behaviour."""

import json
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from training.schedules import BetaSchedule, LearningRateSchedule, beta, greatest_beta, learning_rate, rises_fully

SHAPES = ("linear", "sigmoid", "cosine")
RELEASED = {"cycle_steps": 5148, "ratio": 2 / 3, "warmup_steps": 10_000, "first_step": 1}

derandomized = settings(derandomize=True, deadline=None, max_examples=150)
runs = st.integers(1, 12).flatmap(lambda cycles: st.tuples(st.just(cycles), st.integers(cycles, 400)))
ratios = st.floats(0, 1)
shapes = st.sampled_from((*SHAPES, "sigmoid_released"))


def values(schedule: BetaSchedule, total: int) -> list[float]:
    return [beta(schedule, step, total) for step in range(1, total + 1)]


def rates(schedule: LearningRateSchedule, total: int) -> list[float]:
    return [learning_rate(schedule, step, total) for step in range(1, total + 1)]


def test_defaults_are_the_papers():
    schedule = BetaSchedule()
    assert (schedule.kind, schedule.shape, schedule.cycles, schedule.ratio) == ("cyclical", "linear", 4, 0.5)
    assert (schedule.start, schedule.stop, schedule.cycle_steps, schedule.warmup_steps) == (0, 1, None, None)
    assert LearningRateSchedule().kind == "constant"


def test_two_linear_cycles_written_out():
    one = [0, 0.25, 0.5, 0.75, 1, 1, 1, 1]
    assert values(BetaSchedule(cycles=2), 16) == one + one


def test_a_hold_written_out():
    schedule = BetaSchedule(cycles=2, hold=0.4, ratio=0.4, start=0.2)
    one = [0.2] * 5 + [0.4, 0.6, 0.8, 1.0, 1.0]
    assert values(schedule, 20) == pytest.approx(one + one)
    assert values(schedule.model_copy(update={"kind": "monotonic"}), 10) == pytest.approx(one)
    assert values(BetaSchedule(kind="monotonic", hold=0.25, warmup_steps=2), 8) == [0, 0, 0, 0.5, 1, 1, 1, 1]
    assert values(BetaSchedule(cycles=1, hold=0.5, ratio=0), 4) == [0, 0, 1, 1]
    assert values(BetaSchedule(kind="constant", hold=0.5), 2) == [1, 1]


def test_hold_and_rise_fit_into_a_cycle():
    with pytest.raises(ValidationError, match=r"hold and ratio must together be at most 1, but are 0\.6 and 0\.5"):
        BetaSchedule(hold=0.6)


def test_a_linear_fall_of_the_learning_rate_written_out():
    assert rates(LearningRateSchedule(kind="linear", peak=2.0, cycles=9), 4) == [2.0, 1.5, 1.0, 0.5]


def test_shapes_written_out():
    # Five steps of the rise, tau / R = 0, 1/4, 1/2, 3/4, 1; s is the logistic function of 12 tau / R - 6.
    s = [1 / (1 + math.exp(-x)) for x in (-6, -3, 0, 3, 6)]
    expected = {
        "linear": [0, 0.25, 0.5, 0.75, 1],
        "cosine": [0, (1 - math.sqrt(0.5)) / 2, 0.5, (1 + math.sqrt(0.5)) / 2, 1],
        "sigmoid": [0, (s[1] - s[0]) / (s[4] - s[0]), 0.5, (s[3] - s[0]) / (s[4] - s[0]), 1],
        "sigmoid_released": [0.0024726231566347743, 0.04742587317756678, 0.5, 0.9525741268224334, 0.9975273768433653],
    }
    for shape, rise in expected.items():
        found = values(BetaSchedule(shape=shape, cycles=1), 8)
        assert found[:5] == pytest.approx(rise, abs=1e-12), shape
        assert found[5:] == [1, 1, 1], shape


def test_figure_2():
    cyclical = BetaSchedule()
    steps = (1, 2501, 5000, 5001, 10_000, 10_001, 12_501, 40_000)
    assert [beta(cyclical, t, 40_000) for t in steps] == pytest.approx([0, 0.5, 0.9998, 1, 1, 0, 0.5, 1], abs=1e-12)
    monotonic = BetaSchedule(kind="monotonic", ratio=0.25)
    steps = (1, 5001, 10_000, 10_001, 40_000)
    assert [beta(monotonic, t, 40_000) for t in steps] == pytest.approx([0, 0.5, 0.9999, 1, 1], abs=1e-12)
    assert set(values(BetaSchedule(kind="constant"), 50)) == {1.0}


def test_cycles_that_do_not_divide_the_run_restart_at_the_ceiling():
    # T = 10, M = 4: restarts every ceil(2.5) = 3 steps, tau = 0, 0.4, 0.8 and a last cycle of one step.
    assert values(BetaSchedule(cycles=4), 10) == pytest.approx([0, 0.8, 1] * 3 + [0])


@pytest.mark.parametrize("shape", [*SHAPES, "sigmoid_released"])
def test_ratio_0_equals_constant(shape):
    for cycles in (1, 3, 4):
        assert values(BetaSchedule(shape=shape, cycles=cycles, ratio=0, start=0.2, stop=0.7), 12) == [0.7] * 12
    assert values(BetaSchedule(kind="monotonic", shape=shape, ratio=0), 12) == [1.0] * 12
    assert values(BetaSchedule(kind="constant", shape=shape, stop=0.7), 12) == [0.7] * 12


def test_one_cycle_equals_monotonic():
    expected = [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    assert values(BetaSchedule(kind="monotonic", ratio=0.25), 16) == expected
    assert values(BetaSchedule(kind="cyclical", cycles=1, ratio=0.25), 16) == expected
    assert values(BetaSchedule(kind="monotonic", ratio=0.25, cycles=4), 16) == expected


def test_start_and_stop():
    assert values(BetaSchedule(cycles=1, start=0.25, stop=0.5), 8) == [0.25, 0.3125, 0.375, 0.4375, 0.5, 0.5, 0.5, 0.5]
    # The released language model: from 0.1 to 1 in 4.5 of each cycle's 10 epochs (here of 2 batches), 0.1 an epoch.
    ptb = BetaSchedule(cycles=4, ratio=0.45, start=0.1)
    assert values(ptb, 80)[20:32] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1, 1])


def test_beyond_1_and_at_0():
    assert max(values(BetaSchedule(stop=4.0), 40)) == 4.0
    assert set(values(BetaSchedule(stop=0.0), 40)) == {0.0}


def test_released_dialog_code():
    cyclical = BetaSchedule(kind="cyclical", **RELEASED)
    monotonic = BetaSchedule(kind="monotonic", **RELEASED)
    total = 102_960
    written_out = {1: 1 / 3432, 2: 2 / 3432, 1716: 0.5, 3431: 3431 / 3432, 3432: 1, 5148: 1, 5149: 1 / 3432}
    assert {t: beta(cyclical, t, total) for t in written_out} == pytest.approx(written_out, rel=1e-14)
    assert beta(cyclical, 3432, total) == 1
    for t in [*range(1, 11_000, 7), total]:
        assert beta(cyclical, t, total) == pytest.approx(min((((t - 1) % 5148) + 1) / 3432, 1), rel=1e-14)
        assert beta(monotonic, t, total) == min(t / 10_000, 1)
    restarts = LearningRateSchedule(kind="cosine_restarts", cycle_steps=5148)
    written_out = {1: 1e-3, 2575: 0.5e-3, 5149: 1e-3, 5148: 0.5e-3 * (1 + math.cos(math.pi * 5147 / 5148))}
    assert {t: learning_rate(restarts, t, total) for t in written_out} == pytest.approx(written_out, rel=1e-12)


def test_released_values_apply_in_a_run_shorter_than_a_cycle():
    assert values(BetaSchedule(**RELEASED), 3) == pytest.approx([1 / 3432, 2 / 3432, 3 / 3432])
    assert values(BetaSchedule(kind="monotonic", **RELEASED), 2) == [1e-4, 2e-4]


def test_learning_rates_written_out():
    assert rates(LearningRateSchedule(peak=0.5), 3) == [0.5, 0.5, 0.5]
    root = math.sqrt(0.5)
    cycle = [2, 1 + root, 1, 1 - root]
    assert rates(LearningRateSchedule(kind="cosine_restarts", peak=2, cycles=2), 8) == pytest.approx(cycle + cycle)


def published_array(start: float, stop: float, steps: int, cycles: int, ratio: float) -> list[float]:
    """What the released plotting function is documented to return, in exact arithmetic: an array over steps.

    Each cycle starts at `start` and adds (stop - start) / (period * ratio) until it would pass `stop`; all else is
    `stop`. Its index counts from 0, so that its entry t - 1 is the beta of step t.
    """
    array = [stop] * steps
    period = Fraction(steps, cycles)
    increment = Fraction(stop - start) / (period * Fraction(ratio))
    for cycle in range(cycles):
        value, i = Fraction(start), 0
        while value <= stop and int(i + cycle * period) < steps:
            array[int(i + cycle * period)] = float(value)
            value, i = value + increment, i + 1
    return array


@pytest.mark.parametrize(("steps", "cycles", "ratio"), [(40, 4, 0.5), (40, 1, 0.25), (96, 3, 0.75), (60, 5, 1.0)])
@pytest.mark.parametrize("stop", [1.0, 0.5])
def test_equals_the_published_function(steps, cycles, ratio, stop):
    ours = values(BetaSchedule(cycles=cycles, ratio=ratio, stop=stop), steps)
    assert ours == pytest.approx(published_array(0.0, stop, steps, cycles, ratio), abs=1e-12)


@derandomized
@given(runs, ratios, shapes, st.floats(0, 1), st.floats(0, 1), st.sampled_from(("constant", "monotonic", "cyclical")))
def test_beta_stays_between_start_and_stop(run, ratio, shape, a, b, kind):
    cycles, total = run
    start, stop = sorted((a, b))
    schedule = BetaSchedule(kind=kind, shape=shape, cycles=cycles, ratio=ratio, start=start, stop=stop)
    found = values(schedule, total)
    assert all(start <= value <= stop for value in found)
    assert all(isinstance(value, float) for value in found)


@derandomized
@given(
    runs,
    ratios,
    shapes,
    st.sampled_from(("constant", "monotonic", "cyclical")),
    st.sampled_from(({}, {"cycle_steps": 7}, {"warmup_steps": 90}, {"first_step": 1})),
)
def test_the_greatest_beta_is_that_of_all_steps(run, ratio, shape, kind, fields):
    cycles, total = run
    schedule = BetaSchedule(kind=kind, shape=shape, cycles=cycles, ratio=ratio, start=0.1, stop=0.7, **fields)
    greatest = max(values(schedule, total))
    assert greatest_beta(schedule, total) == greatest
    assert rises_fully(schedule, total) == (greatest >= 0.99 * 0.7)


def test_whether_beta_rises_fully_written_out():
    assert rises_fully(BetaSchedule(cycles=6), 12)
    assert not rises_fully(BetaSchedule(cycles=12), 12)  # 0 in each cycle of one step
    assert not rises_fully(BetaSchedule(cycles=13), 12)
    assert rises_fully(BetaSchedule(ratio=1), 400)  # 0.99 in the last of 100 steps
    assert not rises_fully(BetaSchedule(ratio=1), 396)
    assert rises_fully(BetaSchedule(kind="monotonic", warmup_steps=10), 11)
    assert not rises_fully(BetaSchedule(kind="monotonic", warmup_steps=10), 10)


@derandomized
@given(runs, ratios, shapes)
def test_beta_repeats_and_rises_within_each_cycle(run, ratio, shape):
    cycles, total = run
    found = values(BetaSchedule(cycles=cycles, ratio=ratio, shape=shape), total)
    period = math.ceil(total / cycles)
    for first in range(0, total, period):
        cycle = found[first : first + period]
        assert cycle == found[: len(cycle)]
        assert cycle == sorted(cycle)


@derandomized
@given(st.integers(1, 10), st.integers(1, 60), st.integers(1, 60), st.sampled_from(SHAPES), st.floats(0, 5))
def test_beta_is_exactly_start_at_a_cycles_start_and_stop_at_its_ratio(cycles, rise, rest, shape, stop):
    period = rise + rest
    schedule = BetaSchedule(cycles=cycles, ratio=rise / period, shape=shape, stop=stop)
    for cycle in range(cycles):
        assert beta(schedule, cycle * period + 1, cycles * period) == 0
        assert beta(schedule, cycle * period + 1 + rise, cycles * period) == stop


@derandomized
@given(runs, st.floats(1e-6, 10))
def test_learning_rate_restarts_with_the_cycles_of_beta(run, peak):
    cycles, total = run
    found = rates(LearningRateSchedule(kind="cosine_restarts", cycles=cycles, peak=peak), total)
    period = math.ceil(total / cycles)
    for first in range(0, total, period):
        cycle = found[first : first + period]
        assert cycle[0] == peak
        assert cycle == found[: len(cycle)]
        assert cycle == sorted(cycle, reverse=True)
        assert cycle[-1] > 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ratio": 1.01}, r"ratio\n.*less than or equal to 1 .*input_value=1.01"),
        ({"ratio": -0.1}, r"ratio\n.*greater than or equal to 0 .*input_value=-0.1"),
        ({"ratio": math.nan}, r"ratio\n.*finite"),
        ({"start": math.inf}, r"start\n.*finite"),
        ({"stop": math.inf}, r"stop\n.*finite"),
        ({"start": -1}, r"start\n.*greater than or equal to 0 .*input_value=-1"),
        ({"cycles": 0}, r"cycles\n.*greater than or equal to 1 .*input_value=0"),
        ({"cycle_steps": 0}, r"cycle_steps\n.*greater than or equal to 1"),
        ({"warmup_steps": 0}, r"warmup_steps\n.*greater than or equal to 1"),
        ({"first_step": 2}, r"first_step\n.*less than or equal to 1"),
        ({"start": 0.6, "stop": 0.5}, r"start must be at most stop, 0.5, but is 0.6"),
        ({"kind": "cyclic"}, r"kind\n.*'constant', 'monotonic' or 'cyclical'"),
        ({"shape": "step"}, r"shape\n.*'linear', 'sigmoid', 'cosine' or 'sigmoid_released'"),
        ({"cycels": 4}, r"cycels\n.*not permitted"),
    ],
)
def test_a_wrong_field_is_refused_by_name_limit_and_value(fields, message):
    with pytest.raises(ValidationError, match=message):
        BetaSchedule(**fields)


@pytest.mark.parametrize("fields", [{"peak": 0}, {"peak": math.nan}, {"kind": "cosine"}, {"cycles": 0}])
def test_a_wrong_learning_rate_field_is_refused_by_name(fields):
    with pytest.raises(ValidationError, match=next(iter(fields))):
        LearningRateSchedule(**fields)


def test_schedules_do_not_change_and_survive_json():
    schedule = BetaSchedule(**RELEASED)
    with pytest.raises(ValidationError, match="frozen"):
        schedule.ratio = 0.1
    assert BetaSchedule.model_validate(json.loads(schedule.model_dump_json())) == schedule


@pytest.mark.parametrize("step", [0, -1, 11])
def test_a_step_outside_the_run_is_refused(step):
    message = f"step must be from 1 to the total number of steps, 10, but is {step}"
    with pytest.raises(ValueError, match=message):
        beta(BetaSchedule(), step, 10)
    with pytest.raises(ValueError, match=message):
        learning_rate(LearningRateSchedule(), step, 10)


def test_a_run_shorter_than_its_cycles_is_refused():
    message = "cycles must be at most the total number of steps, 3, but is 4"
    for schedule in (BetaSchedule(), LearningRateSchedule(kind="cosine_restarts")):
        with pytest.raises(ValueError, match=message):
            schedule.check(3)
        with pytest.raises(ValueError, match="at least 1, but is 0"):
            schedule.check(0)
        schedule.check(4)
    with pytest.raises(ValueError, match=message):
        beta(BetaSchedule(), 1, 3)
    for schedule in (BetaSchedule(kind="monotonic"), BetaSchedule(cycle_steps=9), LearningRateSchedule()):
        schedule.check(3)


def test_the_schedules_need_neither_torch_nor_matplotlib():
    code = "import sys, training.schedules as s; s.beta(s.BetaSchedule(), 1, 8); print(*sys.modules)"
    root = Path(__file__).parents[2]
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "matplotlib", "numpy"} & set(loaded)
