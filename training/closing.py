"""The closing lines of a run: how good its model is, in words, and what to change in the next run.

Open this to change when a run is called collapsed, overfitted or unfinished.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dialog_cvae.model.elbo import ElboReport
from training.check.advice import FEW_READ, SMALL_WIDTH
from training.collapse import hardly_uses_z, remedies
from training.config import FitConfig
from training.schedules import is_full
from training.task import task_of

WORSE = 0.01  # share by which the loss must rise again for a line about it
FALLING = 0.02  # share by which the loss must fall in the last quarter of the run for a line about it
QUARTER = 0.75
SOME_KL = 1.5  # nats


def closing_lines(
    records: Sequence[Mapping[str, Any]],
    config: FitConfig,
    steps: int,
    total: int,
    per_epoch: int,
    *,
    sizes_are_fixed: bool,
) -> list[str]:
    """A few lines on the best model and on the course of the run.

    Args:
        records: of the run, see `read_metrics`; without those of an autoencoder, which has no ELBO.
        config: of the run.
        steps: number of updates made.
        total: T, number of updates planned; fewer than configured if a limit of minutes allows only these.
        per_epoch: updates in a pass over the training examples.
        sizes_are_fixed: whether the run started from a checkpoint.
    """
    validations = [record for record in records if record["kind"] == "valid" and record.get("elbo") is not None]
    if not validations:
        return []
    best = max(validations, key=lambda record: record["elbo"])
    report = _report(best)
    found = [_quality(report, best["step"])]
    longer = _longer(config, total, per_epoch)
    # Validations below full beta are not compared, because their KL costs less.
    full = [each for each in validations if is_full(config.beta, each.get("beta", 0.0))]
    tried = _remedies(validations, config, total, sizes_are_fixed)
    found += _use_of_z(report, config, steps, longer, tried)
    course = _course(full, config, steps, longer, sizes_are_fixed)
    found += course
    if not course and steps < per_epoch:
        found.append(f"the run read {steps / per_epoch:.0%} of the training replies: more of {longer} reads the rest")
    return found


def _quality(report: ElboReport, step: int) -> str:
    """The best model's figures, and what it gains by z."""
    line = f"best model: step {step}, perplexity at most {report.perplexity_bound:.1f} a token, KL {report.kl:.2f} nats"
    if report.without_z is None:
        return line
    gain = report.without_z + report.elbo
    return f"{line}; without z it is {abs(gain):.2f} nats a reply {'worse' if gain > 0 else 'better'} than this bound"


def _remedies(validations: Sequence[Mapping[str, Any]], config: FitConfig, total: int, sizes_are_fixed: bool) -> str:
    """What helps against an unused z: remedies only after a validation at full beta, unless a controller sets beta."""
    highest = max(each.get("beta", 0.0) for each in validations)
    if not (is_full(config.beta, highest) or config.train.kl_target):
        return (
            f"; no validation had full beta, {config.beta.stop:g}: first give it a shorter rise, or the run more steps"
        )
    tried = remedies(config, total, sizes_are_fixed)
    return f"; for the next run try {' or '.join(tried)}" if tried else ""


def _use_of_z(report: ElboReport, config: FitConfig, steps: int, longer: str, tried: str) -> list[str]:
    if not config.sizes.latent_size:
        return []
    # A language model starts to use z late: free bits and the first cycle need thousands of replies.
    read = steps * config.train.batch_size
    if config.language is not None and read < FEW_READ and (report.kl < SOME_KL or hardly_uses_z(report, config.sizes)):
        return [
            f"z is hardly used yet, as is normal after {read:,} training replies: replies differ by the chance of "
            f"drawing words; more of {longer} helps, to {FEW_READ:,} replies or more"
        ]
    if not hardly_uses_z(report, config.sizes):
        return []
    return [
        f"z is not used (it gains {report.nats_from_z:.2f} nats, active units {report.active_units} of "
        f"{config.sizes.latent_size}): replies differ by the chance of drawing words{tried}"
    ]


def _course(
    full: Sequence[Mapping[str, Any]], config: FitConfig, steps: int, longer: str, sizes_are_fixed: bool
) -> list[str]:
    """Whether validation rose again, or still fell at the end; validations with a small beta are not compared."""
    if len(full) < 2:
        return []
    best, last = max(full, key=lambda record: record["elbo"]), full[-1]
    if last["elbo"] < best["elbo"] - WORSE * abs(best["elbo"]):
        options = [] if config.language is not None or config.train.dropout else ["--train.dropout 0.3"]
        large = config.task == "dialog" and config.model.utterance_size > SMALL_WIDTH and not sizes_are_fixed
        helps = " or ".join([f"more {task_of(config).examples}", *options, *(["--recipe small"] if large else [])])
        return [
            f"validation rose again after step {best['step']} (loss {-best['elbo']:.2f}, then {-last['elbo']:.2f}): "
            "the model began to learn the training text by heart. The best one is kept. More updates do not help, but "
            f"this may: {helps}"
        ]
    before = [record for record in full if record["step"] <= QUARTER * steps]
    if before and last["elbo"] > before[-1]["elbo"] + FALLING * abs(before[-1]["elbo"]):
        return [
            f"validation still improved at the end (loss {-before[-1]['elbo']:.2f} at step {before[-1]['step']}, "
            f"{-last['elbo']:.2f} now): more of {longer} helps"
        ]
    return []


def _longer(config: FitConfig, total: int, per_epoch: int) -> str:
    """The option that limits the duration of the run."""
    if total < config.train.total_steps(per_epoch):
        return "--max-minutes"
    return "--max-steps" if config.train.max_steps is not None else "--epochs"


def _report(record: Mapping[str, Any]) -> ElboReport:
    """A validation's record as figures; NaN for values that were not finite or that earlier versions did not record."""
    figures = {name: math.nan if record.get(name) is None else record[name] for name in ElboReport._fields}
    optional = {name: record.get(name) for name in ("bag_of_words", "without_z")}
    return ElboReport(**(figures | optional))
