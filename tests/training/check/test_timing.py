"""The speed of training, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import Tensor

from dialog_cvae.data.readers import sample
from training import update
from training.arguments import layered, recipe
from training.check import timing


def test_a_sample_arrives_in_the_process_and_is_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    conversations = sample.read(conversations=20).train
    config = layered(recipe("small"), {"tokenizer": {"mode": "unigram", "vocab_size": 400}, "train": {"batch_size": 8}})
    ticks, sizes, update_of_weights = count(), list[int](), update.update

    def counted(*given: Any) -> Tensor:
        sizes.append(given[2].size)
        return update_of_weights(*given)

    monkeypatch.setattr(timing, "time", SimpleNamespace(monotonic=lambda: next(ticks)))  # 1 s from call to call
    monkeypatch.setattr(timing, "SECONDS", 4.0)
    monkeypatch.setattr(update, "update", counted)

    def here(_: Any, **given: Any) -> SimpleNamespace:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", SimpleNamespace(read=lambda: given["input"]))
            printed: list[str] = []
            patch.setattr("builtins.print", printed.append)
            timing.main()
        return SimpleNamespace(stdout="a warning\n" + printed[0] + "\n")

    monkeypatch.setattr(subprocess, "run", here)
    # The first update is not timed. It takes until 1 s; updates begin until 4 s, and the clock is read again at 5 s.
    assert timing.replies_per_second(config, list(conversations)) == 3 * 8 / 4
    assert sizes == [8] * 4


@pytest.mark.parametrize(
    "outcome", [subprocess.TimeoutExpired("x", 1), subprocess.CalledProcessError(-9, "x"), OSError("no process")]
)
def test_what_cannot_be_measured_is_none(monkeypatch: pytest.MonkeyPatch, outcome: Exception) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise outcome

    monkeypatch.setattr(subprocess, "run", fails)
    assert timing.replies_per_second(recipe("small"), []) is None


def test_the_process_finds_the_package_from_any_folder() -> None:
    assert Path(timing.__file__).is_relative_to(timing.ROOT / "training")
    assert (timing.ROOT / "training" / "__init__.py").is_file()
