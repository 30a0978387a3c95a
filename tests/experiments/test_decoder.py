"""The experiment with a language model as decoder, on a tiny one: from the fits to the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments import __main__ as experiments
from experiments.decoder import ABOUT, EXPERIMENT
from tests.dialog_cvae.storage.tiny_bases import drawn, write_gguf
from tests.training.tiny_runs import conversation, write_corpus


def test_use_of_z_is_not_judged_by_mutual_information() -> None:
    """With a prior that reads the context, it counts the context too."""
    (judged,) = [sentence for sentence in ABOUT.split(". ") if sentence.startswith("z is useful")]
    assert "KL and nats from z" in judged
    assert "MI" not in judged
    assert "MI" in ABOUT


def test_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("training.fit.draw_learning_curves", lambda *_: None)
    base = write_gguf(tmp_path / "tiny.gguf", drawn())
    corpus = write_corpus(tmp_path / "mine.jsonl", [conversation(index) for index in range(30)])
    out = tmp_path / "out"
    options = ["--size=smoke", f"--out={out}", f"--data={corpus}", f"--language.backbone={base}", "--threads=1"]
    assert experiments.main(["decoder", *options]) == 0, capsys.readouterr()
    content = json.loads((out / "decoder.json").read_bytes())
    found = {row["key"]: row["seeds"]["0"] for row in content["rows"]}
    assert set(found) == {row.key for row in EXPERIMENT.rows}
    plain = found["lm"]
    assert plain["kl"] == plain["mi"] == plain["active_units"] == 0
    assert plain["iw_nll"] == pytest.approx(plain["reconstruction"])
    for key, figures in found.items():
        if key != "lm":
            assert figures["elbo"] == pytest.approx(-figures["reconstruction"] - figures["kl"])
            assert figures["nats_z_costs"] == pytest.approx(figures["iw_nll"] - figures["without_z"])
    assert "bag_of_words" in found["cyclical-bow"]
    assert "bag_of_words" not in found["cyclical"]
