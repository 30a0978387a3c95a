"""Which weights an update trains, and with which beta: pure functions of the step.

Open this for the remedies against posterior collapse that change the course of a run:
- an autoencoder first (`autoencoder_share`; Li et al., 2019, "A Surprisingly Effective Fix for Deep Latent Variable
  Modeling of Text"): beta is 0 and z the posterior mean; then the decoder is re-initialised;
- a lagging decoder (`lagging_updates`; He et al., 2019, "Lagging Inference Networks and Posterior Collapse in
  Variational Autoencoders", algorithm 1): this many updates of q(z | x) alone before each update of the other weights
  alone. The numbers are fixed here. He et al. continue until the loss stops falling, and end the remedy when the mutual
  information stops rising;
- a controller (`kl_target`; Shao et al., 2020, "ControlVAE: Controllable Variational Autoencoder", algorithm 1), which
  sets beta by the KL of earlier updates.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from training.config import FitConfig, TrainConfig
from training.schedules import BetaSchedule, beta, greatest_beta, rises_fully

Trained = Literal["all", "inference", "generation"]


class Phase(NamedTuple):
    """How one update trains.

    Attributes:
        beta: weight of the KL; with a controller, its upper limit.
        trained: which weights change: all, phi (inference) or all but phi (generation).
        samples: whether z is drawn; otherwise it is the posterior mean.
        restarts: whether the decoder is re-initialised before this update.
    """

    beta: float
    trained: Trained = "all"
    samples: bool = True
    restarts: bool = False


class Control(NamedTuple):
    """The state of the controller.

    Attributes:
        integral: I, its sum so far.
        beta: beta of the next update.
    """

    integral: float = 0.0
    beta: float = 0.0

    def after(self, kl: float, config: TrainConfig, limit: float) -> Control:
        """The state after an update, by its KL.

        With e = target - KL: beta = Kp / (1 + exp(e)) + I, limited to 0 to `limit`, and I falls by Ki e. I does not
        move beta beyond these limits. The published algorithm keeps I fixed as long as the last beta was outside the
        limits, so beta may never come back.
        """
        error = config.kl_target - kl
        proportional = config.control_p / (1 + math.exp(min(error, 700.0)))
        change = -config.control_i * error
        moved = self.integral + change
        if change > 0:
            integral = max(self.integral, min(moved, limit - proportional))
        else:
            integral = min(self.integral, max(moved, -proportional))
        return Control(integral, min(max(proportional + integral, 0.0), limit))


def phase(config: TrainConfig, schedule: BetaSchedule, step: int, total: int) -> Phase:
    """The phase of update `step` of `total`.

    Beta's schedule covers the rest of the run, after the autoencoder.

    Raises:
        ValueError: as `training.schedules.beta`.
    """
    before = autoencoder_steps(config, total)
    if step <= before:
        return Phase(0.0, samples=False)
    now = beta(schedule, step - before, total - before)
    return Phase(now, _trained(config, step - before, total - before), restarts=0 < before == step - 1)


def autoencoder_steps(config: TrainConfig, total: int) -> int:
    """Number of updates of the autoencoder."""
    return round(config.autoencoder_share * total)


def beta_warnings(config: FitConfig, total: int) -> list[str]:
    """A warning if beta, which weighs z's KL, never ends a rise in a run of `total` steps; it names what to change."""
    schedule, steps = config.beta, total - autoencoder_steps(config.train, total)
    if not (steps and config.sizes.latent_size) or rises_fully(schedule, steps):
        return []
    if schedule.kind == "cyclical":
        shorter = "fewer --beta.cycles" if schedule.cycle_steps is None else "a smaller --beta.cycle-steps"
    else:
        shorter = "a smaller --beta.ratio" if schedule.warmup_steps is None else "fewer --beta.warmup-steps"
    return [
        f"beta rises to at most {greatest_beta(schedule, steps):.2g} in these {steps:,} steps, not to "
        f"{schedule.stop:g}: give {shorter}, or more steps"
    ]


def _trained(config: TrainConfig, step: int, total: int) -> Trained:
    ahead = config.lagging_updates
    if ahead == 0 or step > config.lagging_share * total:
        return "all"
    return "generation" if step % (ahead + 1) == 0 else "inference"
