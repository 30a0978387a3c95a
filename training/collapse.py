"""Recognises a model that hardly uses z, and lists options against it.

Open this to add a remedy; docs/sizes-and-schedules.md describes them.
"""

from __future__ import annotations

from dialog_cvae.model.elbo import ElboReport
from training.config import FitConfig, Sizes
from training.phases import autoencoder_steps
from training.schedules import rises_fully
from training.task import task_of

COLLAPSED_KL = 0.5  # nats of KL
COLLAPSED_GAIN = 0.1  # nats gained by z
COLLAPSED_SHARE = 0.02  # share of active latent dimensions
FREE_NATS = 4


def hardly_uses_z(report: ElboReport, model: Sizes) -> bool:
    """Whether z hardly changes the reconstruction, or both its KL and its active units are few; false without z."""
    if not model.latent_size:
        return False
    few_units = report.active_units < max(1, COLLAPSED_SHARE * model.latent_size)
    return report.nats_from_z < COLLAPSED_GAIN or (report.kl < COLLAPSED_KL and few_units)


def remedies(config: FitConfig, total: int, sizes_are_fixed: bool = False) -> list[str]:
    """Options against a collapse that the run does not use yet and that a similar run accepts; the best first.

    Args:
        config: of the run.
        total: its steps; a schedule that would not rise fully in as many is no remedy.
        sizes_are_fixed: whether the run started from a checkpoint, so that it can't change the parts of the model.
    """
    beta, train, task = config.beta, config.train, task_of(config)
    steps = total - autoencoder_steps(train, total)

    def rises(**changes: object) -> bool:
        return rises_fully(beta.model_copy(update=changes), steps)

    more, shorter = 2 * beta.cycles, (beta.cycle_steps or 0) // 2
    dialog, free = task.section == "model", not sizes_are_fixed
    candidates = {
        "--model.skip": dialog and free and not config.model.skip,  # cost no likelihood in our experiments
        "--bow" if config.language is None else "--language.bow": task.can_add_bow and free and not config.sizes.bow,
        f"--train.free-bits {FREE_NATS}": not train.free_bits and not train.kl_target,
        "--schedule cyclical": beta.kind != "cyclical" and rises(kind="cyclical"),
        f"--beta.cycles {more}": beta.kind == "cyclical" and beta.cycle_steps is None and rises(cycles=more),
        f"--beta.cycle-steps {shorter}": beta.kind == "cyclical" and shorter > 0 and rises(cycle_steps=shorter),
        f"--beta.stop {beta.stop / 2:g}": beta.stop > 0,
    }
    return [option for option, applies in candidates.items() if applies]
