"""Schedules of beta and of the learning rate: pure functions of the step, in plain Python.

Open this to add a kind of schedule or a shape of its rise. `python -m training.schedule_plots` draws them as in the
paper's Figures 2 and 7.

Symbols: t step, counted from 1; T total steps of the run; M cycles; R ratio, the share of a cycle in which beta rises;
tau position within a cycle; f the rise, f(0) = 0 and f(R) = 1.

Source: Fu et al. 2019, "Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing", equations 6 and 7.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["constant", "monotonic", "cyclical"]
Shape = Literal["linear", "sigmoid", "cosine", "sigmoid_released"]

FULL = 0.99  # share of `stop` from which beta is full: a rise over a whole cycle ends one step before `stop`

_CYCLIC = frozenset({"cyclical", "cosine_restarts"})


class _Schedule(BaseModel):
    """The division of a run into cycles; the default is the paper's M = 4."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: str
    cycles: int = Field(4, ge=1, description="M, cycles in the run")
    cycle_steps: int | None = Field(
        None, ge=1, description="length of a cycle in steps, in place of T / M; the released dialog code has 5148"
    )

    def check(self, total_steps: int) -> None:
        """Check that the run is long enough for the cycles.

        Raises:
            ValueError: M exceeds T, or T is less than 1; the message gives both.
        """
        if total_steps < 1:
            raise ValueError(f"the total number of steps must be at least 1, but is {total_steps}")
        if self.kind in _CYCLIC and self.cycle_steps is None and self.cycles > total_steps:
            raise ValueError(f"cycles must be at most the total number of steps, {total_steps}, but is {self.cycles}")

    def _tau(self, step: int, total_steps: int, first_step: int = 0) -> float:
        """Equation 7, the position in a cycle; `first_step` is what a cycle's first step counts as."""
        position = (step - 1) % self.cycle_length(total_steps) + first_step
        if self.cycle_steps is not None:
            return position / self.cycle_steps
        # One rounding only, so that tau = R holds exactly if R is the nearest float to the true ratio.
        return position * self.cycles / total_steps

    def cycle_length(self, total_steps: int) -> int:
        """Steps of a cycle; the last one may have fewer."""
        return self.cycle_steps or -(-total_steps // self.cycles)


class BetaSchedule(_Schedule):
    """The weight of the KL term at each step; the defaults are the paper's.

    `cycles` and `cycle_steps` apply to the cyclical kind only, `warmup_steps` to the monotonic one only. So a
    comparison of the two changes only `kind`. The released dialog code corresponds, for either kind, to
    `BetaSchedule(kind=..., cycle_steps=5148, ratio=2 / 3, warmup_steps=10_000, first_step=1)`.
    """

    kind: Kind = Field(
        "cyclical",
        description="constant: `stop` throughout; monotonic: one rise, the cyclical schedule with M = 1; "
        "cyclical: a rise in each cycle",
    )
    shape: Shape = Field(
        "linear",
        description="f, the form of the rise; sigmoid is scaled to meet f(0) = 0 and f(R) = 1, sigmoid_released is "
        "the released code's, which runs from 0.0025 to 0.9975",
    )
    ratio: float = Field(
        0.5, ge=0, le=1, description="R, share of a cycle (of the run, if monotonic) in which beta rises; 0 is constant"
    )
    hold: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of a cycle (of the run, if monotonic) at `start` before the rise, as Li et al. (2020, "
        "Optimus) have it",
    )
    start: float = Field(0.0, ge=0, description="beta where a rise starts")
    stop: float = Field(1.0, ge=0, description="beta where a rise stops")
    warmup_steps: int | None = Field(
        None, ge=1, description="steps of the monotonic rise, in place of R T; the released dialog code has 10,000"
    )
    first_step: int = Field(
        0, ge=0, le=1, description="what a cycle's first step counts as: 0 as in equation 7, 1 as in the released code"
    )

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.start > self.stop:
            raise ValueError(f"start must be at most stop, {self.stop:g}, but is {self.start:g}")
        if self.hold and self.hold + self.ratio > 1:
            raise ValueError(f"hold and ratio must together be at most 1, but are {self.hold:g} and {self.ratio:g}")
        return self


class LearningRateSchedule(_Schedule):
    """The learning rate at each step, independent of beta's schedule.

    The released code also restarts the learning rate in its cyclical runs, and keeps it constant in its monotonic runs.
    Here that needs two fields, `BetaSchedule.kind` and this `kind`.
    """

    kind: Literal["constant", "linear", "cosine_restarts"] = Field(
        "constant",
        description="constant: `peak` throughout; linear: from `peak` towards 0 over the run; cosine_restarts: from "
        "`peak` towards 0 in each cycle",
    )
    peak: float = Field(1e-3, gt=0, description="learning rate of the first step")


def beta(schedule: BetaSchedule, step: int, total_steps: int) -> float:
    """The weight of the KL term at a step.

    Equations 6 and 7: f(tau) for tau <= R, else 1, with tau = mod(t - 1, ceil(T / M)) / (T / M); then scaled to run
    from `start` to `stop`. Where M does not divide T the ceiling makes the last cycle shorter than the others, and may
    leave out last cycles if T is not much more than M^2: T = 101 and M = 20 give 17.
    R = 0 is the constant schedule; equation 6 would give 0 / 0 at a cycle's first step. With `hold`, h, beta is `start`
    while tau < h, and f(tau - h) after that.

    Args:
        schedule: kind, shape and cycles.
        step: t, from 1 to `total_steps`.
        total_steps: T.

    Raises:
        ValueError: the step is outside 1..T, or the run is too short for the cycles.
    """
    _check_step(schedule, step, total_steps)
    tau, ratio = _rise(schedule, step, total_steps)
    if schedule.kind == "constant":
        return schedule.stop
    if tau < 0:
        return schedule.start
    if ratio == 0 or tau > ratio:
        return schedule.stop
    share = _SHAPES[schedule.shape](tau / ratio)
    value = (1 - share) * schedule.start + share * schedule.stop
    return min(max(value, schedule.start), schedule.stop)


def greatest_beta(schedule: BetaSchedule, total_steps: int) -> float:
    """The greatest beta of a run: that of its last step, or of the last step of its first cycle.

    Raises:
        ValueError: the run is too short for the cycles.
    """
    last = min(total_steps, schedule.cycle_length(total_steps)) if schedule.kind == "cyclical" else total_steps
    return beta(schedule, last, total_steps)


def rises_fully(schedule: BetaSchedule, total_steps: int) -> bool:
    """Whether beta is full at some step of a run; false if the run is too short for the cycles."""
    try:
        return is_full(schedule, greatest_beta(schedule, total_steps))
    except ValueError:
        return False


def is_full(schedule: BetaSchedule, value: float) -> bool:
    """Whether this beta of the schedule is at the end of its rise."""
    return value >= FULL * schedule.stop


def learning_rate(schedule: LearningRateSchedule, step: int, total_steps: int) -> float:
    """The learning rate at a step.

    cosine_restarts: peak / 2 (1 + cos(pi tau)) with tau of equation 7, after Loshchilov and Hutter 2017 (SGDR) with
    cycles of equal length and a floor of 0, which is not reached. linear: peak (1 - (t - 1) / T).

    Args:
        schedule: kind, peak and cycles.
        step: t, from 1 to `total_steps`.
        total_steps: T.

    Raises:
        ValueError: the step is outside 1..T, or the run is too short for the cycles.
    """
    _check_step(schedule, step, total_steps)
    if schedule.kind == "constant":
        return schedule.peak
    if schedule.kind == "linear":
        return schedule.peak * (1 - (step - 1) / total_steps)
    return 0.5 * schedule.peak * (1 + math.cos(math.pi * schedule._tau(step, total_steps)))


def _rise(schedule: BetaSchedule, step: int, total_steps: int) -> tuple[float, float]:
    """The position tau and the end of the rise, both counted from the end of `hold`."""
    if schedule.kind == "cyclical":
        return schedule._tau(step, total_steps, schedule.first_step) - schedule.hold, schedule.ratio
    position = step - 1 + schedule.first_step
    if schedule.warmup_steps is not None:
        return (position - schedule.hold * total_steps) / schedule.warmup_steps, 1.0
    return position / total_steps - schedule.hold, schedule.ratio


def _check_step(schedule: _Schedule, step: int, total_steps: int) -> None:
    schedule.check(total_steps)
    if not 1 <= step <= total_steps:
        raise ValueError(f"step must be from 1 to the total number of steps, {total_steps}, but is {step}")


def _linear(x: float) -> float:
    return x


def _sigmoid_released(x: float) -> float:
    return 1 / (1 + math.exp(6 - 12 * x))


def _sigmoid(x: float) -> float:
    low, high = _sigmoid_released(0), _sigmoid_released(1)
    return (_sigmoid_released(x) - low) / (high - low)


def _cosine(x: float) -> float:
    return 0.5 - 0.5 * math.cos(math.pi * x)


# Each takes tau / R, in [0, 1].
_SHAPES: Mapping[Shape, Callable[[float], float]] = {
    "linear": _linear,
    "sigmoid": _sigmoid,
    "cosine": _cosine,
    "sigmoid_released": _sigmoid_released,
}
