"""The sweep command: what it fits and keeps, its errors, and that interrupted cells lose nothing."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from tests.training.tiny_runs import CONFIG, Fit, Outcome, assert_same_run, metrics
from training import fit as fit_command
from training.state import STATE_FILE, load_progress
from training.sweep import cell_task as task_module
from training.sweep import run as sweep
from training.sweep.cell_task import LOG_FILE, CellTask, Ending
from training.sweep.cells import Cell, grid, parse_axis
from training.sweep.live_table import LiveTable, Row, duration
from training.sweep.run import run_sweep
from training.sweep.runners import Ended, OnOneMachine, OnRay

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


class InThisProcess:
    """Runs cells one after the other in this process, and records their names."""

    def __init__(self) -> None:
        self.fitted: list[str] = []

    def run(self, tasks: Sequence[CellTask], ended: Ended) -> None:
        for index, task in enumerate(tasks):
            self.fitted.append(task.folder.name)
            resume = ["--resume"] if (task.folder / STATE_FILE).exists() else []
            status = fit_command.main([*task.options, f"--out={task.folder}", *resume])
            ended(index, Ending("done" if status == 0 else "failed", "" if status == 0 else "it failed"))

    def __str__(self) -> str:
        return "one at a time"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> InThisProcess:
    """Replaces the default engine."""
    engine = InThisProcess()
    monkeypatch.setattr(sweep, "on_one_machine", lambda *_: engine)
    return engine


@pytest.fixture
def run(raw_fit: Fit, corpus_file: Path, config_file: Path, capsys: pytest.CaptureFixture[str]) -> Fit:
    """`training.sweep.run` for the tiny runs, with more options. (`raw_fit` changes to an empty folder.)"""

    def call(*options: object) -> Outcome:
        capsys.readouterr()
        words = ["paper", "--data", corpus_file, "--config", config_file, "--out", "sweep", *options]
        status = sweep.main([str(word) for word in words])
        return Outcome(status, *capsys.readouterr())

    return call


SCHEDULES = ("--vary", "schedule=monotonic,cyclical")
NAMES = [f"schedule={kind},seed={seed}" for seed in (0, 1) for kind in ("monotonic", "cyclical")]


def test_a_sweep_fits_each_cell_once_and_summarises_over_seeds(
    run: Fit, engine: InThisProcess, whole_run: Path
) -> None:
    first = run("--seeds", 2, *SCHEDULES)
    assert first.status == 0
    assert engine.fitted == NAMES
    assert first.out.startswith("4 cells in sweep: 0 done, 0 to continue, 4 new\none at a time\n")
    assert_same_run(Path("sweep", "schedule=cyclical,seed=0"), whole_run)  # as training.fit alone fits it
    table = Path("sweep/sweep.md").read_text(encoding="utf-8")
    assert first.out.endswith(f"\n{table}")
    content = json.loads(Path("sweep/sweep.json").read_text())
    assert [cell["name"] for cell in content["cells"]] == NAMES
    best = [max(record["elbo"] for record in metrics(Path("sweep", name), "valid")) for name in NAMES[1::2]]
    assert content["variants"][1]["measures"]["elbo"]["mean"] == pytest.approx(sum(best) / 2, rel=1e-12)

    before = {path: path.stat().st_mtime_ns for path in Path("sweep").rglob("*") if path.parent.name == "state"}
    other = run("--seeds", "0,1,5", *SCHEDULES, "--vary", "bow=false", "--dry-run")
    assert other.out.startswith("6 cells in sweep: 0 done, 0 to continue, 6 new\n")  # another grid has other folders
    again = run("--seeds", "0,1,5", *SCHEDULES)
    assert again.out.startswith("6 cells in sweep: 4 done, 0 to continue, 2 new\n")
    assert engine.fitted[4:] == ["schedule=monotonic,seed=5", "schedule=cyclical,seed=5"]
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_an_interrupted_cell_continues_exactly(
    run: Fit, engine: InThisProcess, kill_at: Callable[..., None], whole_run: Path
) -> None:
    kill_at(6, "--out", Path("sweep", NAMES[1]))
    assert run("--dry-run", *SCHEDULES).out == (
        "2 cells in sweep: 0 done, 1 to continue, 1 new\none at a time\n"
        f"{NAMES[0]}: start\n{NAMES[1]}: continue after step 4 of 12\n"
    )
    assert engine.fitted == []
    assert run(*SCHEDULES).status == 0
    assert_same_run(Path("sweep", NAMES[1]), whole_run)
    assert run("--dry-run", *SCHEDULES).out.endswith(f"{NAMES[0]}: done\n{NAMES[1]}: done\n")


def test_a_folder_with_another_configuration_stops_the_sweep_before_it_starts(run: Fit, engine: InThisProcess) -> None:
    assert run("--seeds", "1,2", "--vary", "schedule=cyclical").status == 0
    engine.fitted.clear()
    complaint = run("--seeds", "0,1,2", "--vary", "schedule=cyclical", "--max-steps", 13).complaint
    assert complaint == (
        "train.max_steps: the run in sweep/schedule=cyclical,seed=1 has 12, but 13 was asked for; a resumed run keeps "
        "it; 1 other cells have errors too"
    )
    assert engine.fitted == []
    assert not Path("sweep", NAMES[1]).exists()


def test_a_failed_cell_is_reported_and_the_others_run(run: Fit, engine: InThisProcess) -> None:
    outcome = run("--vary", "learning-rate.peak=1e30,0.001")
    assert outcome.status == 1
    assert engine.fitted == ["learning-rate.peak=1e+30,seed=0", "learning-rate.peak=0.001,seed=0"]
    assert "failed: learning-rate.peak=1e+30,seed=0: it failed (log: sweep/learning-rate.peak=1e+30,seed=0/" in (
        outcome.error
    )
    assert "| 1e+30 | 0 of 1 | – |" in outcome.out
    assert "Failed: learning-rate.peak=1e+30,seed=0: it failed" in outcome.out
    assert run("--vary", "learning-rate.peak=0.001").status == 0


def test_no_cell_starts_if_the_corpus_is_missing(run: Fit, engine: InThisProcess) -> None:
    assert run("--vary", "style=zhao,fluent", "--data", "swdaa").complaint.startswith(
        "swdaa: unknown corpus; known are"
    )
    gone = run("--data", "gone.jsonl").complaint
    assert gone == "gone.jsonl: cannot be read (No such file or directory)"
    assert engine.fitted == []
    assert not Path("sweep").exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--vary", "schedul=cyclical"), "vary: 'schedul' is not a field of the configuration"),
        (("--vary", "schedule=wavy,cyclical"), "beta.kind: Input should be 'constant', 'monotonic' or 'cyclical'"),
        (("--vary", "data=a.jsonl,b.jsonl"), "vary: data is varied, but also given as an option"),
        (("--seeds", "none"), "seeds: must be a number of seeds, or seeds as in 0,1,7, but is 'none'"),
        (("--seeds", "2", "--seed", "7"), "seeds: give --seeds (2) or --seed (7), not both"),
        (("--epochs", "0"), "train.epochs: Input should be greater than or equal to 1, but is '0'"),
        (("--address", "auto"), "address: joblib runs on this machine only, but 'auto' is given; add --engine ray"),
        (("--config", "nowhere.json"), "nowhere.json: cannot be read (No such file or directory)"),
        (("--init", "nowhere"), "nowhere: no checkpoint folder there"),
    ],
)
def test_invalid_values_give_one_error_line(run: Fit, options: tuple[str, ...], complaint: str) -> None:
    assert run(*options).complaint.startswith(complaint)
    assert not Path("sweep").exists()


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("papers",),
        ("paper", "--jobs", "0"),
        ("paper", "--jobs", "x"),
        ("paper", "--engine", "slurm"),
        ("paper", "--resume"),
        ("paper", "small"),
        ("paper", "--vary"),
    ],
)
def test_unknown_options_give_one_error_line(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        sweep.main(options)
    error = capsys.readouterr().err
    assert refused.value.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_an_unknown_device_is_refused(run: Fit) -> None:
    assert run("--device", "tpu").complaint == "device: must be auto, cpu or cuda, but is 'tpu'"


def test_the_default_folder_names_the_varied_options(run: Fit, engine: InThisProcess) -> None:
    sweep.main(["sample", "--vary", "schedule=cyclical", "--vary", "bow=true", "--seed", "3", "--dry-run"])
    assert sweep.main(["sample", "--max-steps", "1", "--dry-run"]) == 0
    (cell,) = grid("sample", [parse_axis("schedule=cyclical"), parse_axis("bow=true")], (3,))
    assert sweep._default_out("sample", cell) == Path("runs/sweep-sample-bow-schedule")
    assert not Path("runs").exists()


# Tests with real processes.


@pytest.fixture
def processes(raw_fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which cells run this code and open no window."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "agg")


@pytest.fixture
def cell(corpus_file: Path) -> Cell:
    return grid("paper", [parse_axis("schedule=cyclical")], (0,), {"corpus": {"name": str(corpus_file)}}, CONFIG)[0]


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
    tiny = ["--data", str(corpus_file), "--config", str(config_file), "--max-steps", "400", "--train.batch-size", "1"]
    tiny += ["--train.validate-every", "400", "--train.save-every", "400"]
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


# The live table.


def test_rows_show_the_progress_in_the_folder(cell: Cell, whole_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / cell.name
    row = Row(cell, folder, "new")
    row.read(0.0)
    assert row.texts() == (cell.name, "waiting", "", "", "", "", "")
    shutil.copytree(whole_run, folder)
    lines = (whole_run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / LOG_FILE).write_text("$ python\n")
    for seconds, count in ((10.0, 2), (14.0, 6)):  # two steps; then five, of which the third was validated
        (folder / "metrics.jsonl").write_text("".join(lines[:count]) + '{"half')
        row.read(seconds)
    third = json.loads(lines[3])
    assert third["kind"] == "valid"
    speed = (5 - 2) / 4 * 7
    assert row.texts() == (
        cell.name, "running", "5/12", f"{third['elbo']:.2f}", f"{third['kl']:.2f}", f"{speed:.0f}", "9 s",
    )  # fmt: skip
    row.end(Ending("done"))
    assert row.texts()[1:3] == ("done", "5/12")


def test_a_terminal_shows_a_table_and_other_output_lines(cell: Cell, whole_run: Path, tmp_path: Path) -> None:
    shutil.copytree(whole_run, tmp_path / cell.name)
    shown = {}
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=100, height=20)
        with LiveTable([cell], tmp_path, ["started"], tmp_path / "stop", console) as table:
            table.ended(0, Ending("failed", "no [such] luck", 2))
        shown[terminal] = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown[False] == f"{cell.name}: failed after step 12, restarted 2 times: no [such] luck\n"
    for word in ("valid ELBO", "examples/s", cell.name, "12/12", "failed", "1 failed"):
        assert word in shown[True], word


def test_a_full_terminal_shows_active_cells_first(cell: Cell, corpus_file: Path, tmp_path: Path) -> None:
    cells = grid("paper", [], range(30), {"corpus": {"name": str(corpus_file)}})
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=15)
    table = LiveTable(cells, tmp_path, ["new"] * 30, tmp_path / "stop", console)
    table.ended(29, Ending("failed"))
    shown = table.table()
    assert shown.row_count == 9
    assert shown.caption == "1 failed, 29 waiting"
    assert next(iter(shown.columns[0].cells)) == "seed=29"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.0, "0 s"), (59.0, "59 s"), (90.0, "2 min"), (3599.0, "1 h 00 min"), (7500.0, "2 h 05 min")],
)
def test_durations_have_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
