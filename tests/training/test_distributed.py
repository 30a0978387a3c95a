"""Several processes give the same result as one, write once, stop together and fail together."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.processes import TIMEOUT, free_port, together
from tests.training.tiny_runs import Fit, Outcome, metrics, of_corpus, state
from training import loop
from training import update as training_update
from training.metrics_log import MetricsLog
from training.objectives import Objective, weighted
from training.observer import NullObserver
from training.state import load_progress

Start = Callable[..., list[Outcome]]


@pytest.fixture
def start(corpus_file: Path, config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """`training.fit` on the tiny corpus in several processes, in an empty folder, with further options."""
    monkeypatch.chdir(tmp_path)

    def run(size: int, *options: object, **more: Any) -> list[Outcome]:
        return together(size, ["--config", config_file, *of_corpus(corpus_file, options)], **more)

    return run


def _assert_same_curves(one: Path, other: Path) -> None:
    """All records and the final weights are equal, except for rounding."""
    for kind in ("train", "valid"):
        ours, theirs = metrics(one, kind), metrics(other, kind)
        assert [record["step"] for record in ours] == [record["step"] for record in theirs] != []
        for mine, their in zip(ours, theirs, strict=True):
            assert {**mine, "kind": 0} == pytest.approx({**their, "kind": 0}, rel=2e-5, abs=1e-6)
    weights, expected = state(one), state(other)
    assert weights.keys() == expected.keys()
    for name in weights:
        torch.testing.assert_close(weights[name], expected[name], rtol=1e-3, atol=1e-5)


def test_two_processes_learn_the_same_as_one_and_write_once(start: Start, whole_run: Path) -> None:
    # 43 windows in batches of 7: the seventh step has one window, and so none for the second process.
    lead, other = start(2, "--out", "run")
    assert (lead.status, lead.error) == (0, "")
    assert other == Outcome(0, "", "")
    assert "2 processes of 1 threads" in lead.out
    _assert_same_curves(Path("run"), whole_run)
    assert _files(Path("run")) == _files(whole_run) - {"learning_curves.png"}
    assert len(list(Path("run/tensorboard").iterdir())) == 1


def test_two_processes_learn_a_decoder_with_skip_connections_like_one(start: Start, fit: Fit) -> None:
    assert fit("--out", "alone", "--model.skip").status == 0
    lead, _ = start(2, "--out", "run", "--model.skip")
    assert (lead.status, lead.error) == (0, "")
    _assert_same_curves(Path("run"), Path("alone"))


def test_two_processes_learn_sentences_like_one(raw_fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--recipe", "toy", "--max-steps", 6, "--train.validate-every", 3, "--train.log-every", 1]
    options += ["--train.batch-size", 5, "--train.dropout", 0.2, "--train.word-dropout", 0.3, "--train.svi.steps", 2]
    lead, other = together(2, [*options, "--out", "run"])
    assert (lead.status, lead.error) == (0, "")
    assert other == Outcome(0, "", "")
    assert raw_fit(*options, "--out", "alone").status == 0
    _assert_same_curves(Path("run"), Path("alone"))


def _files(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if "events" not in path.name}


def _after(step: int, act: Callable[[], object]) -> None:
    """Call a function in this process right after a step."""
    for observer in (MetricsLog, NullObserver):

        def trained(self: Any, now: int, *rest: Any, original: Any = observer.trained) -> None:
            original(self, now, *rest)
            if now == step:
                act()

        observer.trained = trained  # type: ignore[method-assign]


def _signalled(rank: int, at: int, step: int, number: signal.Signals) -> None:
    if rank == at:
        _after(step, partial(os.kill, os.getpid(), number))


@pytest.mark.parametrize(
    ("at", "number", "status"),
    [(1, signal.SIGINT, 130), pytest.param(0, signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_a_signal_to_one_process_stops_all_and_another_number_can_resume(
    start: Start, fit: Fit, whole_run: Path, at: int, number: signal.Signals, status: int
) -> None:
    lead, other = start(2, "--out", "run", prepare=partial(_signalled, at=at, step=5, number=number))
    assert (lead.status, other) == (status, Outcome(status, "", ""))
    assert lead.out.endswith("stopped after step 6; continue with: python -m training.fit --out run --resume\n")
    assert load_progress(Path("run")).step == 6
    gone_on = fit("--out", "run", "--resume")
    assert gone_on.status == 0
    assert "note: the run used 2 processes and now uses 1: rounding will differ" in gone_on.out
    _assert_same_curves(Path("run"), whole_run)


@pytest.mark.slow
def test_a_run_of_one_process_resumes_with_three(start: Start, fit: Fit, at_step: Any) -> None:
    few = ("--train.batch-size", 2, "--train.accumulation", 2)  # the third has one of two windows at each second step
    assert fit("--out", "whole", *few).status == 0
    at_step(5, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert fit("--out", "run", *few).status == 130
    outcomes = start(3, "--out", "run", *few, "--resume")
    assert [outcome.status for outcome in outcomes] == [0, 0, 0]
    assert "note: the run used 1 processes and now uses 3" in outcomes[0].out
    _assert_same_curves(Path("run"), Path("whole"))


def _not_finite(rank: int, at: int, call: int) -> None:
    calls = count(1)

    def poisoned(*args: Any) -> Objective:
        objective = weighted(*args)
        return objective._replace(loss=objective.loss * (float("nan") if next(calls) == call else 1.0))

    if rank == at:
        training_update.weighted = poisoned  # type: ignore[attr-defined]


def test_a_loss_that_is_not_finite_stops_all_processes_with_one_error_line(start: Start) -> None:
    lead, other = start(2, "--out", "run", prepare=partial(_not_finite, at=1, call=6))
    assert lead.complaint.startswith("step 6: loss or gradient is not finite (loss nan: reconstruction ")
    assert "the state after step 5 is in run/state" in lead.complaint
    assert other == Outcome(2, "", "")
    assert load_progress(Path("run")).step == 5
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state(Path("run")).values())


def _full_disk(rank: int) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run/state")

    loop.save_state = full  # type: ignore[attr-defined]


def _data_missing(rank: int, at: int) -> None:
    if rank == at:
        os.chdir("elsewhere")


def _lost(rank: int, at: int, step: int) -> None:
    if rank == at:
        _after(step, partial(os.kill, os.getpid(), signal.SIGKILL))


def test_an_error_of_all_processes_is_printed_once(start: Start, whole_run: Path, corpus_file: Path) -> None:
    lead, other = start(2, "--out", whole_run)
    assert lead.complaint.startswith(f"out: {whole_run} already holds a run")
    assert other == Outcome(2, "", "")
    lead, other = start(2, "--out", "run", "--train.batch-size", 0)
    assert lead.complaint == "train.batch_size: Input should be greater than or equal to 1, but is '0'"
    assert other == Outcome(2, "", "")
    lead, other = start(2, "--bogus")
    assert lead.complaint.startswith("unrecognized arguments: --bogus")
    assert other == Outcome(2, "", "")
    lead, other = start(2, "--out", "full", prepare=_full_disk)
    assert lead.complaint == f"run/state: {os.strerror(errno.ENOSPC)}"
    assert other == Outcome(2, "", "")
    Path("elsewhere").mkdir()
    Path("mine.jsonl").write_bytes(corpus_file.read_bytes())
    lead, other = start(2, "--out", "run", "--data", "mine.jsonl", prepare=partial(_data_missing, at=1))
    assert lead.complaint.startswith("process 1 of 2: mine.jsonl: ")
    assert other == Outcome(2, "", "")
    lead, _ = start(2, "--out", "lost", prepare=partial(_lost, at=1, step=6), lost=1)
    assert lead.complaint.startswith("another process of the run ended, or cannot be reached: ")
    assert load_progress(Path("lost")).step == 4


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_torchrun_starts_a_run_and_forwards_signals(
    corpus_file: Path, config_file: Path, tmp_path: Path, number: signal.Signals
) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    endless = ["--max-steps", "1000000", "--train.validate-every", "500000", "--train.save-every", "500000"]
    options = ["--data", str(corpus_file), "--config", str(config_file), "--out", str(tmp_path / "run"), *endless]
    process = subprocess.Popen(
        [*torchrun, "-m", "training.fit", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(loop.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    try:
        assert any(line.startswith("step ") for line in lines)
        process.send_signal(number)
        assert any(line.startswith("stopped after step ") for line in lines)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode != 0
    assert load_progress(tmp_path / "run").step > 0
    assert "training/fit.py" not in error  # a traceback of ours


def _statuses(machines: list[subprocess.Popen[bytes]]) -> list[int | None]:
    """The exit statuses; if one fails, the others are ended, because they would wait long for it. None: too slow."""
    end = time.monotonic() + TIMEOUT
    try:
        while time.monotonic() < end:
            statuses = [machine.poll() for machine in machines]
            if None not in statuses or any(statuses):
                break
            time.sleep(0.1)
    finally:
        for machine in machines:
            machine.terminate()  # a launcher ends its processes
            with suppress(subprocess.TimeoutExpired):
                machine.wait(10)
            machine.kill()
            machine.wait()
    return statuses


@pytest.mark.slow
def test_two_machines_need_no_shared_folder(
    corpus_file: Path, config_file: Path, tmp_path: Path, whole_run: Path
) -> None:
    port = free_port()
    options = ["--data", str(corpus_file), "--config", str(config_file), "--out", "run", "--no-report"]
    machines = []
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
        place = ["--nnodes=2", f"--node-rank={rank}", "--master-addr=127.0.0.1", f"--master-port={port}"]
        with (tmp_path / f"{rank}.out").open("w") as out, (tmp_path / f"{rank}.err").open("w") as error:
            machines.append(
                subprocess.Popen(
                    [sys.executable, "-m", "torch.distributed.run", *place, "-m", "training.fit", *options],
                    cwd=tmp_path / str(rank),
                    stdout=out,
                    stderr=error,
                    env=os.environ | {"PYTHONPATH": str(Path(loop.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
                )
            )
    statuses = _statuses(machines)
    said = {path.name: path.read_text() for path in tmp_path.glob("?.*")}
    assert statuses == [0, 0], said
    assert said["0.out"] != "" == said["1.out"]
    assert list((tmp_path / "1").iterdir()) == []
    _assert_same_curves(tmp_path / "0" / "run", whole_run)
