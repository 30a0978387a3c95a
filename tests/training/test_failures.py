"""Failures of a run: broken files, losses that are not finite, full disks. Each gives one error line."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.training.tiny_runs import Fit, assert_same_run, metrics, state
from training import loop, metrics_log
from training import update as training_update
from training.locks import only_process
from training.objectives import Objective, weighted
from training.state import STATE_FILE, load_progress

AtStep = Callable[[int, Callable[[], object]], None]
KillAt = Callable[..., None]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-40] ^= 0x10
    path.write_bytes(content)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _noise(path: Path) -> None:
    path.write_bytes(b"\xff\xfe{]" * 40)


def _later(path: Path) -> None:
    content = path.read_bytes()
    assert content.count(b'\\"step\\": 12') == 1
    path.write_bytes(content.replace(b'\\"step\\": 12', b'\\"step\\": 11'))


@pytest.mark.parametrize(
    ("part", "harm"),
    [(STATE_FILE, harm) for harm in (_truncate, _flip, _empty, _noise, _later, Path.unlink)]
    + [(name, harm) for name in ("topics.json", "tokenizer.model", "start.json") for harm in (_truncate, Path.unlink)]
    + [("config.json", harm) for harm in (_truncate, _noise, Path.unlink)]
    + [("metrics.jsonl", _noise_line := lambda path: path.write_bytes(b"{}\n" + path.read_bytes()))],
)
def test_broken_files_are_refused_with_their_path(
    fit: Fit, whole_run: Path, part: str | Path, harm: Callable[[Path], object]
) -> None:
    shutil.copytree(whole_run, "run")
    harm(Path("run") / part)
    complaint = fit("--out", "run", "--resume").complaint
    assert complaint.startswith("run")
    assert str(part) in complaint


def test_a_state_of_another_model_is_refused(fit: Fit, whole_run: Path) -> None:
    shutil.copytree(whole_run, "run")
    stored = json.loads(Path("run/config.json").read_text())
    stored["model"]["context_size"] = 9
    Path("run/config.json").write_text(json.dumps(stored))
    complaint = fit("--out", "run", "--resume", "--model.context-size", 9).complaint
    assert complaint.startswith(f"run/{STATE_FILE}: ")
    assert "the model asks for" in complaint


def test_a_state_of_another_seed_is_refused(fit: Fit, whole_run: Path) -> None:
    shutil.copytree(whole_run, "run")
    stored = json.loads(Path("run/config.json").read_text())
    stored["train"]["seed"] = 9
    Path("run/config.json").write_text(json.dumps(stored))
    assert "seed 0, but 9" in fit("--out", "run", "--resume", "--seed", 9).complaint


def test_a_folder_in_which_another_process_fits_is_refused(fit: Fit, whole_run: Path) -> None:
    def refused(out: str, *options: str) -> None:
        with only_process(Path(out)):
            complaint = fit("--out", out, *options).complaint
        assert complaint == f"out: another process fits in {out}; wait for its end, or choose another --out"

    refused("new")
    assert not Path("new").exists()
    shutil.copytree(whole_run, "run")
    refused("run", "--resume")
    assert_same_run(Path("run"), whole_run)


def test_half_a_line_of_metrics_is_dropped(fit: Fit, kill_at: KillAt, whole_run: Path) -> None:
    kill_at(6, "--out", "run")
    with Path("run/metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 7, "lo')
    assert fit("--out", "run", "--resume").status == 0
    assert_same_run(Path("run"), whole_run)


def _not_finite_at(monkeypatch: pytest.MonkeyPatch, wanted: int) -> None:
    calls = iter(range(1, 1000))

    def poisoned(*args: object) -> Objective:
        objective = weighted(*args)  # type: ignore[arg-type]
        return objective._replace(loss=objective.loss * (float("nan") if next(calls) == wanted else 1.0))

    monkeypatch.setattr(training_update, "weighted", poisoned)


def test_a_loss_that_is_not_finite_stops_with_the_last_good_state(
    fit: Fit, whole_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _not_finite_at(patch, 7)
        complaint = fit("--out", "run").complaint
    assert complaint.startswith("step 7: loss or gradient is not finite (loss nan: reconstruction ")
    assert "the state after step 6 is in run/state" in complaint
    assert complaint.endswith("start again, or from --init run/best, with a lower learning rate")
    assert load_progress(Path("run")).step == 6
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state(Path("run")).values())
    assert fit("--out", "run", "--resume").status == 0
    assert_same_run(Path("run"), whole_run)


@pytest.mark.parametrize("often", [1, 5, 1000])
def test_figures_may_be_read_later_without_changing_the_run(
    fit: Fit, at_step: AtStep, whole_run: Path, monkeypatch: pytest.MonkeyPatch, often: int
) -> None:
    monkeypatch.setitem(loop.MAX_PENDING, "cpu", 1000)  # both as on a GPU
    monkeypatch.setitem(loop.PREFETCHED_BATCHES, "cpu", 3)
    log_every = ("--train.log-every", often, "--train.validate-every", 12, "--train.save-every", 100)
    with monkeypatch.context() as patch:
        _not_finite_at(patch, 7)
        complaint = fit("--out", "run", *log_every).complaint
    assert complaint.startswith("step 7: loss or gradient is not finite (loss nan: reconstruction ")
    assert "the state after step 6 is in run/state" in complaint
    assert load_progress(Path("run")).step == 6
    at_step(10, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert fit("--out", "run", *log_every, "--resume").status in (0, 130)
    assert fit("--out", "run", *log_every, "--resume").status == 0
    ours, theirs = state(Path("run")), state(whole_run)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert [record["step"] for record in metrics(Path("run"), "train")][-1] == 12


@pytest.mark.parametrize("peak", ["1e18", "1e30", "1e39"])
def test_an_exploding_learning_rate_gives_an_error_and_a_finite_state(fit: Fit, peak: str) -> None:
    complaint = fit("--out", "run", "--learning-rate.peak", peak, "--train.validate-every", 12).complaint
    assert "not finite" in complaint
    step = load_progress(Path("run")).step
    assert f"the state after step {step} is in run/state" in complaint
    assert not Path("run/best").exists()
    assert complaint.endswith("start again with a lower learning rate")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state(Path("run")).values())


def test_a_full_disk_gives_one_error_line_and_the_run_can_resume(
    fit: Fit, whole_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        original = loop.save_state

        def save(out: Path, *args: object) -> None:
            patch.setattr(os, "fsync", full)
            original(out, *args)  # type: ignore[arg-type]

        patch.setattr(loop, "save_state", save)
        complaint = fit("--out", "run").complaint
    assert complaint.startswith(f"run/{STATE_FILE}: ")
    assert os.strerror(errno.ENOSPC) in complaint
    assert complaint.endswith("; continue with: python -m training.fit --out run --resume")
    assert load_progress(Path("run")).step == 0
    assert fit("--out", "run", "--resume").status == 0
    assert_same_run(Path("run"), whole_run)


def test_a_full_disk_under_the_metrics_names_their_file(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        name = "run/metrics.jsonl"

        def flush(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(metrics_log, "_opened", lambda *_: Full())
    complaint = fit("--out", "run").complaint
    reason = f"run/metrics.jsonl: cannot be written ({os.strerror(errno.ENOSPC)})"
    assert complaint == f"{reason}; continue with: python -m training.fit --out run --resume"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device of a full disk")
def test_a_really_full_disk_names_the_file_too(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing a file that could not be flushed fails again, without a name."""
    monkeypatch.setattr(metrics_log, "_opened", lambda *_: open("/dev/full", "a"))  # noqa: PTH123, SIM115
    complaint = fit("--out", "run").complaint
    reason = f"/dev/full: cannot be written ({os.strerror(errno.ENOSPC)})"
    assert complaint == f"{reason}; continue with: python -m training.fit --out run --resume"


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_an_invalid_folder_gives_one_error_line(fit: Fit, out: str) -> None:
    Path("file").write_text("mine")
    assert fit("--out", out).complaint
    assert Path("file").read_text() == "mine"
