"""The log of a run: metrics as JSONL and TensorBoard, a progress bar or plain lines, and warnings.

Open this to change what is logged or printed during training.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from tqdm import tqdm

from dialog_cvae.errors import DataError
from dialog_cvae.model.elbo import ElboReport
from dialog_cvae.storage.files import write_atomically
from dialog_cvae.types import Gaussian
from training.collapse import hardly_uses_z, remedies
from training.config import FitConfig
from training.state import Progress
from training.time_left import TimeLeft

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

METRICS_FILE = "metrics.jsonl"
LATENTS_FILE = "latents.jsonl"
SPEED_FILE = "speed.jsonl"  # separate from the metrics, which are a function of the configuration
KINDS = ("train", "valid", "speed", "latents")
STEPS = "steps"  # name of the step count among the sums
LINE_SECONDS = 10.0  # seconds between plain lines, if stdout is not a terminal


class MetricsLog:
    """Logs a run; see `training.observer.Observer`. Use it as a context manager, which closes its files.

    Args:
        out: folder of the run.
        progress: where the run starts; later metrics, from a killed run, are dropped.
        config: of the run.
        per_epoch: updates in a pass over the training examples.
        sizes_are_fixed: whether the run started from a checkpoint, so that it can't change the parts of the model.
    """

    def __init__(
        self, out: Path, progress: Progress, config: FitConfig, per_epoch: int, *, sizes_are_fixed: bool = False
    ) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self._config, self._remedies = config, remedies(config, progress.total_steps, sizes_are_fixed)
        self._start, self._began = progress.step, time.monotonic()
        self._spoke = self._began
        self._beta = 0.0
        self._collapsed = False  # whether the last validation showed a collapse; a warning is printed when one begins
        self._sums = dict(progress.unlogged)
        self._paced = self._timed = progress.step
        self._seconds = self._waited = 0.0
        self._means: dict[str, float] = {}
        self._metrics, self._speeds = (_opened(out / name, progress.step) for name in (METRICS_FILE, SPEED_FILE))
        self._latents = _opened(out / LATENTS_FILE, progress.step) if config.train.keep_posteriors else None
        self._board: SummaryWriter = SummaryWriter(str(out / "tensorboard"), purge_step=progress.step + 1)
        interval = config.train.validation_interval(per_epoch)
        self._time_left = TimeLeft(progress.total_steps, interval, config.train.early_stopping)
        self._terminal = sys.stdout.isatty()
        self._bar = tqdm(
            total=progress.total_steps,
            initial=progress.step,
            unit="step",
            disable=not self._terminal,
            file=sys.stdout,
            dynamic_ncols=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close all files; an error of closing, as on a full disk, does not replace the error that ends the run."""
        ignored = () if kind is None else (OSError,)
        for part in (self._bar, self._metrics, self._speeds, self._latents, self._board):
            if part is not None:
                with suppress(*ignored):
                    part.close()

    def print_line(self, line: str) -> None:
        """Print a line without breaking the progress bar."""
        if self._terminal:
            self._bar.write(line)
        else:
            print(line, flush=True)

    def trained(self, step: int, figures: Mapping[str, float], beta: float, learning_rate: float) -> None:
        """See `Observer.trained`."""
        self._beta = beta
        for name, value in {STEPS: 1.0, **figures}.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._bar.update()
        if self._records(step):
            steps = self._sums.pop(STEPS)
            means = {name: total / steps for name, total in self._sums.items()}
            self._sums = {}
            self._record(self._metrics, "train", step, means | {"beta": beta, "learning_rate": learning_rate})
            self._means = means

    def paced(self, step: int, seconds: float, waited: float) -> None:
        """See `Observer.paced`."""
        self._seconds += seconds
        self._waited += waited
        self._time_left.updated(step - self._timed)
        self._timed = step
        if self._records(step):
            updates = step - self._paced
            figures = {"seconds_per_update": self._seconds / updates, "data_wait": self._waited / self._seconds}
            self._record(self._speeds, "speed", step, figures)
            self._paced, self._seconds, self._waited = step, 0.0, 0.0
            self._show(step, self._means)

    def _records(self, step: int) -> bool:
        return step % self._config.train.log_every == 0 or step == self._bar.total

    @property
    def unlogged(self) -> dict[str, float]:
        """See `Observer.unlogged`."""
        return dict(self._sums)

    def validated(self, step: int, report: ElboReport, best: bool) -> None:
        """See `Observer.validated`."""
        self._time_left.validated()
        self._record(self._metrics, "valid", step, report.figures() | {"beta": self._beta})
        self.print_line(
            f"step {step}: valid {_bound(report)}, reconstruction perplexity {report.rec_perplexity:.2f}, active units "
            f"{report.active_units}{_gain(report)}{_beside(report)}{' (best so far)' if best else ''}"
        )
        # Below half of the schedule's highest beta, an unused z is not a collapse.
        collapsed = hardly_uses_z(report, self._config.sizes) and self._beta > 0.5 * self._config.beta.stop
        if collapsed and not self._collapsed:
            self.print_line(
                f"warning: step {step}: KL {report.kl:.3f} nats, nats gained by z {report.nats_from_z:.3f}, "
                f"active units {report.active_units} of {self._config.sizes.latent_size}: the posterior is collapsing: "
                f"the decoder hardly uses z. What helps: {' or '.join(self._remedies)}"
            )
        self._collapsed = collapsed

    def placed(self, step: int, posterior: Gaussian) -> None:
        """See `Observer.placed`."""
        if self._latents is not None:
            rows = {name: values.tolist() for name, values in posterior._asdict().items()}
            _append(self._latents, {"kind": "latents", "step": step} | rows)

    def _record(self, file: IO[str], kind: str, step: int, values: Mapping[str, float | None]) -> None:
        _append(file, {"kind": kind, "step": step} | dict(values))
        for name, value in values.items():
            if value is not None:
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def _show(self, step: int, means: dict[str, float]) -> None:
        terms = {"rec": means["reconstruction"], "kl": means["kl"], "beta": self._beta}
        if "bag_of_words" in means:
            terms["bow"] = means["bag_of_words"]
        if "without_z" in means:
            terms["without z"] = means["without_z"]
        shown = {name: f"{value:.3g}" for name, value in terms.items()}
        self._bar.set_postfix(shown)
        now = time.monotonic()
        if not self._terminal and (now - self._spoke >= LINE_SECONDS or step == self._bar.total):
            self._spoke = now
            speed = (step - self._start) * self._config.train.batch_size / (now - self._began)
            listed = ", ".join(f"{name} {value}" for name, value in shown.items())
            left = "".join(f", {text}" for text in [self._time_left.text(step)] if text)
            self.print_line(f"step {step}/{self._bar.total}: {listed} ({speed:.0f} examples/s){left}")


def _bound(report: ElboReport) -> str:
    """The ELBO and its KL; of an autoencoder the reconstruction, because it has no bound."""
    if math.isnan(report.elbo):
        return f"reconstruction {report.reconstruction:.3f} (from the posterior mean)"
    return f"ELBO {report.elbo:.3f}, KL {report.kl:.3f}"


def _gain(report: ElboReport) -> str:
    return "" if math.isnan(report.nats_from_z) else f", nats gained by z {report.nats_from_z:.2f}"


def _beside(report: ElboReport) -> str:
    """The figures to compare with the ELBO, if the model also works without z; else empty."""
    if report.without_z is None:
        return ""
    return f", reconstruction {report.reconstruction:.3f}, without z {report.without_z:.3f}"


def read_metrics(out: Path, name: str = METRICS_FILE) -> list[dict[str, Any]]:
    """The records of a run, oldest first; a half-written last line is left out.

    Raises:
        DataError: another line is broken.
    """
    path = out / name
    return [_parsed(path, number, line) for number, line in enumerate(_lines(path), start=1)]


def _opened(path: Path, step: int) -> IO[str]:
    """A file of records, opened to append after `step`."""
    write_atomically(path, _until(path, step))
    return path.open("a", encoding="utf-8")


def _append(file: IO[str], record: dict[str, Any]) -> None:
    """Write a record as a line.

    Raises:
        OSError: it cannot be written; unlike Python's own error, this one names the file.
    """
    try:
        file.write(json.dumps(record, allow_nan=False) + "\n")
        file.flush()
    except OSError as error:
        raise OSError(error.errno, f"cannot be written ({error.strerror})", file.name) from error


def _until(path: Path, step: int) -> bytes:
    """The records of a metrics file up to `step`."""
    kept = (line for number, line in enumerate(_lines(path), start=1) if _parsed(path, number, line)["step"] <= step)
    return b"".join(line + b"\n" for line in kept)


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict) or record.get("kind") not in KINDS or not isinstance(record.get("step"), int):
        raise DataError(path, f"not a record of metrics: {line[:60]!r}", number)
    return record
