"""Evaluate the rows of Table 3 in parallel; what they share is loaded once.

Open it to see what is cached and what runs in parallel. Results in the cache are looked up first. Only if something is
missing, vectors and tagger are loaded and processes are started. Every part is cached as soon as it is found, so that
an interrupted run loses only what it was working on.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import joblib
import torch
from tqdm import tqdm

from dialog_cvae.data.cache import Cache, Kind
from dialog_cvae.errors import DialogCvaeError
from dialog_cvae.storage.checkpoint import Checkpoint
from eval.baselines.baseline_rows import OTHERS, baseline_replies
from eval.contexts import ReplySets
from eval.evaluation import Evaluation, combined, evaluate_checkpoint
from eval.evaluation_settings import Settings
from eval.held_out import HeldOut, ScoringData
from eval.latent.model_scores import ModelScores
from eval.reply_scores import ReplyScores
from eval.scoring import SCORES, score_replies, scores_origin
from eval.vector_coverage import described
from experiments.framework.fitting import say

T = TypeVar("T")


@dataclass(frozen=True)
class Bench:
    """What rows are evaluated on, and how.

    Attributes:
        held_out: with its training conversations.
        settings: of every evaluation.
        cache: folder of the cache.
        jobs: number of processes.
        device: that models run on.
    """

    held_out: HeldOut
    settings: Settings
    cache: Path
    jobs: int = 1
    device: str = "cpu"


class Failure(NamedTuple):
    """Why a row could not be evaluated."""

    reason: str


def evaluate_rows(checkpoints: Mapping[str, Path], bench: Bench) -> dict[str, Evaluation | Failure]:
    """Evaluate checkpoints, and the rows without a model that keep the table honest.

    Args:
        checkpoints: folders by the names of rows.
        bench: on what, and how.

    Returns:
        By name; the checkpoints come first, in their order.

    Raises:
        DialogCvaeError: a process was killed; what was found is cached.
    """
    lean = replace(bench, held_out=replace(bench.held_out, references=None, vectors=None, train=None))
    models = _all_of("checkpoints", _model, {name: (path, lean) for name, path in checkpoints.items()}, bench)
    rows = {name: found[1] for name, found in models.items() if not isinstance(found, Failure)}
    rows |= baseline_replies(bench.held_out, bench.settings, Cache(bench.cache, say))
    scores = _scores(rows, bench)
    evaluations: dict[str, Evaluation | Failure] = {}
    for name in (*models, *(name for name in rows if name not in models)):
        model, found = models.get(name), scores.get(name)
        if isinstance(model, Failure):
            evaluations[name] = model
        elif isinstance(found, ReplyScores):
            evaluations[name] = combined(bench.held_out, None if model is None else model[0], rows[name], found)
        elif found is not None:
            evaluations[name] = found
    return evaluations


def _model(cache: Cache, path: Path, bench: Bench) -> tuple[ModelScores, ReplySets]:
    found, replies = evaluate_checkpoint(
        Checkpoint.load(path), path, bench.device, bench.held_out, bench.settings, cache, _no_bar
    )
    assert replies is not None  # the settings ask for some
    return found, replies


def _scores(rows: Mapping[str, ReplySets], bench: Bench) -> dict[str, ReplyScores | Failure]:
    """The scores of the replies of each row."""
    shared: list[ScoringData] = []

    def task(name: str, replies: ReplySets) -> tuple[Any, ...]:
        people = name == OTHERS
        return scores_origin(replies, bench.held_out, bench.settings, people), replies, bench.settings, people, shared

    def load() -> None:
        every = (one for replies in rows.values() for part in replies if part is not None for one in part)
        data = bench.held_out.scoring_data(every)
        if bench.held_out.vectors is not None and data.vectors is not None and data.coverage is not None:
            say("\n".join(described(bench.held_out.vectors, data.vectors.dimension, data.coverage)))
        shared.append(data)

    return _all_of("rows", _score, {name: task(name, replies) for name, replies in rows.items()}, bench, load)


def _score(
    cache: Cache,
    origin: dict[str, Any],
    replies: ReplySets,
    settings: Settings,
    people: bool,
    shared: Sequence[ScoringData],
) -> ReplyScores:
    return cache.get(SCORES, origin, lambda: score_replies(replies, shared[0], settings, _no_bar, people=people))


def _all_of(
    what: str,
    work: Callable[..., T],
    tasks: Mapping[str, tuple[Any, ...]],
    bench: Bench,
    prepare: Callable[[], object] = lambda: None,
) -> dict[str, T | Failure]:
    """The results of tasks by name: those in the cache first, the rest by processes in parallel.

    Args:
        what: the tasks are about, for the progress bar.
        work: called with a cache and the arguments of a task.
        tasks: arguments by name.
        bench: has the cache and the number of processes.
        prepare: called once, if anything is missing.
    """
    found = _cached(work, tasks, bench.cache)
    rest = [name for name in tasks if name not in found]
    if rest:
        prepare()
        jobs = min(bench.jobs, len(rest))
        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator")
        calls = (joblib.delayed(_caught)(jobs > 1, work, bench.cache, tasks[name]) for name in rest)
        try:
            with tqdm(total=len(rest), desc=f"evaluating {what}", unit="", disable=None, file=sys.stderr) as bar:
                for name, result in zip(rest, parallel(calls), strict=True):
                    found[name] = result
                    bar.update()
        except BrokenProcessPool:
            raise DialogCvaeError(
                "a process that evaluated was killed, perhaps for lack of memory; run the same command again, perhaps "
                "with fewer --jobs"
            ) from None
    return {name: found[name] for name in tasks}


def _cached(work: Callable[..., T], tasks: Mapping[str, tuple[Any, ...]], cache: Path) -> dict[str, T | Failure]:
    """The results that need no computation: those in the cache, and failures to look them up."""
    found: dict[str, T | Failure] = {}
    for name, arguments in tasks.items():
        try:
            found[name] = work(_CachedOnly(cache, say), *arguments)
        except _NotCachedError:
            continue
        except (DialogCvaeError, OSError) as error:
            found[name] = Failure(str(error))
    return found


def _caught(worker: bool, work: Callable[..., T], cache: Path, arguments: tuple[Any, ...]) -> T | Failure:
    """Do a task; a worker process uses one core and leaves Ctrl-C to its parent."""
    if worker:
        torch.set_num_threads(1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return work(Cache(cache, say), *arguments)
    except (DialogCvaeError, OSError) as error:
        return Failure(str(error))


class _NotCachedError(Exception):
    """The result is not in the cache."""


class _CachedOnly(Cache):
    """Finds what is in the cache, and computes nothing."""

    def get(self, kind: Kind[T], origin: Mapping[str, Any], make: Callable[[], T]) -> T:
        def refuse() -> T:
            raise _NotCachedError

        return super().get(kind, origin, refuse)


def _no_bar(total: int, what: str) -> tqdm[Any]:
    return tqdm(total=total, desc=what, disable=True)
