"""Draws the schedules of beta and of the learning rate: `python -m training.schedule_plots --help`.

Open this to change the figure.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from dialog_cvae.cli import Parser
from dialog_cvae.errors import DialogCvaeError
from dialog_cvae.storage.files import write_atomically
from training.schedules import BetaSchedule, Kind, LearningRateSchedule, Shape, beta, learning_rate

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pydantic_core import ErrorDetails

MAX_DRAWN_STEPS = 4_000


def draw(
    panels: Sequence[Sequence[BetaSchedule]], rates: Sequence[LearningRateSchedule], total_steps: int, path: Path
) -> None:
    """Draw a grid of beta schedules, one panel each, above a panel of learning rates.

    Args:
        panels: rows with equal numbers of schedules.
        rates: learning rates, drawn in one panel.
        total_steps: T.
        path: file to write or to replace, in an existing or new folder; its suffix is the format (.png, .pdf, .svg).

    Raises:
        ValueError: a schedule does not fit `total_steps`, or the format is unknown.
        DialogCvaeError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # slow to import

    for schedule in (*(schedule for row in panels for schedule in row), *rates):
        schedule.check(total_steps)
    steps = range(1, total_steps + 1, -(-total_steps // MAX_DRAWN_STEPS))

    # A panel for each schedule of beta.
    rows, columns = len(panels), len(panels[0])
    figure = Figure(figsize=(3.6 * columns, 1.9 * (rows + 1)), layout="constrained")
    grid = figure.add_gridspec(rows + 1, columns)
    for i, row in enumerate(panels):
        for j, schedule in enumerate(row):
            axes = figure.add_subplot(grid[i, j])
            axes.plot(steps, [beta(schedule, t, total_steps) for t in steps], color="tab:red")
            axes.set(ylabel=r"$\beta$", ylim=(-0.05 * schedule.stop, 1.1 * schedule.stop or 1))
            axes.set_title(_title(schedule), fontsize="medium")

    # One panel for all learning rates.
    axes = figure.add_subplot(grid[rows, :])
    for rate in rates:
        axes.plot(steps, [learning_rate(rate, t, total_steps) for t in steps], label=rate.kind.replace("_", " "))
    axes.set(ylabel=r"$\eta$", xlabel="step")
    axes.set_title("learning rate", fontsize="medium")
    axes.ticklabel_format(axis="y", scilimits=(-2, 2))
    figure.legend(loc="outside lower center", ncols=len(rates))
    _format_axes(figure, total_steps)
    _save(figure, path)


def _format_axes(figure: Figure, total_steps: int) -> None:
    from matplotlib.ticker import EngFormatter

    for axes in figure.axes:
        axes.set_xlim(0, total_steps)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(alpha=0.3)


def _title(schedule: BetaSchedule) -> str:
    if schedule.kind == "constant":
        return "constant"
    cycles = f", M = {schedule.cycles}" if schedule.kind == "cyclical" else ""
    return f"{schedule.kind}, {schedule.shape.replace('_', ' ')}{cycles}, R = {schedule.ratio:g}"


def _save(figure: Figure, path: Path) -> None:
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:] or "png", dpi=130)
    write_atomically(path, drawn.getvalue())


def _arguments() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m training.schedule_plots",
        description="Draw the schedules of beta and of the learning rate as in Figures 2 and 7 of Fu et al. 2019.",
        epilog="The defaults are the paper's figure: 40,000 steps, four cycles, beta rising in the first half of each; "
        "the monotonic schedule rises over the first quarter of the run. Example, eight short cycles: "
        "python -m training.schedule_plots --steps 20000 --cycles 8 --ratio 0.8 --out eight.png",
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
    except (ValueError, DialogCvaeError) as error:
        parser.exit(2, f"error: {error}\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
