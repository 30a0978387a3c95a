"""Runs of `training.fit` on twelve tiny conversations: a fraction of a second each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny_runs import CONFIG, Fit, Killed, Outcome, conversation, of_corpus, without_report, write_corpus
from training import fit as command_line
from training.metrics_log import MetricsLog


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "mine.jsonl", [conversation(i) for i in range(12)])


@pytest.fixture(scope="session")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.json"
    path.write_text(json.dumps(CONFIG))
    return path


@pytest.fixture
def raw_fit(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fit:
    """`training.fit` with the given options, in an empty folder, without learning curves.

    The model is measured at the end only if the options say so.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command_line, "draw_learning_curves", lambda *_: None)

    def run(*options: object) -> Outcome:
        capsys.readouterr()
        status = command_line.main(without_report(options))
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture
def fit(raw_fit: Fit, corpus_file: Path, config_file: Path) -> Fit:
    """`training.fit` on the tiny corpus with the tiny configuration and further options."""

    def run(*options: object) -> Outcome:
        return raw_fit("--config", config_file, *of_corpus(corpus_file, options))

    return run


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Call a function right after a step of the next run."""

    def arrange(wanted: int, action: Callable[[], object]) -> None:
        original = MetricsLog.trained

        def trained(self: MetricsLog, step: int, *args: Any) -> None:
            original(self, step, *args)
            if step == wanted:
                monkeypatch.setattr(MetricsLog, "trained", original)
                action()

        monkeypatch.setattr(MetricsLog, "trained", trained)

    return arrange


@pytest.fixture
def kill_at(at_step: Callable[[int, Callable[[], object]], None], fit: Fit) -> Callable[..., None]:
    """Run, and end right after a step without saving anything."""

    def run(step: int, *options: object) -> None:
        def die() -> None:
            raise Killed

        at_step(step, die)
        with pytest.raises(Killed):
            pytest.fail(f"it was not killed: {fit(*options)}")

    return run


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory, corpus_file: Path, config_file: Path) -> Path:
    """An uninterrupted run; tests must not change it."""
    out = tmp_path_factory.mktemp("whole") / "run"
    options = ("--data", corpus_file, "--config", config_file, "--out", out)
    assert command_line.main(without_report(options)) == 0
    return out
