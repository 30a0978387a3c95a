"""Measures the finished model of a run: `eval.dialog` in a process of its own, of limited cost.

Open this to change when a run ends with a measurement, how much is measured, or what a user reads if it fails. The
model is already finished: no error here fails the run.
"""

from __future__ import annotations

import gc
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from dialog_cvae.data.cache import CACHE_VARIABLE, OFF
from dialog_cvae.data.corpora import is_path
from dialog_cvae.storage.checkpoint_backbone import BACKBONE_VARIABLE
from dialog_cvae.storage.checkpoint_files import BEST
from dialog_cvae.storage.find_backbone import DEFAULT
from training.config import FitConfig, TaskName
from training.memory import return_freed_memory
from training.metrics_log import SPEED_FILE, read_metrics
from training.observer import StopRequest
from training.plan import Plan
from training.task import task_of
from training.time_left import duration

FOLDER, PAGE = "test", "report.html"  # folder in the run's folder, and page in it
SECONDS = 90.0  # seconds that the report may take, approximately
SHARE = 0.1  # share of --max-minutes that the report may take after its start, if that is less
LIMIT, TIMES = 300.0, 2  # it is ended after LIMIT seconds or TIMES the estimate, the later; corpora differ in size
BEGINNING = 15.0  # seconds for packages, corpus and model
# Measuring one context (likelihoods, replies, exchanged context) takes as long as training on this many replies.
COST: Mapping[TaskName, int] = {"language": 8, "dialog": 20}
FEWEST, MOST = 10, 400  # least and most contexts
POLL_SECONDS = 0.2
GRACE_SECONDS = 5.0  # seconds for the process to end after SIGTERM


class Extent(NamedTuple):
    """How much is measured: the number of contexts, and about how many seconds that takes."""

    contexts: int
    seconds: float


def is_wanted(plan: Plan) -> bool:
    """Whether to measure the model at the end of a run; by default, for a user's own conversations and the sample.

    The report shows held-out conversations, so by default there is none if no copy of them may stay on the disk.
    """
    if plan.report is not None:
        return plan.report
    config = plan.config
    kept = (plan.cache or os.environ.get(CACHE_VARIABLE)) != OFF
    return kept and task_of(config).served and (is_path(config.corpus.name) or config.corpus.name == "sample")


def planned_seconds(config: FitConfig) -> float:
    """About how many seconds the measurement may take, with its start."""
    minutes = config.train.max_minutes
    return SECONDS if minutes is None else min(SECONDS, BEGINNING + SHARE * 60 * minutes)


def command(plan: Plan) -> str:
    """The command that measures the model of a run, for the user to copy."""
    variables = "".join(f"{name}={shlex.quote(value)} " for name, value in _backbone(plan.config).items())
    return f"{variables}dialog-cvae eval {shlex.join(_options(plan, extent(plan.config, plan.out)))}"


def report(plan: Plan) -> None:
    """Measure the finished model of a run, and print what was found or why there is nothing."""
    _return_memory()
    chosen = extent(plan.config, plan.out)
    print(
        f"how good it is, by held-out conversations (takes about {duration(chosen.seconds)}; Ctrl-C leaves it out, and "
        "the model stays finished):",
        flush=True,
    )
    problem = _run([*_options(plan, chosen), "--brief"], plan, max(LIMIT, TIMES * chosen.seconds))
    if problem:
        print(f"warning: {problem}; the model is finished. To measure it: {command(plan)}", flush=True)


def extent(config: FitConfig, out: Path) -> Extent:
    """How much to measure, by the speed of the run's training: as much as the planned seconds allow."""
    cost, speeds = COST[config.task], read_metrics(out, SPEED_FILE)
    if not speeds:
        return Extent(FEWEST, SECONDS)
    context = cost * speeds[-1]["seconds_per_update"] / config.train.batch_size  # seconds
    contexts = min(MOST, max(FEWEST, int((planned_seconds(config) - BEGINNING) / context)))
    return Extent(contexts, BEGINNING + contexts * context)


def _options(plan: Plan, chosen: Extent) -> list[str]:
    """The options of `eval.dialog`: replies as they are served, and rows without a model."""
    config, name = plan.config, plan.config.corpus.name
    found = [str(plan.out / BEST), *(["--data", name] if is_path(name) else [])]  # a checkpoint keeps no folder
    found += ["--own-decoding", "--baselines", "--contexts", str(chosen.contexts)]
    if config.task == "language" and config.train.precision == "bf16":
        found += ["--precision", "bf16"]
    if config.corpus.dir is not None and not is_path(name):
        found += ["--data-dir", str(config.corpus.dir)]
    if config.train.threads is not None:
        found += ["--threads", str(config.train.threads)]
    if plan.device.type != "cpu":
        found += ["--device", str(plan.device)]
    return [*found, "--out", str(plan.out / FOLDER)]


def _backbone(config: FitConfig) -> dict[str, str]:
    """The variable that names the language model, if the checkpoint alone would not find it."""
    language = config.language
    if language is None or language.backbone == DEFAULT or BACKBONE_VARIABLE in os.environ:
        return {}
    return {BACKBONE_VARIABLE: language.backbone}


def _return_memory() -> None:
    """Return the memory of the training to the system, for the evaluation."""
    gc.collect()
    return_freed_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _run(options: list[str], plan: Plan, limit: float) -> str:
    """Run the evaluation for at most `limit` seconds; returns why there is no result, or nothing.

    It gets its own session, so that Ctrl-C in a terminal reaches only this process, which then ends it.
    """
    environment = _environment(plan)
    process: subprocess.Popen[bytes] | None = None
    try:
        with StopRequest() as stop:
            # -P ignores a folder `eval` in the working folder, which is not ours.
            words = [sys.executable, "-P", "-m", "eval.dialog", *options]
            process = subprocess.Popen(words, env=environment, start_new_session=True)
            try:
                return _ending(process, stop, limit)
            finally:
                _end(process)
    except OSError as error:
        return f"the evaluation could not be started ({error.strerror})"
    except KeyboardInterrupt:  # a second signal
        if process is not None:
            process.kill()
            process.wait()
        return "the evaluation was interrupted"


def _environment(plan: Plan) -> dict[str, str]:
    """This process's environment, with variables for its options and for the place of these packages."""
    found = os.environ | _backbone(plan.config)
    if plan.cache is not None:
        found[CACHE_VARIABLE] = plan.cache
    root = str(Path(__file__).resolve().parents[1])
    if root != sysconfig.get_path("purelib"):  # Python searches there anyway, after its own modules
        found["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return found


def _ending(process: subprocess.Popen[bytes], stop: StopRequest, limit: float) -> str:
    """Wait for the evaluation; returns why there is no result, or nothing."""
    deadline = time.monotonic() + limit
    status: int | None = None
    while status is None and not stop:
        try:
            status = process.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                return f"the evaluation was ended because it took longer than {duration(limit)}"
    if status == 0:
        return ""
    if stop:
        return "the evaluation was interrupted"
    assert status is not None
    by = f"by {signal.Signals(-status).name}" if -status in set(signal.Signals) else f"with status {status}"
    return f"the evaluation ended {by}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process if it still runs."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
