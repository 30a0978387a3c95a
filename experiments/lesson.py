"""A lesson on KL vanishing in five exercises: `python -m experiments lesson --help`.

It needs no data and takes a quarter of an hour to read; with --answer each answer is computed and shown. Open it to add
an exercise.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import sys
import tempfile
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dialog_cvae.cli import Parser, exit_status
from dialog_cvae.data.readers.toy import SEQUENCES
from dialog_cvae.errors import DialogCvaeError
from eval.latent.information import Posteriors, kl_per_dimension, mutual_information
from eval.report import markdown_table
from training import fit
from training.metrics_log import read_metrics
from training.schedules import BetaSchedule, beta

UPDATES = 1_200  # updates of the fit in exercise 4, which takes some 15 seconds
WIDTH = 100  # characters of a line of a question
POINTS = 2_000  # draws of z for each posterior of exercise 5


class Exercise(NamedTuple):
    """A question and what answers it.

    Attributes:
        title: in a few words.
        question: that the class answers first.
        answer: lines of text, computed.
    """

    title: str
    question: str
    answer: Callable[[], Sequence[str]]


def _schedule() -> list[str]:
    total, schedule = 40_000, BetaSchedule(kind="cyclical", cycles=4, ratio=0.5)
    steps = (1, 2_501, 5_001, 5_002, 10_000, 10_001, 12_501, 40_000)
    rows = []
    for step in steps:
        tau = ((step - 1) % 10_000) / 10_000  # equation 7 with T / M = 10,000
        by_hand = min(tau / 0.5, 1.0)
        rows.append([f"{step:,}", f"{tau:.4f}", f"{by_hand:.4f}", f"{beta(schedule, step, total):.4f}"])
    return [
        *markdown_table(["step t", "tau", "tau / R, at most 1", "beta(t) of the code"], rows),
        "",
        "At every restart, t = 10,001 for instance, the KL costs nothing again: path A from x through z is open.",
        "R = 0 is the constant schedule, M = 1 the monotonic one: all three are one formula.",
    ]


def _floor() -> list[str]:
    rows = []
    for groups in (1, 2, 5, 10):
        kl, rec = math.log(groups), math.log(SEQUENCES / groups)
        rows.append([str(groups), f"{rec:.3f}", f"{kl:.3f}", f"{rec + kl:.3f}"])
    return [
        *markdown_table(["groups k", "reconstruction ln(10 / k)", "KL ln k", "-ELBO"], rows),
        "",
        "The sum is ln 10 whatever k is: to tell k groups apart z carries ln k nats, and the decoder saves just these.",
        "The ELBO cannot say which of the four is better: a model that ignores z is an optimum of it like any other.",
    ]


def _path_b() -> list[str]:
    nll, rows = 0.0, []
    for place in range(SEQUENCES):
        # Given zeros so far, the 1 is in one of the places that are left; the sequence with the 1 last is followed.
        one = 1 / (SEQUENCES - place)
        last = place == SEQUENCES - 1
        nll -= math.log(one if last else 1 - one)
        rows.append([str(place + 1), f"{one:.3f}", f"{nll:.3f}"])
    exact = [
        -math.log(1 / (SEQUENCES - place)) - sum(math.log(1 - 1 / (SEQUENCES - earlier)) for earlier in range(place))
        for place in range(SEQUENCES)
    ]
    return [
        *markdown_table(["place", "p(1 | zeros before)", "-log p so far, of 0 ... 0 1"], rows),
        "",
        f"All sequences cost the same: from {min(exact):.4f} to {max(exact):.4f} nats; ln 10 = {math.log(10):.4f}.",
        "An autoregressive decoder reaches the floor without z, by path B alone. Nothing is left for z to gain.",
    ]


def _no_bound() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        options = ["--recipe=toy", f"--max-steps={UPDATES}", f"--out={out}", "--schedule=constant", "--beta.stop=0.1"]
        options += [
            "--learning-rate.peak=0.003",
            "--threads=1",
            "--device=cpu",
            f"--train.validate-every={UPDATES // 4}",
        ]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = fit.main(options)
        if status:
            raise DialogCvaeError(f"exercise 4: the fit ended with status {status}: {said.getvalue().splitlines()[-1]}")
        records = read_metrics(out)
    floor = math.log(SEQUENCES)
    rows = []
    for record in (each for each in records if each["kind"] == "valid"):
        loss = record["reconstruction"] + 0.1 * record["kl"]
        cells = (record["reconstruction"], record["kl"], loss, -record["elbo"])
        rows.append([str(record["step"]), *(f"{value:.3f}" for value in cells)])
    lowest = min(float(row[3]) for row in rows)
    below = "falls below" if lowest < floor else "would in time fall below"
    return [
        *markdown_table(["step", "reconstruction", "KL", "loss at beta 0.1", "-ELBO"], rows),
        "",
        f"The loss {below} the entropy of the data, {floor:.3f} nats. No model's -log p(x) can; -ELBO stays above it.",
        "So the dips of the paper's Figure 3 at each restart are of the loss, and no gain in likelihood.",
    ]


def _decomposition() -> list[str]:
    angle = 2 * np.pi * np.arange(SEQUENCES) / SEQUENCES
    rows = []
    for deviation in (1.0, 0.6, 0.3, 0.1):
        radius = math.sqrt(2 * max(0.0, 1 - deviation**2))  # so that z has variance 1 in each dimension, like the prior
        mean = radius * np.stack((np.cos(angle), np.sin(angle)), axis=1)
        logvar = np.full_like(mean, 2 * math.log(deviation))
        posteriors = Posteriors(mean, logvar, np.zeros_like(mean), np.zeros_like(mean))
        kl = float(kl_per_dimension(posteriors).sum())
        parts = mutual_information(posteriors, samples=POINTS)
        figures = (kl, parts.plug_in, parts.marginal_kl, parts.plug_in + parts.marginal_kl)
        rows.append([f"{deviation:g}", *(f"{value:.3f}" for value in figures)])
    return [
        *markdown_table(
            ["deviation of q(z | n)", "mean KL", "mutual information", "KL(q(z), p(z))", "sum of both"], rows
        ),
        "",
        "The two parts add up to the KL (equation 8), except for the sampling of z. Mutual information ends at ln 10:",
        "a KL beyond it tells no more sequences apart; all of it pays for holes in q(z). A high KL alone is no merit.",
    ]


EXERCISES: Mapping[int, Exercise] = {
    1: Exercise(
        "The schedule",
        "T = 40,000 steps, M = 4 cycles, R = 0.5, a linear rise. What is beta at steps 1, 2,501, 5,001, "
        "5,002, 10,000, 10,001, 12,501 and 40,000? Use equations 6 and 7. Which M and R give the constant, "
        "which the monotonic schedule?",
        _schedule,
    ),
    2: Exercise(
        "The floor",
        "Ten equally likely sequences. An encoder tells k groups of 10 / k sequences apart and nothing else, "
        "and q(z) is the prior. What are the best reconstruction, the KL and the ELBO for k = 1, 2, 5, 10? "
        "Which k does the ELBO prefer?",
        _floor,
    ),
    3: Exercise(
        "Path B",
        "The decoder reads the sequence from left to right and ignores z. With what probability should it "
        "expect a 1 in place j, having seen only zeros? How many nats does a sequence cost it, and which one "
        "costs most?",
        _path_b,
    ),
    4: Exercise(
        "What is plotted",
        "The paper's Figure 3 shows an 'ELBO' of the cyclical schedule that dips to 0.2 nats at each restart. "
        "Can a bound of -log p(x) be there? Fit the toy at beta = 0.1 and compare the loss, -ELBO and the "
        "entropy of the data.",
        _no_bound,
    ),
    5: Exercise(
        "Two parts of the KL",
        "Ten posteriors lie on a circle, each with deviation s in both dimensions; the circle is so wide that "
        "z has variance 1. How do mean KL, mutual information and KL(q(z), p(z)) change as s falls from 1 to "
        "0.1? Which of them has a limit?",
        _decomposition,
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    return exit_status(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    parser = Parser(
        prog="python -m experiments lesson",
        description="A lesson on KL vanishing in five exercises. Without a number: all questions.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("exercise", nargs="?", type=int, choices=EXERCISES, help="one of them")
    parser.add_argument("--answer", action="store_true", help="compute and show the answer too")
    args = parser.parse_args(argv)
    for number, exercise in EXERCISES.items():
        if args.exercise in (None, number):
            print(f"Exercise {number}: {exercise.title}\n\n{textwrap.fill(exercise.question, WIDTH)}\n")
            if args.answer:
                print("\n".join(exercise.answer()) + "\n")
    if not args.answer:
        print("With --answer the answer is computed and shown: python -m experiments lesson 2 --answer")
    return 0


if __name__ == "__main__":
    sys.exit(main())
