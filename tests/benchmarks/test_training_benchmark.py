"""The training benchmark at a tiny size: its table, its JSON figures and its errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import machine, naive_step, training, training_run
from benchmarks.naive_step import naive_terms
from dialog_cvae.config import TokenizerConfig
from dialog_cvae.model_config import ModelConfig
from training.config import FitConfig

SIZES = {
    "embedding_size": 6,
    "utterance_size": 5,
    "context_size": 7,
    "latent_size": 3,
    "decoder_size": 6,
    "prior_size": 4,
    "bow_size": 4,
}
OPTIONS = [
    "--data",
    "sample",
    "--turns",
    "2",
    "--warm-up",
    "1",
    "--batch-size",
    "40",
    "--segment",
    "8",
    "--threads",
    "1",
]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    config = FitConfig(tokenizer=TokenizerConfig(vocab_size=200), model=ModelConfig(**SIZES))
    monkeypatch.setattr(training, "recipe", lambda _: config)
    monkeypatch.setattr(training, "TURN", 1)
    monkeypatch.setattr(training_run, "TURN", 1)
    monkeypatch.setattr(machine, "SECONDS", 0.01)
    monkeypatch.setattr(machine, "SIZE", 64)


@pytest.mark.usefixtures("any_threads")
def test_prints_and_writes_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert training.main([*OPTIONS, "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    ways = figures["ways"]
    assert ways["naive"]["ratio"] == 1
    rates = {name: way["examples_per_second"] for name, way in ways.items()}
    assert figures["ratio_best"] == pytest.approx(max(rates[n] for n in rates if n != "naive") / rates["naive"])
    assert figures["ratio_fp32"] == pytest.approx(max(rates[n] for n in rates if "fp32" in n) / rates["naive"])
    assert figures["loss_difference"] < 1e-5
    # The windows of a segment share utterances, so fewer are encoded for the same number of windows.
    assert ways["ours, 30 x 1, fp32"]["utterances_encoded"] > 2 * ways["ours, 30 x 5, fp32"]["utterances_encoded"]
    assert ways["naive"]["gflop_per_example"] > ways["ours, 30 x 5, fp32"]["gflop_per_example"] > 0
    assert ways["ours, 30 x 5, fp32"]["conversations"] < ways["ours, 30 x 1, fp32"]["conversations"] <= 30
    for parts in figures["parts"].values():
        assert sum(parts.values()) == pytest.approx(1)
    printed = capsys.readouterr().out
    assert f"best {figures['ratio_best']:.1f}" in printed
    assert "| ours, 40 x 8, bf16 |" in printed


def test_a_naive_step_with_a_different_loss_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(*arguments):  # type: ignore[no-untyped-def]
        terms = naive_terms(*arguments)
        return terms._replace(kl=terms.kl * 1.01 + 0.01)

    monkeypatch.setattr(naive_step, "naive_terms", wrong)
    assert training.main(OPTIONS) == 2
    assert "the naive loss must equal ours" in capsys.readouterr().err


def test_missing_data_gives_one_error_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert training.main(["--data", str(tmp_path / "none.jsonl")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
