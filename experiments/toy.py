"""Section 4 of the paper: ten one-hot sequences in a latent plane under three schedules (Figures 3 and 4).

Open it to change the three schedules, or the grid for the exact likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dialog_cvae.data.readers.toy import SEQUENCES
from dialog_cvae.data.sentences import Sentences
from dialog_cvae.errors import ConfigError
from dialog_cvae.model.latent_model import Vectors
from dialog_cvae.model.sentence_vae import SentenceVAE
from eval.measures import Measure
from experiments.experiment import Budget, Experiment, Study
from experiments.framework.page import Page, pictures
from experiments.framework.rows import Result, Row, Run
from experiments.framework.tables import table
from experiments.measures import final_model, sentences_of
from experiments.plots.curves import draw_bounded_curves
from experiments.plots.latent_maps import Places, animate_divisions, draw_divisions
from training.metrics_log import LATENTS_FILE, read_metrics

FLOOR = math.log(SEQUENCES)
GRID = 81  # grid points in each dimension
CYCLES, RATIO = 4, 0.5  # number of cycles, and ratio, of the cyclical schedule
PLANE = 2  # latent dimensions
# Half the width of the grid, in standard deviations of the prior; 6e-7 of its mass in each dimension lie outside.
EDGE = 5.0
COLUMNS = (
    Measure("reconstruction", "reconstruction", 3),
    Measure("kl", "KL", 3),
    Measure("elbo", "ELBO", 3),
    Measure("exact_nll", "-log p(x), exact", 4),
    Measure("posterior_gap", "KL(q, p(z given x))", 3),
    Measure("mi", "mutual information", 3),
    Measure("active_units", "active units", 1),
)
# Read off the paper's Figure 3 at 40,000 steps, to 0.1 nats.
ROWS = (
    Row(
        "constant",
        "constant",
        {"beta": {"kind": "constant"}},
        {"reconstruction": 2.15, "kl": 0.1, "elbo": -2.3},
    ),
    Row(
        "monotonic",
        "monotonic",
        {"beta": {"kind": "monotonic"}},
        {"reconstruction": 1.35, "kl": 0.95, "elbo": -2.3},
    ),
    Row(
        "cyclical",
        "cyclical",
        {"beta": {"kind": "cyclical", "cycles": CYCLES, "ratio": RATIO}},
        {"reconstruction": 0.7, "kl": 1.6, "elbo": -2.3},
    ),
)
_SMOKE = {"max_steps": 40, "validate_every": 10, "save_every": 40, "log_every": 5}
ABOUT = """\
Every way to share ln 10 = {floor:.3f} nats between reconstruction and KL is equally good to the ELBO: a model that
ignores z and one whose z names the sequence have the same likelihood. That is why the KL can vanish at no cost{met}
What the paper plots there, the loss with its beta (thin), can be below the floor where beta is below 1: it is no bound
of anything. The exact likelihood is an integral over a grid of {points:,} points; the gap between it and the ELBO is
the mean KL from q to the true posterior."""
NEAR = 0.05  # nats from the floor, within which a negative ELBO has met it
MET = """\
, and why
the thick lines of the first plot (the negative ELBO) meet at the floor whatever the schedule."""
NOT_MET = """\
.
The thick lines of the first plot (the negative ELBO) do not all end at the floor: the farthest is {gap:.2f} nats from
it."""


def report(study: Study, results: Sequence[Result]) -> Page:
    """Measure and draw."""
    points = int(study.settings.get("points", GRID))
    results = [_with_exact_nll(result, points) for result in results]
    about = ABOUT.format(floor=FLOOR, points=points**2, met=_met(results))
    plots = _draw(results, study.options.out)
    sections = [study.opening(table(results, COLUMNS), about), pictures(plots)]
    return study.page(results, sections, floor=FLOOR)


def _met(results: Sequence[Result]) -> str:
    """Whether the negative ELBO of each row has come down to the floor; nothing without figures."""
    measured = [result for result in results if result.figures]
    gaps = [abs(-each.estimates["elbo"].mean - FLOOR) for each in measured if "elbo" in each.estimates]
    if not gaps or len(gaps) < len(measured):
        return "."
    return MET if max(gaps) <= NEAR else NOT_MET.format(gap=max(gaps))


def check(runs: Sequence[Run]) -> None:
    """Refuse models without a latent plane.

    Raises:
        ConfigError: a run has not two latent dimensions.
    """
    for run in runs:
        if (size := run.cell.config.sentence.latent_size) != PLANE:
            raise ConfigError(f"sentence.latent_size: must be {PLANE}, because z is drawn as a plane, but is {size}")


def _with_exact_nll(result: Result, points: int) -> Result:
    """A row with the exact likelihood, and how far the ELBO is below it."""
    figures = {}
    for seed, own in result.figures.items():
        run = result.runs[seed].folder
        model = final_model(run)
        assert isinstance(model, SentenceVAE)
        exact = exact_nll(model, sentences_of(run, "train"), points)
        further = {"exact_nll": exact, "posterior_gap": -own.get("elbo", math.nan) - exact}
        # a diverged seed has figures that are not finite
        figures[seed] = {**own, **{name: value for name, value in further.items() if math.isfinite(value)}}
    return replace(result, figures=figures)


def _draw(results: Sequence[Result], out: Path) -> dict[str, str]:
    """Learning curves over seeds, and the latent plane of the first seed."""
    curves = {result.row.name: result.records for result in results if result.runs}
    draw_bounded_curves(curves, FLOOR, out / "toy-curves.png")
    places = {result.row.name: _places(result.first) for result in results if result.runs}
    steps = shown_steps(sorted(set.intersection(*(set(each) for each in places.values()))))
    draw_divisions(places, steps, out / "toy-latents.png")
    animate_divisions(places, out / "toy-latents.gif")
    return {
        "toy-curves.png": "Learning curves",
        "toy-latents.png": "Draws of z from each posterior, at the middle of each rise and the end of each cycle",
        "toy-latents.gif": "The same over the whole run",
    }


def _places(run: Path) -> Places:
    return {record["step"]: record for record in read_metrics(run, LATENTS_FILE)}


def shown_steps(recorded: Sequence[int]) -> list[int]:
    """For each cycle of the cyclical schedule the middle of its rise (beta 0.5) and its end, as far as recorded."""
    total = recorded[-1]
    wanted = [total * (cycle + share) / CYCLES for cycle in range(CYCLES) for share in (RATIO / 2, 1.0)]
    return sorted({min(recorded, key=lambda step: abs(step - each)) for each in wanted})


@torch.inference_mode()
def exact_nll(model: SentenceVAE, sentences: Sentences, points: int = GRID) -> float:
    """Mean -log p(x) in nats, by the trapezoidal rule over a grid of the latent plane.

    Args:
        model: of two latent dimensions.
        sentences: of one length.
        points: of the grid in each dimension.
    """
    axis = torch.linspace(-EDGE, EDGE, points, dtype=torch.float64)
    weight = torch.full((points,), float(axis[1] - axis[0]), dtype=torch.float64)
    weight[0] = weight[-1] = weight[0] / 2
    z = torch.cartesian_prod(axis, axis)  # (P, 2)
    area = torch.cartesian_prod(weight, weight).prod(1).log()
    log_prior = -0.5 * z.square().sum(1) - math.log(2 * math.pi)
    exact = []
    for index in range(sentences.windows):
        batch = model.batch(sentences, np.array([index]))
        nll = []
        for part in torch.split(z.float(), 2_048):
            repeated = batch.repeated(torch.zeros(len(part), dtype=torch.long))
            nll.append(model.reconstruction(repeated, Vectors(part[:, :0], part[:, :0]), part).double())
        exact.append(-float(torch.logsumexp(area + log_prior - torch.cat(nll), dim=0)))
    return math.fsum(exact) / len(exact)


EXPERIMENT = Experiment(
    "toy",
    "Toy: ten sequences in a latent plane (section 4, Figures 3 and 4)",
    ROWS,
    {
        "smoke": Budget(
            "toy", {"train": _SMOKE, "beta": {"warmup_steps": 10}}, 1, 10, 20, "40 updates, to see that it runs."
        ),
        "small": Budget(
            "toy",
            {"train": {"max_steps": 8_000, "validate_every": 100}, "beta": {"warmup_steps": 2_000}},
            1,
            100,
            500,
            "8,000 updates, a fifth of the paper's.",
        ),
        "paper": Budget("toy", {}, 1, 500, 500, "the paper's 40,000 updates; some 8 minutes of one core a schedule."),
    },
    report,
    settings={"smoke": {"points": 21}},
    size="paper",
    check=check,
)
