"""Runs with a cache of the corpus: equal results, warm starts, and flat memory."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.data.cache import CACHE_VARIABLE
from tests.training.tiny_runs import Fit, assert_same_run
from training.metrics_log import MetricsLog

READING = "reading the text of "
SMALL = TokenizerConfig(vocab_size=16)


def test_runs_from_text_from_cache_and_without_cache_are_equal(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, corpus_file: Path
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "kept"))
    line = f"{READING}{corpus_file}\n"
    assert [line in fit("--out", out).out for out in ("cold", "warm")] == [True, False]
    assert line in fit("--out", "none", "--cache", "off").out
    assert line in fit("--out", "other", "--cache", "other kept").out
    for out in ("warm", "none", "other"):
        assert_same_run(Path("cold"), Path(out))
    shutil.rmtree("kept")
    (tmp_path / "kept").write_text("in the way")
    blocked = fit("--out", "blocked").out
    assert blocked.count("cannot be written to (File exists); going on without it") == 1
    assert_same_run(Path("cold"), Path("blocked"))


def test_resumed_and_fine_tuned_runs_start_warm_too(
    fit: Fit, kill_at: Callable[..., None], whole_run: Path, corpus_file: Path
) -> None:
    kill_at(6, "--out", "run")
    resumed = fit("--out", "run", "--resume")
    assert READING not in resumed.out
    assert_same_run(Path("run"), whole_run)
    tuned = [fit("--out", out, "--init", whole_run / "best").out for out in ("tuned", "again")]
    assert READING not in tuned[1]
    assert_same_run(Path("tuned"), Path("again"))


def test_memory_stays_flat_over_epochs(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs, per_epoch = 16, 22
    blocks: list[int] = []
    resident: list[int] = []
    original = MetricsLog.validated

    def validated(self: MetricsLog, *arguments: Any) -> None:
        original(self, *arguments)
        gc.collect()
        blocks.append(sys.getallocatedblocks())
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        resident.append(pages * os.sysconf("SC_PAGE_SIZE"))

    monkeypatch.setattr(MetricsLog, "validated", validated)
    options = {"batch-size": 2, "max-steps": epochs * per_epoch, "validate-every": per_epoch, "save-every": 1000}
    outcome = fit("--out", "run", *(f"--train.{name}={value}" for name, value in options.items()))
    assert f"43 windows, {epochs * per_epoch} steps" in outcome.out
    assert len(blocks) == epochs
    middle = epochs // 2 - 1
    assert blocks[-1] - blocks[middle] < 3 * per_epoch * (epochs - 1 - middle)  # hardly an object a step
    assert resident[-1] - resident[middle] < 4 * 2**20
