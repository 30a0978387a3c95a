"""The training loop: the only one. It reads from top to bottom; what it is made of comes as arguments."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dialog_cvae.cvae import CVAE, TensorBatch
from dialog_cvae.data.batches import EncodedCorpus, collate, epoch_order, forget_conditions
from dialog_cvae.elbo import ElboReport, evaluate_elbo
from dialog_cvae.errors import DialogCvaeError
from dialog_cvae.types import DialogBatch
from training.config import FitConfig, TrainConfig
from training.objectives import Objective, weighted
from training.schedules import beta, learning_rate
from training.state import Progress, save_state

NOISE, FORGETTING = 0, 1  # streams of randomness within a step


class TrainingError(DialogCvaeError):
    """Training cannot go on; the last good state is saved."""


class Observer(Protocol):
    """Who is told what happens."""

    def trained(self, step: int, objective: Objective, beta: float, learning_rate: float, gradient_norm: float) -> None:
        """After each update."""
        ...

    def validated(self, step: int, report: ElboReport, best: bool) -> None:
        """After each validation; `best` if it is the lowest loss so far."""
        ...


class BestKeeper(Protocol):
    """Who keeps the best model."""

    def __call__(self, model: CVAE, step: int, report: ElboReport) -> None:
        """Save the model, which has just had its best validation."""
        ...


@dataclass(frozen=True)
class Windows:
    """The training windows: a batch is a function of the step.

    Attributes:
        corpus: encoded training conversations.
        config: batch size, segment, condition dropout and seed.
        max_context: context utterances at most.
    """

    corpus: EncodedCorpus
    config: TrainConfig
    max_context: int

    def from_step(self, step: int) -> Iterator[DialogBatch]:
        """The batches of the updates after `step`, without end."""
        config, responses = self.config, self.corpus.responses
        per_epoch = config.steps_per_epoch(len(responses))
        epoch, position = divmod(step, per_epoch)
        while True:
            order = epoch_order(responses, self.corpus.start, config.segment, config.seed, epoch)
            for index in range(position, per_epoch):
                chosen = order[index * config.batch_size : (index + 1) * config.batch_size]
                rng = np.random.default_rng((config.seed, epoch * per_epoch + index + 1, FORGETTING))
                yield forget_conditions(collate(self.corpus, chosen, self.max_context), config.condition_dropout, rng)
            epoch, position = epoch + 1, 0

    @property
    def fingerprint(self) -> str:
        """Changes with the text, its order, the tokenizer and the topics."""
        digest = hashlib.sha256()
        for array in (self.corpus.tokens, self.corpus.offsets, self.corpus.start, self.corpus.topic):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def noise(seed: int, step: int, shape: tuple[int, int]) -> Tensor:
    """Standard normal noise of a step, a function of seed and step."""
    rng = np.random.default_rng((seed, step, NOISE))
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def update(
    model: CVAE, optimiser: torch.optim.Adam, batch: TensorBatch, eps: Tensor, config: TrainConfig, beta_now: float
) -> tuple[Objective, float]:
    """One step of gradient descent on the weighted objective; returns it and the gradient's norm before clipping.

    Raises:
        TrainingError: the loss or the gradient is not finite; the weights are still those from before the step.
    """
    optimiser.zero_grad(set_to_none=True)
    objective = weighted(model(batch, eps), beta_now, config.bow_weight)
    objective.loss.backward()  # type: ignore[no-untyped-call]
    objective = objective.detached()
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm, foreach=True))
    if not np.isfinite(norm) or not bool(torch.isfinite(objective.loss)):
        parts = ", ".join(f"{name} {float(value):.4g}" for name, value in objective.parts.items())
        raise TrainingError(
            f"loss or gradient is not finite (loss {float(objective.loss):.4g}: {parts}; norm {norm:.4g})"
        )
    optimiser.step()
    return objective, norm


class Interruption(Protocol):
    """Says whether somebody asked the run to stop."""

    def __bool__(self) -> bool: ...


@dataclass(frozen=True)
class Run:
    """The parts of a run.

    Attributes:
        config: of the experiment.
        out: folder of the run.
        model, optimiser: what is trained, on its device.
        windows: what it is trained on.
        valid: encoded validation conversations.
        observer: is told of steps and validations.
        keep_best: saves the best model.
        interrupted: true once somebody asked to stop.
    """

    config: FitConfig
    out: Path
    model: CVAE
    optimiser: torch.optim.Adam
    windows: Windows
    valid: EncodedCorpus
    observer: Observer
    keep_best: BestKeeper
    interrupted: Interruption


def train(run: Run, progress: Progress) -> Progress:
    """Train from `progress` to the end, or until stopped early or interrupted; the state is saved whichever it is.

    Raises:
        TrainingError: on a loss that is not finite, after saving the state from before that step.
    """
    config, model = run.config.train, run.model
    device = next(model.parameters()).device
    interval = config.validation_interval(len(run.windows.corpus.responses))
    batches = run.windows.from_step(progress.step)
    while progress.step < progress.total_steps and not run.interrupted:
        step = progress.step + 1
        batch = TensorBatch.from_arrays(next(batches), device)
        beta_now = beta(run.config.beta, step, progress.total_steps)
        rate = learning_rate(run.config.learning_rate, step, progress.total_steps)
        for group in run.optimiser.param_groups:
            group["lr"] = rate
        eps = noise(config.seed, step, (len(batch.response), model.config.latent_size)).to(device)
        try:
            objective, norm = update(model, run.optimiser, batch, eps, config, beta_now)
        except TrainingError as error:
            save_state(run.out, model, run.optimiser, progress)
            raise TrainingError(
                f"step {step}: {error}; the state after step {progress.step} is in {run.out}/state"
            ) from None
        progress = replace(progress, step=step)
        run.observer.trained(step, objective, beta_now, rate, norm)
        at_end = step == progress.total_steps
        if step % interval == 0 or at_end:
            progress = validate(run, progress)
            if config.early_stopping and progress.stopping.exhausted:
                progress = replace(progress, finished=True)
                break
        if step % config.save_every == 0 and not at_end:
            save_state(run.out, model, run.optimiser, progress)
    progress = replace(progress, finished=progress.finished or progress.step == progress.total_steps)
    save_state(run.out, model, run.optimiser, progress)
    return progress


def validate(run: Run, progress: Progress) -> Progress:
    """Score the validation split and keep the model if it is the best so far."""
    report = evaluate_elbo(run.model, run.valid, seed=run.config.train.seed)
    loss = -report.elbo
    best = loss < progress.stopping.best
    if best:
        run.keep_best(run.model, progress.step, report)
    run.observer.validated(progress.step, report, best)
    return replace(progress, stopping=progress.stopping.after(loss))
