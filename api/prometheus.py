"""Metrics for Prometheus, at `GET /metrics`.

Open it to add a metric. With several workers, each process would report only its own metrics. If
`PROMETHEUS_MULTIPROC_DIR` names a folder, they share their metrics through files in it, and each reports the sum. Empty
the folder before the server starts: metrics of an earlier run would be added.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
    multiprocess,
)

from dialog_cvae.errors import ConfigError

SHARED = "PROMETHEUS_MULTIPROC_DIR"
ATTEMPTS, PAUSE_S = 20, 0.01  # attempts, and the seconds between them, to read the files of all workers
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
_REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30)
_STEP_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


INFO = ("name", "model", "licence", "engine", "version")  # labels of the metric that describes a model


class ModelMetrics:
    """What a model's thread measures; see `api.batcher`."""

    def __init__(self, depth: Gauge, rows: Histogram, step: Histogram, tokens: Counter) -> None:
        self._depth, self._rows, self._step, self._tokens = depth, rows, step, tokens
        self._queued = 0

    def queued(self, depth: int) -> None:
        """Set the number of waiting requests. During a reload, the numbers of both models are added."""
        self._depth.inc(depth - self._queued)
        self._queued = depth

    def stepped(self, rows: int, seconds: float) -> None:
        """A decoding step of so many rows took so long."""
        self._rows.observe(rows)
        self._step.observe(seconds)

    def finished(self, tokens: int) -> None:
        """Count the tokens of an answered request."""
        self._tokens.inc(tokens)


class Metrics:
    """The service's metrics; `of_model` gives those of a model's thread.

    Raises:
        ConfigError: the folder for several workers can't be used.
    """

    def __init__(self) -> None:
        if (shared := _shared_folder()) is not None:
            _prepare(shared)
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU time and open files, on systems with /proc
        self._requests = Counter(
            "dialog_cvae_requests", "Requests answered", ["route", "method", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "dialog_cvae_request_seconds",
            "Seconds from a request's headers to the end of its answer",
            ["route"],
            buckets=_REQUEST_S,
            registry=self.registry,
        )
        self._depth = Gauge(
            "dialog_cvae_queue_depth",
            "Requests that wait for the model",
            ["name"],
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self._rows = Histogram(
            "dialog_cvae_batch_rows",
            "Candidates decoded together in a step",
            ["name"],
            buckets=_ROWS,
            registry=self.registry,
        )
        self._step = Histogram(
            "dialog_cvae_step_seconds",
            "Seconds of a decoding step",
            ["name"],
            buckets=_STEP_S,
            registry=self.registry,
        )
        self._tokens = Counter("dialog_cvae_tokens", "Tokens of finished candidates", ["name"], registry=self.registry)
        self._rejections = Counter(
            "dialog_cvae_rejections", "Requests refused, by reason", ["reason"], registry=self.registry
        )
        self._info = Gauge(
            "dialog_cvae_model_info",
            "1 for a model that answers, 0 for one that was replaced",
            INFO,
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self._described: dict[str, Mapping[str, str]] = {}  # the labels of each name's model

    def of_model(self, name: str) -> ModelMetrics:
        """The metrics of a model's thread.

        Args:
            name: the name that the model is served under; a reload does not change it.
        """
        depth, rows = self._depth.labels(name), self._rows.labels(name)
        return ModelMetrics(depth, rows, self._step.labels(name), self._tokens.labels(name))

    def describe(self, name: str, labels: Mapping[str, str]) -> None:
        """Set which model answers under a name.

        Args:
            name: the name that it is served under.
            labels: all labels of `INFO` except the name.
        """
        if name in self._described:
            self._info.labels(name=name, **self._described[name]).set(0)
        self._described[name] = labels
        self._info.labels(name=name, **labels).set(1)

    def answered(self, route: str, method: str, status: int, seconds: float, rejection: str | None) -> None:
        """Count a request that was answered or abandoned.

        Args:
            route: the template of its path, so that the number of labels is limited.
            method: HTTP method.
            status: of the response.
            seconds: from the request's headers to the end of the response.
            rejection: the reason of a refusal, or None.
        """
        self._requests.labels(route, method if method in METHODS else "other", str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if rejection is not None:
            self._rejections.labels(rejection).inc()

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format; of all workers, if they share a folder."""
        if (shared := _shared_folder()) is None:
            return generate_latest(self.registry)
        for _ in range(ATTEMPTS - 1):
            try:
                return _of_all(shared)
            except (struct.error, FileNotFoundError):  # another worker is creating or removing its file
                time.sleep(PAUSE_S)
        return _of_all(shared)

    def close(self) -> None:
        """Remove this process's gauges from the shared folder."""
        if _shared_folder() is not None:
            multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]


def _of_all(folder: Path) -> bytes:
    """The metrics of all workers that share the folder."""
    _remove_dead(folder)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _shared_folder() -> Path | None:
    """The folder that the variable names; None if it is not set.

    Raises:
        ConfigError: it is empty. prometheus_client would then write into the working folder.
    """
    folder = os.environ.get(SHARED)
    if folder == "":
        raise ConfigError(f"{SHARED} is empty; name a folder, or unset it")
    return None if folder is None else Path(folder)


def _remove_dead(folder: Path) -> None:
    """Remove the gauges of killed processes from the shared folder: their queues no longer exist."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdecimal() and not _is_alive(int(pid)):
            multiprocess.mark_process_dead(int(pid))  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    if os.name != "posix":  # on Windows, signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process exists, but belongs to another user
        pass
    return True


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{SHARED}: {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"{SHARED}: {folder}: can't be written")
