"""The training loop: the only one. It reads from top to bottom; what it is made of comes as arguments."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
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
from training.folder import BEST_FOLDER
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

    @property
    def unlogged(self) -> Mapping[str, float]:
        """Sums over the steps since the last record, with which a resumed run's next record begins."""
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
        corpus: encoded training conversations, at least one window.
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


def fingerprint(*corpora: EncodedCorpus) -> str:
    """Changes with the conversations, their order and split, the tokenizer and the topics."""
    digest = hashlib.sha256()
    for corpus in corpora:
        for name, array in corpus._asdict().items():
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
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

    Args:
        run: its parts.
        progress: how far it is; that state is on disk.

    Raises:
        TrainingError: on a loss, gradient or validation that is not finite; the message says which state is on disk.
    """
    config, total = run.config.train, progress.total_steps
    interval = config.validation_interval(len(run.windows.corpus.responses))
    batches = run.windows.from_step(progress.step)
    saved = progress.step
    try:
        while not progress.finished and not run.interrupted:
            try:
                advance(run, next(batches), progress.step + 1, total)
            except TrainingError:
                saved = save(run, progress)
                raise
            progress = replace(progress, step=progress.step + 1)
            at_end = progress.step == total
            if progress.step % interval == 0 or at_end:
                progress = validate(run, progress)
            progress = replace(progress, finished=at_end or (config.early_stopping and progress.stopping.exhausted))
            if progress.step % config.save_every == 0 and not progress.finished:
                saved = save(run, progress)
        save(run, progress)
    except TrainingError as error:
        best = run.out / BEST_FOLDER
        start = f"start anew, or by --init {best}," if best.is_dir() else "start anew"
        raise TrainingError(
            f"{error}; the state after step {saved} is in {run.out}/state. Going on would end the same way: {start} "
            "with a lower learning rate"
        ) from None
    return progress


def advance(run: Run, arrays: DialogBatch, step: int, total: int) -> None:
    """One update, by the schedules of beta and of the learning rate.

    Raises:
        TrainingError: see `update`.
    """
    config = run.config
    device = next(run.model.parameters()).device
    batch = TensorBatch.from_arrays(arrays, device)
    beta_now = beta(config.beta, step, total)
    rate = learning_rate(config.learning_rate, step, total)
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    eps = noise(config.train.seed, step, (arrays.size, config.model.latent_size)).to(device)
    try:
        objective, norm = update(run.model, run.optimiser, batch, eps, config.train, beta_now)
    except TrainingError as error:
        raise TrainingError(f"step {step}: {error}") from None
    run.observer.trained(step, objective, beta_now, rate, norm)


def save(run: Run, progress: Progress) -> int:
    """Save the state, and return its step.

    Raises:
        TrainingError: a weight is not finite; the state that was saved before is kept.
    """
    for name, parameter in run.model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise TrainingError(f"step {progress.step}: weight {name} is not finite")
    save_state(run.out, run.model, run.optimiser, replace(progress, unlogged=run.observer.unlogged))
    return progress.step


def validate(run: Run, progress: Progress) -> Progress:
    """Score the validation split and keep the model if it is the best so far.

    Raises:
        TrainingError: the ELBO is not finite.
    """
    report = evaluate_elbo(run.model, run.valid, seed=run.config.train.seed)
    loss = -report.elbo
    if not np.isfinite(loss):
        raise TrainingError(f"step {progress.step}: the validation ELBO is not finite ({report.elbo})")
    best = loss < progress.stopping.best
    if best:
        run.keep_best(run.model, progress.step, report)
    run.observer.validated(progress.step, report, best)
    return replace(progress, stopping=progress.stopping.after(loss))
