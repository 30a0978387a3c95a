"""The benchmark of a language model's serving engine runs on a tiny model and says what it left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.language_engine import main
from dialog_cvae.data.cache import CACHE_VARIABLE
from dialog_cvae.engines.torch_language import new_language_model
from dialog_cvae.language_config import LanguageModelConfig
from dialog_cvae.model.build import weights_of
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import CheckpointConfig, Provenance
from dialog_cvae.storage.find_backbone import open_backbone
from tests.dialog_cvae.storage.tiny_bases import drawn, write_folder


def test_it_measures_ours_and_the_floor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "off")
    weights = {name: (array * 0.1).astype(np.float32) for name, array in drawn().items()}
    folder = write_folder(tmp_path / "base", weights)
    base, sizes = open_backbone(folder), LanguageModelConfig(rank=1, latent_size=2, hidden_size=3)
    config = CheckpointConfig(
        model=ModelConfig(),
        language=sizes,
        base=base.facts,
        vocab_size=len(base.tokenizer),
        topics=(),
        provenance=Provenance(data="tiny"),
    )
    Checkpoint(config, weights_of(new_language_model(sizes, base)), base.tokenizer).save(tmp_path / "checkpoint")
    sizes_of_run = ["--context", "9", "--more", "3", "--rows", "2", "--tokens", "3", "--repeats", "2", "--threads", "1"]
    arguments = [str(tmp_path / "checkpoint"), "--base", str(folder), *sizes_of_run]
    assert main([*arguments, "--file", str(tmp_path / "figures.json")]) == 0
    printed = capsys.readouterr().out
    assert "transformers: left out" in printed
    figures = json.loads((tmp_path / "figures.json").read_text())
    for name in ("fresh", "later", "floor"):
        assert figures[name]["read"] > 0
        assert figures[name]["decode"] > 0


def test_a_model_with_weights_of_its_own_is_refused(
    tiny_checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_checkpoint.save(tmp_path / "own")
    assert main([str(tmp_path / "own")]) == 2
    assert "holds no adapters of a language model" in capsys.readouterr().err
