"""The runs of rows: their configurations and folders, how far each is, and what is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from dialog_cvae.errors import ConfigError
from experiments.framework.fitting import InThisProcess, fit_missing, run_states
from experiments.framework.rows import Row, Run, results_of, runs_of
from training.state import STATE_FILE
from training.sweep.cell_task import CellTask, Ending
from training.sweep.runners import Ended

ROWS = [
    Row("constant", "constant", {"beta": {"kind": "constant"}, "train": {"batch_size": 5}}),
    Row("again", "the same runs", of="constant", best=True),
    Row("aside", "aside", {"beta": {"kind": "monotonic"}}, variation={}, fits="others"),
]
TINY = {
    "sentence": {"embedding_size": 4, "encoder_size": 4, "decoder_size": 4, "latent_size": 2},
    "train": {"max_steps": 2, "validate_every": 1, "save_every": 2, "batch_size": 4},
}


def planned(out: Path, **above: object) -> list[Run]:
    return runs_of(ROWS, "toy", (0, 7), out, below=[TINY], above=[{"train": above}])


def test_every_row_with_runs_of_its_own_has_one_a_seed(tmp_path: Path) -> None:
    runs = planned(tmp_path)
    assert [run.name for run in runs] == [
        "row=constant,seed=0",
        "aside,seed=0",
        "row=constant,seed=7",
        "aside,seed=7",
    ]
    assert runs[2].folder == tmp_path / "fits" / "row=constant,seed=7"
    assert runs[3].folder == tmp_path / "others" / "seed=7"


def test_a_row_is_over_what_is_below_and_under_what_is_above(tmp_path: Path) -> None:
    train = planned(tmp_path)[0].cell.config.train
    assert (train.batch_size, train.max_steps, train.threads) == (5, 2, 1)
    assert planned(tmp_path, batch_size=6)[0].cell.config.train.batch_size == 6


def test_a_row_measures_the_runs_of_another(tmp_path: Path) -> None:
    runs = [run for run in planned(tmp_path) if run.cell.seed == 7]
    first, again, aside = results_of(ROWS, runs, 2)
    assert first.runs == again.runs == {7: runs[0]}
    assert aside.runs == {7: runs[1]}
    assert (again.asked, again.seeds) == (2, "0 of 2")


@pytest.fixture
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.fit.draw_learning_curves", lambda *_: None)


@pytest.mark.usefixtures("no_curves")
def test_only_what_is_missing_is_fitted_and_a_broken_folder_is_left(tmp_path: Path) -> None:
    runs = planned(tmp_path)
    assert {one.standing for one in run_states(runs).found} == {"new"}
    state = runs[1].folder / STATE_FILE
    state.parent.mkdir(parents=True)
    state.write_bytes(b"nothing")
    fitted = fit_missing(runs, tmp_path, lambda _: InThisProcess("cpu"))
    assert fitted.finished == [runs[0], *runs[2:]]
    assert fitted.failures.keys() == {"aside,seed=0"}
    assert str(runs[1].folder) in fitted.failures["aside,seed=0"]
    assert state.read_bytes() == b"nothing"
    assert fitted.notes({"row=constant,seed=0": "broken weights"}) == [
        f"Failed: aside,seed=0: {fitted.failures['aside,seed=0']}",
        "Failed: row=constant,seed=0: broken weights",
    ]
    assert fit_missing(runs, tmp_path, lambda _: pytest.fail("it is fitted again")) == fitted
    with pytest.raises(ConfigError, match=r"train\.batch_size: the run in .* has 5, but 6 was asked for"):
        run_states(planned(tmp_path, batch_size=6))


class Stopping:
    """Fails the first task and stops before the rest."""

    def run(self, tasks: Sequence[CellTask], ended: Ended) -> None:
        for index, _ in enumerate(tasks):
            ended(index, Ending("stopped") if index else Ending("failed", "no room"))


def test_a_stop_ends_fitting_and_failures_are_named(tmp_path: Path) -> None:
    fitted = fit_missing(planned(tmp_path), tmp_path, lambda _: Stopping())
    assert fitted.stopped
    assert fitted.failures["row=constant,seed=0"].startswith("no room (log: ")
    assert fitted.notes()[1:] == ["Not finished: aside, seed 0, 7", "Not finished: constant, seed 7"]
