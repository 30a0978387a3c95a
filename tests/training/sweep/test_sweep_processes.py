"""Sweeps with real processes: killed cells, a killed sweep, Ctrl-C, and Ray."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.training.tiny_runs import Fit, assert_same_run, metrics
from training.locks import wait_for_lock
from training.state import load_progress
from training.sweep import cell_task as task_module
from training.sweep import run as sweep
from training.sweep.cell_task import LOG_FILE
from training.sweep.cells import Cell
from training.sweep.run import run_sweep
from training.sweep.runners import OnOneMachine, OnRay

ROOT = Path(sweep.__file__).parents[2]
KILL_ITSELF = """
import os, signal, sys
from training.sweep import process as sweep_process
from training.metrics_log import MetricsLog
trained = MetricsLog.trained
def then_die(self, step, *rest):
    trained(self, step, *rest)
    if step == 10 and not os.path.exists("killed"):
        open("killed", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
MetricsLog.trained = then_die
sys.exit(sweep_process.main(sys.argv[1:]))
"""


@pytest.fixture
def processes(raw_fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which cells run this code and open no window."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "agg")


def test_a_killed_cell_restarts_and_loses_nothing(
    processes: None, cell: Cell, whole_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("killing_process.py").write_text(KILL_ITSELF)
    monkeypatch.setattr(task_module, "_PROCESS", "killing_process")
    (result,) = run_sweep([cell], Path("sweep"), OnOneMachine(["cpu"]))
    log = (result.folder / LOG_FILE).read_text()
    assert (result.status, result.reason) == ("done", ""), log
    assert Path("killed").exists()
    starts = [line for line in log.splitlines() if line.startswith("$ python -m training.fit ")]
    assert [line.endswith(" --resume") for line in starts] == [False, True]
    assert all(" --no-report" in line for line in starts)
    assert_same_run(result.folder, whole_run)
    assert result.figures["elbo"] == max(record["elbo"] for record in metrics(whole_run, "valid"))


@pytest.mark.slow
def test_the_cells_of_a_killed_sweep_save_their_state_and_stop(
    processes: None, corpus_file: Path, config_file: Path, whole_run: Path, cell: Cell
) -> None:
    endless = ["--data", corpus_file, "--config", config_file, "--max-steps", "1000000", "--device", "cpu"]
    command = [sys.executable, "-m", "training.sweep", "paper", *map(str, endless), "--out", "sweep"]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = Path("sweep", "seed=0")
    _wait_for(lambda: len(metrics(folder, "train")) > 3 if (folder / "metrics.jsonl").exists() else False)
    driver.kill()
    driver.wait()
    log = folder / LOG_FILE
    _wait_for(lambda: "stopped after step" in log.read_text())
    assert load_progress(folder).step > 3


def _wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"the condition did not hold within {seconds} s"
        time.sleep(0.05)


@pytest.mark.slow
def test_ctrl_c_saves_every_cell_and_the_same_command_continues(
    processes: None, corpus_file: Path, config_file: Path
) -> None:
    tiny = ["--data", str(corpus_file), "--config", str(config_file), "--max-steps", "200", "--train.batch-size", "1"]
    tiny += ["--train.validate-every", "200", "--train.save-every", "200"]
    command = [
        sys.executable,
        "-m",
        "training.sweep.run",
        "paper",
        *tiny,
        "--seeds",
        "3",
        "--jobs",
        "2",
        "--out",
        "sweep",
    ]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder = Path("sweep", "seed=0")
    _wait_for(lambda: len(metrics(folder, "train")) > 3 if (folder / "metrics.jsonl").exists() else False)
    driver.send_signal(signal.SIGINT)
    out, error = driver.communicate()
    assert driver.returncode == 130
    assert error == "stopped; repeat the command to continue\n"
    assert "seed=2: stopped after step 0" in out
    assert not Path("sweep", "seed=2").exists()
    assert not Path("sweep", "sweep.md").exists()
    step = load_progress(folder).step
    assert f"stopped after step {step};" in (folder / LOG_FILE).read_text()
    assert not list(Path("sweep").glob(".stop*"))
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert f"seed=0: continues after step {step}" in again.stdout
    assert "| paper | 3 |" in again.stdout


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # from Ray itself
def test_a_cell_on_ray_gives_the_same_run(processes: None, cell: Cell, whole_run: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'dialog-cvae[ray]'")
    (result,) = run_sweep([cell], Path("sweep"), OnRay(jobs=1, device="cpu"))
    assert result.status == "done", result.reason
    assert_same_run(result.folder, whole_run)


def test_on_windows_a_second_process_of_a_cell_waits_for_the_lock_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[int, int]] = []

    def locking(_: int, mode: int, count: int) -> None:
        tried.append((mode, count))
        if len(tried) < 3:
            raise PermissionError

    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with (tmp_path / "lock").open("wb") as lock, monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        wait_for_lock(lock)
    assert tried == [(2, 1)] * 3
