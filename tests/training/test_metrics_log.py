"""The log of a run: records, warnings and the progress bar."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from dialog_cvae.errors import DataError
from dialog_cvae.model.elbo import ElboReport
from dialog_cvae.model_config import ModelConfig
from tests.training.tiny_runs import metrics
from training.collapse import hardly_uses_z, remedies
from training.config import FitConfig, TrainConfig
from training.learning_curves import _curve, draw_learning_curves
from training.metrics_log import MetricsLog, read_metrics
from training.recipes.language import smollm2
from training.schedules import BetaSchedule
from training.state import Progress
from training.stopping import Stopping

HEALTHY = ElboReport(9, 90, 30.0, 4.0, -34.0, 28.0, 44.0, 3, 2.0, 1.5, None)
HELP = "--model.skip or --bow or --train.free-bits 4 or --beta.cycles 8 or --beta.stop "
COLLAPSED = HEALTHY._replace(kl=0.02, nats_from_z=0.01, active_units=0)


def _progress(step: int = 0, unlogged: dict[str, float] | None = None) -> Progress:
    return Progress(step, 100, "data", 0, 1, Stopping(10), unlogged=unlogged or {})


def _config(*, log_every: int = 1, stop: float = 1.0, **beta: Any) -> FitConfig:
    return FitConfig(train=TrainConfig(log_every=log_every), beta=BetaSchedule(stop=stop, **beta))


def _train(log: MetricsLog, first: int, last: int, beta: float = 1.0) -> None:
    for step in range(first, last + 1):
        figures = {"loss": float(step), "reconstruction": float(step), "kl": 0.5, "gradient_norm": 2.0 * step}
        log.trained(step, figures, beta, 1e-3)


def test_records_are_means_since_the_last_one(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, _progress(), _config(log_every=4), 10) as log:
        _train(log, 1, 6)
        assert log.unlogged == {"steps": 2, "loss": 11, "gradient_norm": 22, "reconstruction": 11, "kl": 1}
    with MetricsLog(tmp_path, _progress(6, log.unlogged), _config(log_every=4), 10) as log:
        _train(log, 7, 8)
        assert log.unlogged == {}
    records = metrics(tmp_path, "train")
    assert [(r["step"], r["loss"], r["gradient_norm"], r["kl"]) for r in records] == [
        (4, 2.5, 5, 0.5),
        (8, 6.5, 13, 0.5),
    ]


def test_speed_is_recorded_separately_from_the_metrics(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, _progress(), _config(log_every=4), 10) as log:
        _train(log, 1, 2)
        log.paced(2, 1.0, 0.25)
        _train(log, 3, 4)
        log.paced(4, 3.0, 0.75)
        _train(log, 5, 8)
        log.paced(8, 2.0, 0.0)
    lines = (tmp_path / "speed.jsonl").read_text().splitlines()
    expected = {"kind": "speed", "step": 4, "seconds_per_update": 1.0, "data_wait": 0.25}
    assert [json.loads(line) for line in lines] == [
        expected,
        expected | {"step": 8, "seconds_per_update": 0.5, "data_wait": 0.0},
    ]
    assert {record["kind"] for record in read_metrics(tmp_path)} == {"train"}
    with MetricsLog(tmp_path, _progress(6), _config(log_every=4), 10):
        assert (tmp_path / "speed.jsonl").read_text().splitlines() == lines[:1]


def test_records_after_the_state_are_dropped(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, _progress(), _config(), 10) as log:
        _train(log, 1, 5)
        log.validated(5, HEALTHY, True)
    with MetricsLog(tmp_path, _progress(3), _config(), 10):
        assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2, 3]


@pytest.mark.parametrize("line", ["{}", "[]", "null", '{"kind": "train"}', '{"kind": "x", "step": 1}', "{half", '"'])
def test_a_broken_record_is_reported_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"kind": "train", "step": 1}}\n{line}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 2: not a record of metrics"):
        read_metrics(tmp_path)


def test_a_half_written_record_at_the_end_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"kind": "train", "step": 1}\n{"kind": "tr\xff')
    assert read_metrics(tmp_path) == [{"kind": "train", "step": 1}]
    assert read_metrics(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("report", "beta", "full_beta", "warned"),
    [
        (COLLAPSED, 1.0, 1.0, True),
        (COLLAPSED._replace(nats_from_z=2.0), 1.0, 1.0, True),
        (COLLAPSED._replace(nats_from_z=2.0, active_units=3), 1.0, 1.0, True),  # 2 % of 200 are 4
        (COLLAPSED._replace(nats_from_z=2.0, active_units=4), 1.0, 1.0, False),
        (COLLAPSED._replace(kl=4.0, nats_from_z=2.0), 1.0, 1.0, False),
        (COLLAPSED._replace(kl=4.0, active_units=4), 1.0, 1.0, True),
        (COLLAPSED, 0.3, 0.4, True),  # a schedule whose full beta is small
        (COLLAPSED, 0.1, 1.0, False),  # early in a rise the code is not yet in use
        (HEALTHY, 1.0, 1.0, False),
    ],
)
def test_a_collapse_gives_a_warning_with_advice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], report: ElboReport, beta: float, full_beta: float, warned: bool
) -> None:
    with MetricsLog(tmp_path, _progress(), _config(stop=full_beta), 10) as log:
        _train(log, 1, 1, beta)
        log.validated(1, report, False)
        _train(log, 2, 2, beta)
        log.validated(2, report, False)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert len(lines) == warned  # once, not at each validation
    for line in lines:
        assert f"step 1: KL {report.kl:.3f} nats" in line
        assert f"active units {report.active_units} of 200" in line
        assert line.endswith(f"What helps: {HELP}{full_beta / 2:g}")


def test_few_dimensions_may_all_be_needed() -> None:
    quiet, few = HEALTHY._replace(kl=0.4), ModelConfig(latent_size=4)
    assert not hardly_uses_z(quiet._replace(active_units=1), few)
    assert hardly_uses_z(quiet._replace(active_units=0), few)


def test_a_model_without_z_does_not_collapse() -> None:
    assert not hardly_uses_z(COLLAPSED._replace(kl=0.0, nats_from_z=0.0, active_units=0), ModelConfig(latent_size=0))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (_config(kind="monotonic"), ["--model.skip", "--bow", "--train.free-bits 4", "--schedule cyclical"]),
        (_config(cycle_steps=9), ["--model.skip", "--bow", "--train.free-bits 4", "--beta.cycle-steps 4"]),
        (
            _config().model_copy(update={"model": ModelConfig(bow=True, skip=True)}),
            ["--train.free-bits 4", "--beta.cycles 8"],
        ),
        (smollm2(), ["--beta.cycles 4"]),
    ],
)
def test_advice_lists_only_unused_remedies(config: FitConfig, expected: list[str]) -> None:
    assert remedies(config, 100) == [*expected, "--beta.stop 0.5"]
    # a run that started from a checkpoint refuses other parts
    kept = [option for option in expected if option not in ("--bow", "--model.skip")]
    assert remedies(config, 100, sizes_are_fixed=True) == [*kept, "--beta.stop 0.5"]


@pytest.mark.parametrize(
    ("config", "total", "offered"),
    [
        (_config(cycles=6), 24, "--beta.cycles 12"),  # 2 steps a cycle: 0 and 1
        (_config(cycles=12), 24, ""),  # a cycle of 1 step has no rise
        (_config(cycles=12), 12, ""),  # refused: more cycles than steps
        (_config(cycle_steps=4), 24, "--beta.cycle-steps 2"),
        (_config(cycle_steps=3), 24, ""),
        (_config(kind="monotonic"), 8, "--schedule cyclical"),
        (_config(kind="monotonic"), 4, ""),
        (_config().model_copy(update={"train": TrainConfig(autoencoder_share=0.5)}), 32, "--beta.cycles 8"),
        (_config().model_copy(update={"train": TrainConfig(autoencoder_share=0.5)}), 16, ""),
    ],
)
def test_advice_lists_only_schedules_that_rise_within_the_run(config: FitConfig, total: int, offered: str) -> None:
    tried = remedies(config, total)
    assert [option for option in tried if "cycl" in option] == [offered] * bool(offered)


def test_a_second_collapse_gives_a_second_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with MetricsLog(tmp_path, _progress(), _config(), 10) as log:
        for step, report in enumerate((COLLAPSED, HEALTHY, COLLAPSED), start=1):
            _train(log, step, step)
            log.validated(step, report, False)
    assert capsys.readouterr().out.count("warning: ") == 2


def test_figures_that_are_not_finite_become_null_and_gaps_in_the_curves(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, _progress(), _config(), 10) as log:
        _train(log, 1, 1)
        log.validated(1, HEALTHY._replace(rec_perplexity=math.inf, kl=math.nan), True)
    (record,) = metrics(tmp_path, "valid")
    assert (record["rec_perplexity"], record["kl"], record["elbo"]) == (None, None, -34.0)
    assert "bag_of_words" not in record
    steps, values = _curve([{"step": 1, "kl": 1.0}, record | {"step": 2}], "kl")
    assert steps == [1, 2]
    assert values == pytest.approx([1.0, math.nan], nan_ok=True)
    draw_learning_curves(read_metrics(tmp_path), tmp_path / "curves.png", "a run")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_a_terminal_shows_a_bar_with_terms_and_beta(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    with MetricsLog(tmp_path, _progress(), _config(), 10) as log:
        _train(log, 1, 3, beta=0.25)
        log.paced(3, 1.0, 0.0)
        log.validated(3, HEALTHY, True)
    shown = terminal.getvalue()
    assert "\r" in shown
    assert "3/100" in shown
    assert "beta=0.25" in shown
    assert "step 3: valid ELBO -34.000, KL 4.000" in shown
    assert "(best so far)" in shown
