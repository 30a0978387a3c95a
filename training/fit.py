"""Fit a model: `python -m training.fit --help`.

Open this to see a run from its command line to its exit status; each step is a module.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch

from dialog_cvae.cli import print_any_text
from dialog_cvae.errors import CheckpointError, DialogCvaeError, NotWrittenError
from dialog_cvae.storage.checkpoint_files import BEST
from training import final_report, parts
from training.best import BestCheckpoint
from training.closing import closing_lines
from training.device import set_up_process
from training.distributed import SINGLE_PROCESS, ProcessLostError, World, process_group, world_from_environment
from training.learning_curves import CURVES_FILE, draw_learning_curves
from training.locks import only_process
from training.loop import Run, train
from training.metrics_log import MetricsLog, read_metrics
from training.observer import NullObserver, StopRequest
from training.parts import Parts
from training.phases import autoencoder_steps
from training.plan import Plan, resolve
from training.state import Progress
from training.task import task_of
from training.time_left import duration


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 success, 2 invalid arguments or failure, 128 + signal when
    interrupted.

    Of several processes only the first one prints, but each process prints an error that only it had.
    """
    world = SINGLE_PROCESS
    print_any_text()
    try:
        world = world_from_environment()
        with _silent_unless(world.is_main), process_group(world):
            return _fit_or_refuse(sys.argv[1:] if argv is None else argv, world)
    except DialogCvaeError as error:
        if world.is_main:
            print(f"error: {error}", file=sys.stderr)
        return 2
    except torch.OutOfMemoryError as error:
        print(f"error: {_process_name(world)}{error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder without permission, a closed pipe
        place = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {_process_name(world)}{place}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if world.is_main:
            print("interrupted at once: only what was saved before is kept", file=sys.stderr)
        return 128 + signal.SIGINT


def fit(argv: Sequence[str], world: World) -> int:
    """Fit as the command line says, in all processes of the run; returns the exit status.

    Raises:
        DialogCvaeError: the run is refused or fails, in every process.
    """
    plan = resolve(argv, world)
    set_up_process(plan.device, plan.config.train)
    with ExitStack() as stack:
        world.on_main(lambda: stack.enter_context(only_process(plan.out)))
        status, was_finished, was_asked_to_stop = _fitted(plan)
    # The parts of the run no longer exist here, so their memory is free for the evaluation.
    if status == 0 and world.is_main and task_of(plan.config).served:
        _say_how_good(plan, was_finished, was_asked_to_stop)
    return status


def _fitted(plan: Plan) -> tuple[int, bool, bool]:
    """Build and train; returns the exit status, whether the run was already finished, and whether to stop now."""
    built = parts.build(plan)
    was_finished = built.progress.finished
    if final_report.is_wanted(plan) and not was_finished:
        seconds = duration(final_report.planned_seconds(plan.config))
        print(f"at the end the model is measured for up to about {seconds} (--no-report leaves it out)", flush=True)
    progress, stopped_by = _train(plan, built)
    status = plan.world.broadcast_result(lambda: _finish(plan, built, progress, stopped_by), str, int)
    return status, was_finished, stopped_by != 0


def _train(plan: Plan, built: Parts) -> tuple[Progress, int]:
    """Run the training; returns its progress, and the number of the signal that stopped it in any process, else 0."""
    world = plan.world
    keep_best = BestCheckpoint(
        plan.out / BEST, built.vocabulary, built.summary, plan.config, plan.start, built.common, built.trained
    )
    with StopRequest() as stop, ExitStack() as stack:
        metrics_log = world.on_main(lambda: stack.enter_context(_log(plan, built)))
        run = Run(
            plan.config,
            plan.out,
            built.model,
            built.optimiser,
            built.batches,
            built.validation,
            metrics_log or NullObserver(),
            keep_best,
            interrupted=stop,
            world=world,
        )
        with _advising_to_go_on(plan):
            progress = train(run, built.progress)
    return progress, max(int(number) for number in world.all_gather(str(int(stop.signal or 0))))


def _log(plan: Plan, built: Parts) -> MetricsLog:
    fixed = plan.start.origin is not None
    return MetricsLog(plan.out, built.progress, plan.config, built.batches.per_epoch, sizes_are_fixed=fixed)


@contextmanager
def _advising_to_go_on(plan: Plan) -> Iterator[None]:
    """Add the command that continues the run to an error while writing, such as a full disk."""
    try:
        yield
    except NotWrittenError as error:
        raise DialogCvaeError(f"{error}; {_go_on(plan)}") from None
    except OSError as error:
        reason = f"{error.strerror or error}; {_go_on(plan)}"
        raise OSError(error.errno, reason, error.filename) from None


def _go_on(plan: Plan) -> str:
    return f"continue with: python -m training.fit --out {shlex.quote(str(plan.out))} --resume"


def _finish(plan: Plan, built: Parts, progress: Progress, stopped_by: int) -> int:
    """Draw the learning curves, print how the run ended and how good its model is; return the exit status."""
    out = plan.out
    records = read_metrics(out)
    if any(record["kind"] == "valid" for record in records):
        draw_learning_curves(records, out / CURVES_FILE, out.name)
    if not progress.finished:
        print(f"stopped after step {progress.step}; {_go_on(plan)}")
        return 128 + stopped_by
    if not (out / BEST).is_dir():
        raise CheckpointError(f"{out / BEST}: the best checkpoint was written, but is missing now")
    early = "" if progress.step == progress.total_steps else " (stopped early: validation no longer improves)"
    fixed, before = plan.start.origin is not None, autoencoder_steps(plan.config.train, progress.total_steps)
    loss = progress.stopping.best
    found = f"reconstruction {loss:.3f}" if before == progress.total_steps else f"ELBO {-loss:.3f}"
    print(
        f"done after step {progress.step}{early}; validation {found}\n"
        f"checkpoint: {out / BEST}\nlearning curves: {out}/{CURVES_FILE}"
    )
    records = [record for record in records if record["step"] > before]
    lengths = progress.step, progress.total_steps, built.batches.per_epoch
    for line in closing_lines(records, plan.config, *lengths, sizes_are_fixed=fixed):
        print(line)
    return 0


def _say_how_good(plan: Plan, was_finished: bool, was_asked_to_stop: bool) -> None:
    """Measure the finished model, or print the command for it; an existing page is made again only on request.

    A request to stop during the last update or validation comes too late for the training, but not for this.
    """
    page = plan.out / final_report.FOLDER / final_report.PAGE
    wanted = final_report.is_wanted(plan) and not was_asked_to_stop
    if wanted and was_finished and plan.report is None and page.is_file():
        print(f"how good it is: {page}")
    elif wanted:
        final_report.report(plan)
    else:
        print(f"how good it is: {final_report.command(plan)}")
    print(f"serve it: dialog-cvae serve {shlex.quote(str(plan.out / BEST))}")


def _fit_or_refuse(argv: Sequence[str], world: World) -> int:
    """Fit; an error that every process has is printed inside the process group, before other processes end."""
    try:
        return fit(argv, world)
    except ProcessLostError:
        raise
    except DialogCvaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


@contextmanager
def _silent_unless(speaks: bool) -> Iterator[None]:
    if speaks:
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _process_name(world: World) -> str:
    return "" if world.is_main else f"process {world.rank} of {world.size}: "


if __name__ == "__main__":
    sys.exit(main())
