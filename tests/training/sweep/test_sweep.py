"""The sweep command: what it fits and keeps, its errors, and that interrupted cells lose nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.training.tiny_runs import Fit, Outcome, assert_same_run, metrics, of_corpus
from training import fit as fit_command
from training.state import STATE_FILE
from training.sweep import run as sweep
from training.sweep.cell_task import CellTask, Ending
from training.sweep.cells import grid, parse_axis
from training.sweep.runners import Ended


class InThisProcess:
    """Runs cells one after the other in this process, and records their names."""

    def __init__(self) -> None:
        self.fitted: list[str] = []

    def run(self, tasks: Sequence[CellTask], ended: Ended) -> None:
        for index, task in enumerate(tasks):
            self.fitted.append(task.folder.name)
            resume = ["--resume"] if (task.folder / STATE_FILE).exists() else []
            status = fit_command.main([*task.options, f"--out={task.folder}", "--no-report", *resume])
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
        words = ["paper", "--config", config_file, "--out", "sweep", *of_corpus(corpus_file, options)]
        status = sweep.main([str(word) for word in words])
        return Outcome(status, *capsys.readouterr())

    return call


def test_a_result_has_its_updates_and_those_planned(whole_run: Path) -> None:
    (cell,) = grid("sample", [], (0,))
    result = sweep._result(cell, whole_run, Ending("done"))
    assert (result.step, result.total_steps) == (12, 12)


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
