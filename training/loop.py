"""The training loop, for every task; its parts are arguments.

Open this to see in which order updates, validations and saves happen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dialog_cvae.errors import DialogCvaeError
from dialog_cvae.model.elbo import evaluate_elbo, first_posteriors
from dialog_cvae.model.latent_model import Examples, LatentModel
from dialog_cvae.storage.checkpoint_files import BEST
from training.adam import GuardedAdam
from training.batch import Batch, Batches
from training.config import FitConfig
from training.distributed import SINGLE_PROCESS, World
from training.objectives import part_names
from training.observer import BestKeeper, Interruption, Observer
from training.phases import Phase, autoencoder_steps, phase
from training.prefetch import Prefetcher
from training.schedules import is_full, learning_rate
from training.state import Progress, save_state, saved_tensors
from training.update import figure_names, update

MAX_PENDING = {"cpu": 1, "cuda": 50}  # most updates whose figures are not read yet
PREFETCHED_BATCHES = {"cpu": 0, "cuda": 8}  # 0 on a CPU, where the thread would slow the updates down


class TrainingError(DialogCvaeError):
    """Training cannot continue; the last good state is saved."""


class NotFiniteError(TrainingError):
    """The loss or the gradient of an update is not finite; the weights are those before it.

    Args:
        step: number of that update.
        figures: its figures.
    """

    def __init__(self, step: int, figures: Mapping[str, float]) -> None:
        self.step = step
        parts = ", ".join(
            f"{name} {figures[name]:.4g}" for name in part_names(bow=True, without_z=True) if name in figures
        )
        super().__init__(
            f"step {step}: loss or gradient is not finite (loss {figures['loss']:.4g}: {parts}; "
            f"norm {figures['gradient_norm']:.4g})"
        )


@dataclass(frozen=True)
class Run:
    """The parts of a run.

    Attributes:
        config: of the experiment.
        out: folder of the run.
        model, optimiser: on the device of the run.
        batches: of the training split.
        validation: encoded validation split.
        observer: receives the figures of steps and validations.
        keep_best: saves the best model; called in the first process only.
        interrupted: true after a request to stop.
        world: the processes of the run.
    """

    config: FitConfig
    out: Path
    model: LatentModel
    optimiser: GuardedAdam
    batches: Batches
    validation: Examples
    observer: Observer
    keep_best: BestKeeper
    interrupted: Interruption
    world: World = SINGLE_PROCESS

    @property
    def stops(self) -> bool:
        """Whether to stop now. Several processes decide this together instead, from the figures of an update."""
        return self.world.size == 1 and bool(self.interrupted)


class Update(NamedTuple):
    """An update whose figures are still on the device; see `update`."""

    step: int
    beta: float
    learning_rate: float
    figures: Tensor


class PendingUpdates:
    """Updates whose figures are still on the device, and the time they took.

    Args:
        run: its observer receives the figures.
        batches: the iterator that updates wait for.

    Attributes:
        kl: of the last update that was read.
    """

    def __init__(self, run: Run, batches: Prefetcher[Batch]) -> None:
        self._run, self._batches = run, batches
        self._names = figure_names(run.model.config.bow, run.model.has_plain_loss)
        self._updates: list[Update] = []
        self.kl = 0.0
        self.start_clock()

    def __len__(self) -> int:
        return len(self._updates)

    def start_clock(self) -> None:
        """Record that the next update begins now."""
        self._began, self._waited = time.perf_counter(), self._batches.waited

    def add(self, update: Update) -> None:
        """Append an update."""
        self._updates.append(update)

    def read(self) -> bool:
        """Wait for the figures of all pending updates and pass them to the observer.

        Returns:
            Whether a process was asked to stop.

        Raises:
            NotFiniteError: for the first update whose loss or gradient is not finite.
        """
        if not self._updates:
            return False
        updates, self._updates = self._updates, []
        stop = False
        for done, row in zip(updates, torch.stack([done.figures for done in updates]).tolist(), strict=True):
            figures = dict(zip(self._names, row, strict=True))
            stop |= figures.pop("interrupted") > 0
            if not (math.isfinite(figures["loss"]) and math.isfinite(figures["gradient_norm"])):
                raise NotFiniteError(done.step, figures)
            self.kl = figures["kl"]
            self._run.observer.trained(done.step, figures, done.beta, done.learning_rate)
        seconds, waited = time.perf_counter() - self._began, self._batches.waited - self._waited
        self._run.observer.paced(updates[-1].step, seconds, waited)
        self.start_clock()
        return stop


def train(run: Run, progress: Progress) -> Progress:
    """Train from `progress` to the end, or until stopped early or interrupted; the state is then saved.

    Args:
        run: its parts.
        progress: of the run; its state is on disk.

    Raises:
        TrainingError: on a loss, gradient or validation that is not finite; the message says which state is on disk.
    """
    saved = progress
    try:
        for state in _train_between_saves(run, progress):
            saved = state
    except TrainingError as error:
        best = run.out / BEST
        start = f"start again, or from --init {best}," if best.is_dir() else "start again"
        raise TrainingError(
            f"{error}; the state after step {saved.step} is in {run.out}/state. Resuming would fail the same way: "
            f"{start} with a lower learning rate"
        ) from None
    return saved


def _train_between_saves(run: Run, progress: Progress) -> Iterator[Progress]:
    """Train, and yield the progress after each save of the state, the last time at the end."""
    config, total = run.config.train, progress.total_steps
    interval = config.validation_interval(run.batches.per_epoch)
    device, stop = torch.device(run.batches.device).type, False
    unread = 1 if config.kl_target else MAX_PENDING[device]  # the controller needs each update's KL for the next one
    with Prefetcher(run.batches.from_step(progress.step), PREFETCHED_BATCHES[device]) as batches:
        pending = PendingUpdates(run, batches)
        try:
            while not (progress.finished or stop or run.stops):
                step = progress.step + 1
                now = phase(config, run.config.beta, step, total)
                limit = now.beta
                if config.kl_target:
                    now = now._replace(beta=min(limit, progress.control.beta))
                pending.add(advance(run, next(batches), step, total, now))
                progress = replace(progress, step=step)
                validates, saves = step % interval == 0 or step == total, step % config.save_every == 0
                if validates or saves or step % config.log_every == 0 or len(pending) == unread:
                    stop = pending.read()
                if config.kl_target and now.samples:  # an autoencoder's KL says nothing of beta
                    progress = replace(progress, control=progress.control.after(pending.kl, config, limit))
                if validates:
                    progress = validate(run, progress, is_full(run.config.beta, limit))
                exhausted = config.early_stopping and progress.stopping.exhausted
                progress = replace(progress, finished=step == total or exhausted)
                if saves and not progress.finished:
                    yield save(run, progress)
                if validates or saves:
                    pending.start_clock()
            pending.read()
        except NotFiniteError as error:
            yield save(run, replace(progress, step=error.step - 1))
            raise
    yield save(run, progress)


def advance(run: Run, batch: Batch, step: int, total: int, now: Phase) -> Update:
    """One update, with the phase and the learning rate of its step."""
    config = run.config
    rate = learning_rate(config.learning_rate, step, total)
    if now.restarts:
        restart(run.model, run.optimiser, config.train.seed)
    if not now.samples:
        parts = (part._replace(noise=torch.zeros_like(part.noise)) for part in batch.parts)
        extras = (extra._replace(refining=None) for extra in batch.extras)
        batch = batch._replace(parts=tuple(parts), extras=tuple(extras))
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    figures = update(
        run.model, run.optimiser, batch, config.train, now.beta, run.world, bool(run.interrupted), now.trained
    )
    return Update(step, now.beta, rate, figures)


def restart(model: LatentModel, optimiser: GuardedAdam, seed: int) -> None:
    """Re-initialise the decoder, as a function of the seed, and drop the moments of its weights."""
    torch.manual_seed(seed + 1)  # a seed that gives other weights than the first ones
    for parameter in model.restart_generation():
        optimiser.state.pop(parameter, None)


def save(run: Run, progress: Progress) -> Progress:
    """Save the state, in the first process, and return the progress.

    Raises:
        TrainingError: a weight is not finite; the state that was saved before is kept.
    """
    for name, tensor in saved_tensors(run.model):
        if not bool(torch.isfinite(tensor).all()):
            raise TrainingError(f"step {progress.step}: weight {name} is not finite")
    progress = replace(progress, unlogged=run.observer.unlogged)
    run.world.on_main(lambda: save_state(run.out, run.model, run.optimiser, progress))
    return progress


def validate(run: Run, progress: Progress, full_beta: bool) -> Progress:
    """Score the validation split, divided among the processes, and keep the model if it is the best so far.

    An autoencoder at the start of a run has no ELBO, so its validations are only recorded: they count neither for the
    best model nor for early stopping. With `patience_at_full_beta`, early stopping counts only those at full beta.

    Raises:
        TrainingError: the ELBO is not finite.
    """
    world = run.world
    part = (world.rank, world.size)
    config = run.config.train
    before = autoencoder_steps(config, progress.total_steps)
    by_mean, to_the_end = progress.step <= before, before == progress.total_steps
    svi = None if by_mean else config.svi
    report = evaluate_elbo(
        run.model,
        run.validation,
        seed=config.seed,
        part=part,
        total=world.all_reduce,
        by_mean=by_mean,
        svi=svi,
        first=config.valid_examples,
    )
    loss = report.reconstruction if by_mean else -report.elbo
    if not math.isfinite(loss):
        raise TrainingError(f"step {progress.step}: the validation loss is not finite ({loss})")
    counts = to_the_end or not by_mean
    best = counts and loss < progress.stopping.best
    if best:
        world.on_main(lambda: run.keep_best(run.model, progress.step, report))
    run.observer.validated(progress.step, report, best)
    if count := config.keep_posteriors:
        run.observer.placed(
            progress.step, first_posteriors(run.model, run.validation, count, seed=config.seed, svi=svi)
        )
    if not counts:
        return progress
    return replace(progress, stopping=progress.stopping.after(loss, full_beta or not config.patience_at_full_beta))
