"""`python -m experiments table3` from end to end on tiny runs: what it shows, resumes and refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.framework import command_line
from experiments.plots import style
from experiments.table3 import command as table3
from experiments.table3 import evaluate as table3_evaluate
from experiments.table3.cells import VARIANTS, plan
from tests.training.tiny_runs import CONFIG, Outcome, conversation, write_corpus
from training import fit as fit_command
from training.state import STATE_FILE
from training.sweep import run as sweep
from training.sweep.cell_task import CellTask, Ending
from training.sweep.runners import Ended

ROOT = Path(table3.__file__).parents[2]
ACTS = ("question", "answer", "backchannel")
WITHOUT_VECTORS = """
import signal
import sys
from dialog_cvae.data import packaged_vectors
from experiments.__main__ import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in its background jobs
packaged_vectors._PACKAGE = "not_installed_in_tests"
sys.exit(main())
"""
"""`python -m experiments` without the package of word vectors, as in the tests of one process."""


class InThisProcess:
    """Fits cells one after the other in this process, and notes which; it can be made to stop or fail."""

    def __init__(self) -> None:
        self.fitted: list[str] = []
        self.failing = ""
        self.stop_after = 1000

    def run(self, tasks: Sequence[CellTask], ended: Ended) -> None:
        for index, task in enumerate(tasks):
            if len(self.fitted) == self.stop_after:
                ended(index, Ending("stopped"))
            elif task.folder.name == self.failing:
                ended(index, Ending("failed", "no room"))
            else:
                self.fitted.append(task.folder.name)
                assert fit_command.main([*task.options, f"--out={task.folder}", "--no-report"]) == 0
                ended(index, Ending("done"))

    def __str__(self) -> str:
        return "one at a time"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of a tiny table on forty tiny conversations, some utterances with dialog acts."""
    folder = tmp_path_factory.mktemp("table3")
    lines = [conversation(index) for index in range(40)]
    for number, line in enumerate(lines):
        for place, utterance in enumerate(line["utterances"]):
            utterance["dialog_act"] = ACTS[(number + place) % 3]
    corpus = write_corpus(folder / "mine.jsonl", lines)
    (folder / "tiny.json").write_text(json.dumps(CONFIG | {"train": {**CONFIG["train"], "max_steps": 6}}))
    return ["--data", str(corpus), "--config", str(folder / "tiny.json"), "--samples", "2", "--jobs", "1"]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> InThisProcess:
    engine = InThisProcess()
    monkeypatch.setattr(command_line, "on_one_machine", lambda *_: engine)
    monkeypatch.setattr(fit_command, "draw_learning_curves", lambda *_: None)
    return engine


@pytest.fixture
def run(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(style, "save", lambda *_: None)  # tested by themselves
    monkeypatch.delenv("DIALOG_CVAE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(*options: str) -> Outcome:
        capsys.readouterr()
        try:
            status = table3.main([*words, "--out", "t3", *options])
        except SystemExit as stop:
            status = int(stop.code or 0)
        return Outcome(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def fitted(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished table of the diagonal and two seeds; only to be copied."""
    folder = tmp_path_factory.mktemp("fitted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DIALOG_CVAE_DATA", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(command_line, "on_one_machine", lambda *_: InThisProcess())
        patch.setattr(fit_command, "draw_learning_curves", lambda *_: None)
        assert table3.main([*words, "--out", "t3", *DIAGONAL]) == 0
    return folder / "t3"


DIAGONAL = ("--cells", "diagonal", "--seeds", "2")
M = "bow=false,learning-rate.kind=constant,schedule=monotonic,seed=0"


@pytest.fixture
def table(fitted: Path, tmp_path: Path) -> Path:
    """A copy of the finished table, to go on with."""
    shutil.copytree(fitted, tmp_path / "t3")
    return tmp_path / "t3"


def content(table: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((table / "table3.json").read_text(encoding="utf-8"))
    return found


def names(table: Path) -> list[str]:
    return [row["name"] for row in content(table)["rows"]]


def test_the_table_has_every_row_and_file(fitted):
    rows = {row["name"]: row for row in content(fitted)["rows"]}
    assert sum(row["variant"] is not None for row in rows.values()) == 4
    assert all(len(row["seeds"]) == 2 for row in rows.values() if row["variant"])
    assert len(rows["decoder without z"]["seeds"]) == 2
    assert rows["decoder without z"]["mean"]["kl"]["mean"] == 0
    for name in ("random utterances", "one reply", "nearest neighbours", "the other references"):
        assert "bleu_nltk_3.4.5_4.precision" in rows[name]["mean"]
    for row in rows.values():
        assert "act_entropy" in row["mean"]
        assert "verbatim_from_training" in row["mean"]
    pngs = {path.name for path in fitted.glob("*.png")}
    assert pngs == {"curves-cvae.png", "curves-bow.png", "kl-by-dimension.png", "diversity.png", "latents.png"}
    text = (fitted / "table3.md").read_text(encoding="utf-8")
    assert "6 updates of 7 windows in each cell" in text
    assert "early stopping off" in text
    assert "CVAE, monotonic β, constant η (the paper's M) | CVAE, cyclical β, cyclical η (the paper's C)" in text
    assert all(f"]({png})" in text for png in pngs)


def test_the_differences_are_those_of_the_files_in_evaluations(fitted):
    """The same contrast, from the contexts.npz that each cell left."""
    folders = [fitted / "evaluations" / M.replace("seed=0", f"seed={seed}") for seed in (0, 1)]
    c = [Path(str(f).replace("=constant", "=cosine_restarts").replace("=monotonic", "=cyclical")) for f in folders]

    def mean(paths: list[Path], name: str) -> Any:
        return np.mean([np.load(path / "contexts.npz", allow_pickle=False)[name] for path in paths], axis=0)

    effects = {one["contrast"]: one["measures"] for one in content(fitted)["effects"]}
    assert len(effects) == 2
    found = effects["CVAE: the paper's C - M: β and η together"]
    for name in ("kl", "iw_nll", "distinct_replies", "bleu_nltk_3.4.5_4.recall"):
        assert found[name]["mean"] == pytest.approx(float(np.nanmean(mean(c, name) - mean(folders, name))))
    metrics = json.loads((folders[0] / "metrics.json").read_text())
    cell = next(row for row in content(fitted)["rows"] if row["name"].endswith("(the paper's M)"))
    assert cell["seeds"]["0"]["kl"] == metrics["kl"]


def test_the_same_command_again_computes_nothing(run, table, engine, monkeypatch):
    before = (table / "table3.json").read_bytes()
    monkeypatch.setattr(table3_evaluate, "_caught", lambda *_: pytest.fail("evaluated again"))
    outcome = run(*DIAGONAL)
    assert (outcome.status, engine.fitted) == (0, [])
    assert (table / "table3.json").read_bytes() == before


def test_more_cells_and_seeds_are_added_to_what_is_there(run, table, engine):
    assert run("--cells", "all", "--seeds", "1").status == 0
    assert len(engine.fitted) == 4  # those off the diagonal
    assert len(content(table)["effects"]) == 12
    assert sum(name.endswith(" η") for name in names(table)) == 4


def test_a_sweep_is_taken_over(run, tmp_path, words, engine):
    """A folder of cells that training.sweep.run fitted."""
    layer = {"corpus": {"name": words[1]}}
    config = json.loads(Path(words[3]).read_text())
    planned = [
        one for one in plan("paper", (0,), [config, layer], tmp_path / "t3", "diagonal") if one.row.key in VARIANTS
    ]
    sweep.run_sweep([one.cell for one in planned], tmp_path / "t3" / "fits", engine)
    assert len(engine.fitted) == 4
    outcome = run("--cells", "diagonal", "--seeds", "1", "--no-fit", "--references", "none")
    assert outcome.status == 0
    assert "Not finished: decoder without z, seed 0" in outcome.out
    assert "the other references" not in names(tmp_path / "t3")


def test_what_is_broken_is_named_and_the_rest_is_evaluated(run, table, engine):
    weights = table / "fits" / M / "best" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    state = table / "fits-without-z" / "seed=1" / STATE_FILE
    state.write_bytes(b"nothing")
    outcome = run(*DIAGONAL)
    assert outcome.status == 1
    failed = [line for line in outcome.error.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2
    assert "model.safetensors: truncated or changed" in next(line for line in failed if M in line)
    assert any("without-z,seed=1" in line and str(Path("fits-without-z") / "seed=1") in line for line in failed)
    rows = {row["name"]: row for row in content(table)["rows"]}
    assert len(rows["CVAE, monotonic β, constant η (the paper's M)"]["seeds"]) == 1
    assert sum(note.startswith("Failed: ") for note in content(table)["notes"]) == 2


def test_a_fit_that_fails_is_named_and_the_rest_is_evaluated(run, tmp_path, engine):
    engine.failing = M
    outcome = run("--cells", "diagonal", "--seeds", "1")
    assert outcome.status == 1
    assert f"failed: {M}: no room (log: " in outcome.error
    assert len(engine.fitted) == 4
    assert "– the paper" in outcome.out


def test_after_a_stop_while_fitting_the_same_command_continues(run, tmp_path, engine):
    engine.stop_after = 2
    outcome = run("--cells", "diagonal", "--seeds", "1")
    assert outcome.status == 130
    assert "stopped; repeat the command to continue" in outcome.error
    assert not (tmp_path / "t3" / "table3.md").exists()
    engine.stop_after = 1000
    assert run("--cells", "diagonal", "--seeds", "1").status == 0
    assert len(engine.fitted) == len(set(engine.fitted)) == 5


def test_a_stop_while_evaluating_loses_nothing_that_was_found(run, table, engine, monkeypatch):
    shutil.rmtree(table / "cache")
    model, seen = table3_evaluate.evaluate_checkpoint, []

    def interrupted(*arguments: Any) -> Any:
        seen.append(arguments)
        if len(seen) > 10 + 3:  # each is looked up first
            raise KeyboardInterrupt
        return model(*arguments)

    monkeypatch.setattr(table3_evaluate, "evaluate_checkpoint", interrupted)
    outcome = run(*DIAGONAL)
    assert (outcome.status, outcome.error.splitlines()[-1]) == (130, "interrupted; repeat the command to continue")
    assert len(list((table / "cache").glob("model-*"))) == 3
    monkeypatch.setattr(table3_evaluate, "evaluate_checkpoint", model)
    assert run(*DIAGONAL).status == 0


def test_a_file_of_references(run, table, engine):
    shutil.copy(table / "references.json", table.parent / "mine.json")
    assert run(*DIAGONAL, "--references", "mine.json").status == 0
    facts = content(table)["facts"]
    assert "References: the file mine.json." in facts
    assert not any("nearest neighbours" in note for note in content(table)["notes"])
    assert run(*DIAGONAL, "--references", "mine.json", "--references-as", "ids").status == 0
    facts = content(table)["facts"]
    assert "References: the file mine.json; compared as ids of the vocabulary." in facts
    assert "--references-as=ids" in facts[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--no-fit"], "out: none of the 45 cells in t3 is finished"),
        (["--schedule", "cyclical"], "schedule: the cells of the table have several, but one value is given"),
        (["--no-bow"], "bow: the cells of the table have several"),
        (["--seed", "3"], "seed: an experiment has several; give --seeds"),
        (["--seeds", "none"], "seeds: must be a number of seeds"),
        (["--model.latent-size", "0"], "model.latent_size: must be at least 1, but is 0"),
        (["--recipe", "tiny"], "argument --recipe: invalid choice: 'tiny'"),
        (["--references-as", "words"], "argument --references-as: invalid choice: 'words'"),
        (["--cells", "some"], "cells: there is no row 'some', only all, diagonal, cvae-monotonic-constant"),
        (["--samples", "0"], "argument --samples: must be a whole number from 1 to 1000, but is 0"),
        (["--jobs", "0"], "argument --jobs: must be a whole number from 1 to 1024, but is 0"),
        (["--colour", "red"], "unrecognized arguments: --colour red"),
    ],
)
def test_a_bad_argument_is_refused_in_one_line(run, engine, options, message):
    assert message in run(*options).complaint
    assert engine.fitted == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-steps", "7"], "train.max_steps"),
        (["--references", "nothing.json"], "nothing.json: cannot be read"),
        (["--metric-vectors", "nothing.txt"], "nothing.txt: no such file"),
    ],
)
def test_what_does_not_fit_the_folder_is_refused(run, table, engine, options, message):
    assert message in run(*DIAGONAL, *options).complaint
    assert engine.fitted == []


def test_help_teaches():
    command = [sys.executable, "-m", "experiments", "table3", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    for word in ("--cells", "diagonal", "--references", "--no-fit", "--max-steps", "Exit status", "best validation"):
        assert word in shown.stdout
    assert shown.stderr == ""


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_at_once_and_the_same_command_continues(words, table, tmp_path):
    """Only the evaluation: everything is fitted, and the cache is removed."""
    shutil.rmtree(table / "cache")
    found = {path.read_bytes() for path in table.glob("table3.*")}
    options = [*words[:-1], "2", "--out", "t3", *DIAGONAL]
    command = [sys.executable, "-c", WITHOUT_VECTORS, "table3", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("DIALOG_CVAE_DATA", None)
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        while not list((table / "cache").glob("model-*")):
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
        error = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130
    assert "interrupted; repeat the command to continue" in error
    assert "Traceback" not in error
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert {path.read_bytes() for path in table.glob("table3.*")} == found
