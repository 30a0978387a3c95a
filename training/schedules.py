"""Schedules of beta and of the learning rate: pure functions of the step, in plain Python.

Symbols: t step, counted from 1; T total steps of the run; M cycles; R ratio, the share of a cycle in which beta rises;
tau position within a cycle; f the rise, f(0) = 0 and f(R) = 1.

Source: Fu et al. 2019, "Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing", equations 6 and 7.
`python -m training.schedules` draws them as the paper's Figures 2 and 7.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pydantic_core import ErrorDetails

Kind = Literal["constant", "monotonic", "cyclical"]
Shape = Literal["linear", "sigmoid", "cosine", "sigmoid_released"]

_CYCLIC = frozenset({"cyclical", "cosine_restarts"})
_MAX_DRAWN_STEPS = 4_000


class _Schedule(BaseModel):
    """How a run is divided into cycles; the default is the paper's M = 4."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: str
    cycles: int = Field(4, ge=1, description="M, cycles in the run")
    cycle_steps: int | None = Field(
        None, ge=1, description="length of a cycle in steps, in place of T / M; the released dialog code has 5148"
    )

    def check(self, total_steps: int) -> None:
        """Refuse a run too short for the cycles.

        Raises:
            ValueError: M exceeds T, or T is less than 1; the message gives both.
        """
        if total_steps < 1:
            raise ValueError(f"the total number of steps must be at least 1, but is {total_steps}")
        if self.kind in _CYCLIC and self.cycle_steps is None and self.cycles > total_steps:
            raise ValueError(f"cycles must be at most the total number of steps, {total_steps}, but is {self.cycles}")

    def _tau(self, step: int, total_steps: int, first_step: int = 0) -> float:
        """Equation 7, the position in a cycle; `first_step` is what a cycle's first step counts as."""
        if self.cycle_steps is not None:
            return ((step - 1) % self.cycle_steps + first_step) / self.cycle_steps
        restart = -(-total_steps // self.cycles)
        # One rounding only, so that tau = R is met exactly wherever R is the nearest float to the true ratio.
        return ((step - 1) % restart + first_step) * self.cycles / total_steps


class BetaSchedule(_Schedule):
    """The weight of the KL term at each step; the defaults are the paper's.

    `cycles` and `cycle_steps` matter to the cyclical kind, `warmup_steps` to the monotonic one, so that one set of
    fields describes a comparison in which only `kind` changes. The released dialog code is, for either kind,
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
        return self


class LearningRateSchedule(_Schedule):
    """The learning rate at each step: a schedule of its own, never moved by beta's.

    The released code also restarts the learning rate in its cyclical runs and leaves it constant in its monotonic
    ones; here that takes two fields, `BetaSchedule.kind` and this `kind`.
    """

    kind: Literal["constant", "cosine_restarts"] = Field(
        "constant", description="constant: `peak` throughout; cosine_restarts: from `peak` towards 0 in each cycle"
    )
    peak: float = Field(1e-3, gt=0, description="learning rate of the first step")


def beta(schedule: BetaSchedule, step: int, total_steps: int) -> float:
    """The weight of the KL term at a step.

    Equations 6 and 7: f(tau) for tau <= R, else 1, with tau = mod(t - 1, ceil(T / M)) / (T / M); then scaled to run
    from `start` to `stop`. Where M does not divide T the ceiling makes the last cycle shorter than the others.
    R = 0, for which equation 6 leaves 0 / 0 at a cycle's first step, is the constant schedule.

    Args:
        schedule: kind, shape and cycles.
        step: t, from 1 to `total_steps`.
        total_steps: T.

    Raises:
        ValueError: the step is outside 1..T, or the run is too short for the cycles.
    """
    _check_step(schedule, step, total_steps)
    tau, ratio = _rise(schedule, step, total_steps)
    if schedule.kind == "constant" or ratio == 0 or tau > ratio:
        return schedule.stop
    share = _SHAPES[schedule.shape](tau / ratio)
    value = (1 - share) * schedule.start + share * schedule.stop
    return min(max(value, schedule.start), schedule.stop)


def learning_rate(schedule: LearningRateSchedule, step: int, total_steps: int) -> float:
    """The learning rate at a step.

    cosine_restarts: peak / 2 (1 + cos(pi tau)) with tau of equation 7, after Loshchilov and Hutter 2017 (SGDR) with
    cycles of equal length and a floor of 0, which is not reached.

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
    return 0.5 * schedule.peak * (1 + math.cos(math.pi * schedule._tau(step, total_steps)))


def _rise(schedule: BetaSchedule, step: int, total_steps: int) -> tuple[float, float]:
    """The position tau, and the one at which the rise ends."""
    if schedule.kind == "cyclical":
        return schedule._tau(step, total_steps, schedule.first_step), schedule.ratio
    position = step - 1 + schedule.first_step
    if schedule.warmup_steps is not None:
        return position / schedule.warmup_steps, 1.0
    return position / total_steps, schedule.ratio


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


def draw(
    panels: Sequence[Sequence[BetaSchedule]], rates: Sequence[LearningRateSchedule], total_steps: int, path: Path
) -> None:
    """Draw a grid of beta schedules, one panel each, above a panel of learning rates.

    Args:
        panels: rows of equally many schedules.
        rates: learning rates, drawn over each other.
        total_steps: T.
        path: file to write or to replace, in an existing or new folder; its suffix is the format (.png, .pdf, .svg).

    Raises:
        ValueError: a schedule does not fit `total_steps`, or the format is unknown.
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # slow to import, and only drawing needs it
    from matplotlib.ticker import EngFormatter

    for schedule in (*(schedule for row in panels for schedule in row), *rates):
        schedule.check(total_steps)
    steps = range(1, total_steps + 1, -(-total_steps // _MAX_DRAWN_STEPS))
    rows, columns = len(panels), len(panels[0])
    figure = Figure(figsize=(3.6 * columns, 1.9 * (rows + 1)), layout="constrained")
    grid = figure.add_gridspec(rows + 1, columns)
    for i, row in enumerate(panels):
        for j, schedule in enumerate(row):
            axes = figure.add_subplot(grid[i, j])
            axes.plot(steps, [beta(schedule, t, total_steps) for t in steps], color="tab:red")
            axes.set(ylabel=r"$\beta$", ylim=(-0.05 * schedule.stop, 1.1 * schedule.stop or 1))
            axes.set_title(_title(schedule), fontsize="medium")
    axes = figure.add_subplot(grid[rows, :])
    for rate in rates:
        axes.plot(steps, [learning_rate(rate, t, total_steps) for t in steps], label=rate.kind.replace("_", " "))
    axes.set(ylabel=r"$\eta$", xlabel="step")
    axes.set_title("learning rate", fontsize="medium")
    axes.ticklabel_format(axis="y", scilimits=(-2, 2))
    figure.legend(loc="outside lower center", ncols=len(rates))
    for axes in figure.axes:
        axes.set_xlim(0, total_steps)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(alpha=0.3)
    _save(figure, path)


def _title(schedule: BetaSchedule) -> str:
    if schedule.kind == "constant":
        return "constant"
    cycles = f", M = {schedule.cycles}" if schedule.kind == "cyclical" else ""
    return f"{schedule.kind}, {schedule.shape.replace('_', ' ')}{cycles}, R = {schedule.ratio:g}"


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        figure.savefig(unfinished, format=path.suffix[1:] or "png", dpi=130)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _arguments() -> argparse.ArgumentParser:
    from dialog_cvae.cli import Parser

    parser = Parser(
        prog="python -m training.schedules",
        description="Draw the schedules of beta and of the learning rate as in Figures 2 and 7 of Fu et al. 2019.",
        epilog="The defaults are the paper's figure: 40,000 steps, four cycles, beta rising in the first half of each; "
        "the monotonic schedule rises over the first quarter of the run. Example, eight short cycles: "
        "python -m training.schedules --steps 20000 --cycles 8 --ratio 0.8 --out eight.png",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/schedules.png"), help="%(default)s; or .pdf, .svg")
    parser.add_argument("--steps", type=int, default=40_000, help="T, total steps of the run (%(default)s)")
    parser.add_argument("--cycles", type=int, default=4, help="M, number of cycles (%(default)s)")
    parser.add_argument("--ratio", type=float, default=0.5, help="R, share of a cycle with rising beta (%(default)s)")
    parser.add_argument(
        "--monotonic-ratio",
        type=float,
        default=0.25,
        help="R of the monotonic schedule, share of the run (%(default)s)",
    )
    parser.add_argument("--start", type=float, default=0.0, help="beta where a rise starts (%(default)s)")
    parser.add_argument("--stop", type=float, default=1.0, help="beta where a rise stops (%(default)s)")
    parser.add_argument("--peak", type=float, default=1e-3, help="highest learning rate (%(default)s)")
    return parser


def _problem(error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    return f"{error['loc'][0]}: {message}, but is {error['input']}" if error["loc"] else message


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the schedules that the command line asks for; bad arguments exit with status 2 and one line."""
    parser = _arguments()
    args = parser.parse_args(argv)
    common = {"cycles": args.cycles, "start": args.start, "stop": args.stop}
    ratios: Mapping[Kind, float] = {"constant": args.ratio, "monotonic": args.monotonic_ratio, "cyclical": args.ratio}
    shapes: Sequence[Shape] = ("linear", "sigmoid", "cosine")
    try:
        panels = [
            [BetaSchedule(kind=kind, shape=shape, ratio=ratio, **common) for kind, ratio in ratios.items()]
            for shape in shapes
        ]
        rates = [
            LearningRateSchedule(kind="constant", peak=args.peak),
            LearningRateSchedule(kind="cosine_restarts", peak=args.peak, cycles=args.cycles),
        ]
        draw(panels, rates, args.steps, args.out)
    except ModuleNotFoundError as error:
        parser.exit(2, f"error: drawing needs {error.name}: pip install 'dialog-cvae[train]'\n")
    except ValidationError as error:
        parser.exit(2, f"error: {'; '.join(map(_problem, error.errors()))}\n")
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
