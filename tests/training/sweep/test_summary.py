"""The table over seeds: intervals by hand, and notes on failed or incomparable cells."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dialog_cvae.errors import DataError
from training.sweep.cells import grid, parse_axis
from training.sweep.summary import CellResult, best_figures, estimate, markdown, notes, variants, write

CELLS = grid("sample", [parse_axis("schedule=monotonic,cyclical")], (0, 1, 2))  # m0 c0 m1 c1 m2 c2


def done(index: int, data: str = "same", **figures: float) -> CellResult:
    return CellResult(CELLS[index], Path(CELLS[index].name), "done", step=9, data=data, figures=figures)


def failed(index: int) -> CellResult:
    return CellResult(CELLS[index], Path(CELLS[index].name), "failed", "loss is not finite")


def test_interval_of_three_seeds_by_hand() -> None:
    found = estimate([1.0, 2.0, 3.0])  # s = 1, and t(0.975, 2 degrees of freedom) = 4.302653
    assert found == (2.0, pytest.approx(4.302653 / 3**0.5, rel=1e-6), 3)
    assert str(found) == "2.00 ± 2.48"
    assert found.text(4) == "2.0000 ± 2.4841"


def test_one_seed_has_no_interval() -> None:
    assert estimate([-41.5]) == (-41.5, None, 1)
    assert str(estimate([-41.5])) == "-41.50"
    assert estimate([-41.5]).text(0) == "-42"


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9).filter(lambda values: np.std(values) > 1e-6))
def test_intervals_agree_with_another_library(values: list[float]) -> None:
    found = estimate(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert found.half is not None
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high), rel=1e-6, abs=1e-6)


def test_the_table_summarises_finished_cells_and_notes_the_others() -> None:
    results = [done(0, kl=1.0, elbo=-40.0), done(1, kl=5.0), done(2, kl=2.0, elbo=-42.0), done(3, kl=5.0), failed(4)]
    table = markdown([*results, done(5, kl=5.0)])
    assert table == (
        "| schedule | seeds | ELBO | KL |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| monotonic | 2 of 3 | -41.00 ± 12.71 | 1.50 ± 6.35 |\n"
        "| cyclical | 3 | – | 5.00 ± 0.00 |\n"
        "\n"
        "Best validation of each run: mean ± half of the 95% interval (Student's t) over seeds.\n"
        "\n"
        "Failed: schedule=monotonic,seed=2: loss is not finite\n"
    )


def test_a_sweep_over_seeds_only_has_one_row() -> None:
    cells = grid("sample", [], (0, 1))
    results = [CellResult(cell, Path(), "done", figures={"kl": float(cell.seed)}) for cell in cells]
    assert "| sample | 2 | 0.50 ± 6.35 |" in markdown(results)


def test_runs_on_different_conversations_are_noted() -> None:
    assert notes([done(0), done(1), done(2)]) == []
    (note,) = notes([done(0), done(1, data="other"), done(2)])
    assert note == (
        "Not comparable: fitted on different conversations: schedule=monotonic,seed=0 and schedule=cyclical,seed=0"
    )


def timed(total: int, *texts: str, seed: int = 0, **train: object) -> CellResult:
    layer = {"train": {"max_minutes": 1.0} | train}
    (cell,) = grid("sample", [parse_axis(text) for text in texts], (seed,), layer)
    return CellResult(cell, Path(), "done", data="same", total_steps=total)


def test_different_numbers_of_updates_because_of_minutes_are_noted() -> None:
    (note,) = notes([timed(900), timed(1200, seed=1), timed(1000, seed=2)])
    assert note == (
        "Not of one length: --max-minutes allowed from 900 updates (seed=0) to 1,200 (seed=1), and schedules end with "
        "these; give --max-steps instead"
    )
    assert notes([timed(900), timed(900, seed=1)]) == []
    assert notes([timed(900), timed(1200, seed=1, epochs=20)]) == []  # as asked
    assert notes([timed(900, max_minutes=None), timed(1200, seed=1, max_minutes=None)]) == []
    assert len(notes([timed(900, "model.latent-size=4"), timed(1200, "model.latent-size=8")])) == 1


def test_varied_data_is_not_noted() -> None:
    cells = grid("sample", [parse_axis("tokenizer.vocab-size=50,60")], (0,))
    assert notes([CellResult(cell, Path(), "done", data=cell.name) for cell in cells]) == []


def test_files_contain_every_cell_and_every_variant(tmp_path: Path) -> None:
    results = [done(0, kl=1.0), done(1, kl=3.0), done(2, kl=2.0), failed(3)]
    text = write(results, tmp_path)
    assert (tmp_path / "sweep.md").read_text(encoding="utf-8") == text
    content = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    assert [cell["status"] for cell in content["cells"]] == ["done", "done", "done", "failed"]
    assert content["cells"][3]["reason"] == "loss is not finite"
    assert content["cells"][2]["figures"] == {"kl": 2.0}
    assert "training.fit --recipe=sample --seed=1 --schedule=monotonic" in content["cells"][2]["command"]
    monotonic, cyclical = content["variants"]
    assert monotonic["variation"] == {"schedule": "monotonic"}
    assert monotonic["measures"]["kl"]["mean"] == 1.5
    assert monotonic["measures"]["kl"]["half"] == pytest.approx(12.7062 * 0.5**0.5 / 2**0.5, rel=1e-5)
    assert (cyclical["asked"], cyclical["done"], cyclical["measures"]["kl"]["half"]) == (2, 1, None)
    assert [variant.done for variant in variants(results)] == [2, 1]


def test_figures_come_from_the_best_checkpoint(whole_run: Path) -> None:
    records = [json.loads(line) for line in (whole_run / "metrics.jsonl").read_text().splitlines()]
    best = max((record for record in records if record["kind"] == "valid"), key=lambda record: record["elbo"])
    found = best_figures(whole_run)
    assert {"elbo", "kl", "active_units"} <= found.keys()
    assert found == {name: best[name] for name in found}


@pytest.mark.parametrize("content", [None, "{", "[]", '{"elbo": "low"}'])
def test_broken_figures_are_refused_with_their_path(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "best").mkdir()
        (tmp_path / "best" / "metrics.json").write_text(content)
    with pytest.raises(DataError, match=r"best/metrics.json: (broken|cannot be read)"):
        best_figures(tmp_path)


def test_figures_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    content = '{"kl": 1, "rec_perplexity": null, "elbo": NaN, "reconstruction": Infinity, "step": 3}'
    (tmp_path / "best" / "metrics.json").write_text(content)
    assert best_figures(tmp_path) == {"kl": 1.0}
