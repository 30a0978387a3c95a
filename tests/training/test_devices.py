"""A GPU trains, evaluates and answers as the CPU does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dialog_cvae
from dialog_cvae.types import Conversation, Utterance
from eval import dialog
from tests.dialog_cvae.storage.tiny_bases import drawn, write_gguf
from tests.training.tiny_runs import CONFIG, Fit, metrics

FIGURES = ("reconstruction", "kl", "bag_of_words", "without_z", "gradient_norm")
SHORT: dict[str, Any] = CONFIG | {"train": CONFIG["train"] | {"max_steps": 4, "validate_every": 2}}
LANGUAGE: dict[str, Any] = {"rank": 2, "latent_size": 3, "z_layers": 1, "hidden_size": 5, "bow": True, "block": 3}
DEVICES = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])


@pytest.fixture(params=["dialog model", "language model"])
def options(request: pytest.FixtureRequest, corpus_file: Path, tmp_path: Path) -> list[object]:
    config, more = SHORT, []
    if request.param == "language model":
        config = {"language": LANGUAGE, "train": SHORT["train"]}
        more = ["--language.backbone", write_gguf(tmp_path / "base.gguf", drawn())]
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return ["--data", corpus_file, "--config", path, *more]


@DEVICES
def test_a_device_computes_what_the_cpu_does(raw_fit: Fit, options: list[object], device: str, tmp_path: Path) -> None:
    for name, where in (("one", "cpu"), ("other", device)):
        outcome = raw_fit(*options, "--device", where, "--out", name)
        assert outcome.status == 0, outcome.error
    for kind in ("train", "valid"):
        one, other = metrics(tmp_path / "one", kind), metrics(tmp_path / "other", kind)
        assert len(one) == len(other) > 0
        for expected, found in zip(one, other, strict=True):
            compared = [figure for figure in FIGURES if figure in expected]
            assert len(compared) >= 2
            for figure in compared:
                assert found[figure] == pytest.approx(expected[figure], rel=2e-3, abs=1e-4), (kind, figure)


@DEVICES
def test_what_a_device_has_fitted_answers_and_is_evaluated_there(
    raw_fit: Fit,
    options: list[object],
    corpus_file: Path,
    device: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert raw_fit(*options, "--device", device, "--train.precision", "bf16", "--out", "run").status == 0
    # a checkpoint names the file of its language model without its folder
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.setenv("DIALOG_CVAE_BACKBONE", str(tmp_path / "base.gguf"))
    responder = dialog_cvae.load(tmp_path / "run", device=device, engine="torch")
    said = Conversation("", (Utterance("A", "you like cats"),), None)
    assert responder.respond(said, respond_as="B", n=2, seed=1)
    arguments = [tmp_path / "run", "--data", corpus_file, "--device", device, "--samples", 2, "--out", tmp_path / "out"]
    assert dialog.main([str(word) for word in arguments]) == 0
