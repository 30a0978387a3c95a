"""Running cells: how many at a time, on which devices, and restarts after an interruption."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from dialog_cvae.errors import ConfigError
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model_config import ModelConfig
from training.config import FitConfig
from training.sweep import capacity, runners
from training.sweep import cell_task as task_module
from training.sweep.cell_task import LOG_FILE, CellTask, Ending, run_cell
from training.sweep.cells import Cell, grid, parse_axis
from training.sweep.runners import OnOneMachine, OnRay, on_one_machine
from training.task import TASKS

GIB = 2**30
DONE = Ending("done")
# Replaces a cell's process: it records its start, then does the act of its option.
STUB = """
import os, pathlib, signal, sys
folder, act = pathlib.Path(sys.argv[1]), sys.argv[2]
start = len(list(folder.glob("start*")))
(folder / f"start{start}").write_text(" ".join(sys.argv[3:]))
if act == "kill" or (act == "kill-once" and start == 0) or (act == "progress" and start < 3):
    os.kill(os.getpid(), signal.SIGKILL)
if act == "terminate":
    sys.exit(143)
if act == "odd":
    sys.exit(255)
if act == "fail":
    print("error: no such luck", file=sys.stderr)
    sys.exit(2)
if act == "crash":
    raise ValueError("a bug")
if act == "wait":
    sys.stdin.read()
    sys.exit(143)
"""


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], CellTask]:
    (tmp_path / "stub_fit.py").write_text(STUB)
    monkeypatch.setattr(task_module, "_PROCESS", "stub_fit")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    return lambda act: CellTask(Path("cells", act), (act,), tmp_path / "stop", tmp_path)


def starts(task: CellTask) -> int:
    return len(list((task.cwd / task.folder).glob("start*")))


def test_a_successful_cell_is_done(task: Callable[[str], CellTask]) -> None:
    good = task("good")
    assert run_cell(good, "cuda:1") == DONE
    assert (good.cwd / good.folder / "start0").read_text() == "--device=cuda:1"


@pytest.mark.parametrize(("act", "reason"), [("fail", "no such luck"), ("crash", "ValueError: a bug")])
def test_a_failed_cell_is_not_repeated_and_gives_the_reason(
    task: Callable[[str], CellTask], act: str, reason: str
) -> None:
    assert run_cell(task(act), "cpu") == Ending("failed", reason)
    assert starts(task(act)) == 1
    assert reason in (task(act).cwd / task(act).folder / LOG_FILE).read_text()


def test_an_interrupted_cell_is_restarted(task: Callable[[str], CellTask]) -> None:
    assert run_cell(task("kill-once"), "cpu") == Ending("done", restarts=1)
    assert starts(task("kill-once")) == 2


@pytest.mark.parametrize(("act", "name"), [("kill", "SIGKILL"), ("terminate", "SIGTERM"), ("odd", "signal 127")])
def test_a_cell_without_progress_fails(task: Callable[[str], CellTask], act: str, name: str) -> None:
    ending = run_cell(task(act), "cpu")
    assert ending == Ending("failed", f"ended twice by a signal ({name}) without progress beyond step 0", 1)
    assert starts(task(act)) == 2


def test_a_cell_with_progress_is_restarted_each_time(
    task: Callable[[str], CellTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_module, "_saved_step", lambda folder: len(list(folder.glob("start*"))))
    assert run_cell(task("progress"), "cpu") == Ending("done", restarts=3)


def test_a_cell_stops_when_the_sweep_stops(task: Callable[[str], CellTask]) -> None:
    waiting = task("wait")
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(run_cell, waiting, "cpu")
        until = time.monotonic() + 60
        while starts(waiting) == 0:
            assert time.monotonic() < until, "the cell did not start"
            time.sleep(0.01)
        waiting.stop.touch()
        assert ending.result() == Ending("stopped")
    assert run_cell(task("good"), "cpu") == Ending("stopped")  # and no other cell starts
    assert starts(task("good")) == 0


def test_a_folder_that_cannot_be_written_gives_a_failed_cell(task: Callable[[str], CellTask]) -> None:
    (task("good").cwd / "cells").write_text("mine")
    ending = run_cell(task("good"), "cpu")
    assert ending.status == "failed"
    assert ending.reason.endswith((os.strerror(20), os.strerror(17)))


def test_all_slots_are_used_and_none_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    busy: list[str] = []
    most, lock = [0], threading.Lock()
    side_by_side = threading.Barrier(3)  # passes once three cells run at the same time

    def fake(task: CellTask, device: str) -> Ending:
        with lock:
            assert device not in busy
            busy.append(device)
            most[0] = max(most[0], len(busy))
        side_by_side.wait(60)
        busy.remove(device)
        return Ending("failed", task.options[0]) if task.options[0] == "4" else DONE

    monkeypatch.setattr(runners, "run_cell", fake)
    endings: dict[int, Ending] = {}
    tasks = [CellTask(Path(), (str(index),), Path(), Path()) for index in range(9)]
    OnOneMachine(["cuda:0", "cuda:1", "cpu"]).run(tasks, lambda index, ending: endings.update({index: ending}))
    assert endings == {index: Ending("failed", "4") if index == 4 else DONE for index in range(9)}
    assert most == [3]


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """Twelve cells of the paper's model, on a machine of 8 cores and 6 GiB of free memory."""
    monkeypatch.setattr(runners.joblib, "cpu_count", lambda: 8)
    monkeypatch.setattr(capacity, "free_memory", lambda: 6 * GIB)
    monkeypatch.setattr(runners, "device_of", lambda name: torch.device("cpu" if name == "auto" else name))
    monkeypatch.setattr(capacity, "free_on_gpus", lambda: [2 * GIB, 1 * GIB])
    return grid("paper", [parse_axis("bow=true,false")], range(6), {"corpus": {"name": "sample"}})


def test_default_jobs_on_cpu_fit_cores_and_memory(cells: list[Cell], monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_one_machine(cells).slots == ["cpu"] * 5  # cells of about 1.1 GiB each
    assert on_one_machine(cells[:3]).slots == ["cpu"] * 3
    assert on_one_machine(cells, jobs=11).slots == ["cpu"] * 11
    monkeypatch.setattr(capacity, "free_memory", lambda: None)
    assert on_one_machine(cells).slots == ["cpu"] * 8
    two_threads = grid("paper", [], range(9), {"corpus": {"name": "sample"}, "train": {"threads": 3}})
    assert on_one_machine(two_threads).slots == ["cpu"] * 2
    monkeypatch.setattr(capacity, "free_memory", lambda: 0)
    assert on_one_machine(cells).slots == ["cpu"]


def test_gpus_get_cells_by_turns_and_free_memory(cells: list[Cell], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "free_memory", lambda: 600 * GIB)
    assert on_one_machine(cells, device="cuda").slots == ["cuda:0", "cuda:1", "cuda:0"]
    assert on_one_machine(cells, device="cuda:0").slots == ["cuda:0"] * 2
    assert on_one_machine(cells, device="cuda", per_gpu=2).slots == ["cuda:0", "cuda:1"] * 2
    assert on_one_machine(cells, jobs=5, device="cuda").slots == ["cuda:0", "cuda:1", "cuda:0", "cuda:0", "cuda:1"]
    assert on_one_machine(cells, jobs=5, device="cuda", per_gpu=2).slots == ["cuda:0", "cuda:1"] * 2
    assert on_one_machine(cells, jobs=3, device="cuda", per_gpu=2).slots == ["cuda:0", "cuda:1", "cuda:0"]
    assert on_one_machine(cells, jobs=5, device="cpu", per_gpu=2).slots == ["cpu"] * 5
    assert on_one_machine(cells, device="cpu").slots == ["cpu"] * 8


def test_parameters_are_counted_without_building_the_model(tiny_config: ModelConfig) -> None:
    for bow in (True, False):
        config = tiny_config.model_copy(update={"bow": bow})
        model = CVAE(config, 50, 0)
        assert capacity.parameters(TASKS["dialog"], config, 50) == sum(weight.numel() for weight in model.parameters())


def test_the_estimate_for_the_papers_model_is_near_the_measured_memory() -> None:
    measured = 895_304 * 2**10  # VmHWM of a fit on Switchboard
    assert measured <= capacity.PROCESS_BYTES + capacity.fit_bytes(FitConfig()) <= 1.5 * measured


def test_free_memory_is_limited_by_the_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(capacity, "_CONTAINER", tmp_path)
    on_machine = capacity._free_on_machine()
    (tmp_path / "memory.max").write_text("max\n")
    assert capacity._free_in_container() is None
    for name, content in (("max", "5000\n"), ("current", "3000\n"), ("stat", "anon 1\ninactive_file 500\n")):
        (tmp_path / f"memory.{name}").write_text(content)
    assert capacity.free_memory() == 2500
    if sys.platform == "linux":
        assert on_machine is not None
        assert on_machine > 2500


def test_ray_reserves_cores_and_a_share_of_a_gpu() -> None:
    resources = {"CPU": 4.0, "GPU": 1.0}
    assert OnRay(threads=2, per_gpu=4)._needs(resources) == {"num_cpus": 2, "num_gpus": 0.25}
    assert OnRay(threads=2)._needs({"CPU": 4.0}) == {"num_cpus": 2, "num_gpus": 0}
    assert OnRay(device="cpu")._needs(resources) == {"num_cpus": 1, "num_gpus": 0}
    with pytest.raises(ConfigError, match=r"^engine: a cell needs 1 GPU, but Ray has 0$"):
        OnRay(device="cuda")._needs({"CPU": 4.0})
    with pytest.raises(ConfigError, match=r"^engine: a cell needs 5 CPU, but Ray has 4$"):
        OnRay(threads=5)._needs(resources)


def test_missing_ray_gives_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"^engine: Ray is not installed: pip install 'dialog-cvae\[ray\]'$"):
        OnRay().run([], lambda *_: None)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:many"])
def test_a_cluster_that_does_not_answer_is_an_error_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", sys)  # any module: it is not reached
    with pytest.raises(ConfigError, match=f"^address: no Ray cluster at '{address}' "):
        OnRay(address).run([], lambda *_: None)
