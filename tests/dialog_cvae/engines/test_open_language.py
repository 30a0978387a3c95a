"""From adapters and their backbone to the serving engine: the cache, refusals, and what it does without."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dialog_cvae.data.cache import Cache
from dialog_cvae.engines import onnx_language
from dialog_cvae.engines.onnx_language import OnnxLanguageEngine, multiplies_exactly, weight_levels
from dialog_cvae.engines.torch_language import build_language_model, new_language_model
from dialog_cvae.engines.torch_language_engine import TorchLanguageEngine
from dialog_cvae.errors import CheckpointError
from dialog_cvae.language_config import LanguageModelConfig
from dialog_cvae.model.build import weights_of
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import CheckpointConfig, Provenance
from dialog_cvae.storage.find_backbone import open_backbone
from tests.dialog_cvae.engines.tiny_language import batch_of
from tests.dialog_cvae.storage.tiny_bases import drawn, write_folder

SIZES = LanguageModelConfig(rank=2, latent_size=3, z_layers=1, hidden_size=5, max_context_tokens=40)


@pytest.fixture
def base_folder(tmp_path: Path) -> Path:
    weights = {name: array * 0.2 + name.endswith("norm") for name, array in drawn().items()}
    return write_folder(tmp_path / "base", {name: array.astype(np.float32) for name, array in weights.items()})


@pytest.fixture
def checkpoint(base_folder: Path) -> Checkpoint:
    base = open_backbone(base_folder)
    torch.manual_seed(0)
    model = new_language_model(SIZES, base)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1)
    config = CheckpointConfig(
        model=ModelConfig(),
        language=SIZES,
        base=base.facts,
        vocab_size=len(base.tokenizer),
        topics=(),
        provenance=Provenance(data="tiny"),
    )
    return Checkpoint(config, weights_of(model), base.tokenizer)


def test_a_checkpoint_is_opened_and_its_graphs_are_cached(
    checkpoint: Checkpoint, base_folder: Path, tmp_path: Path
) -> None:
    base, said = open_backbone(base_folder), []
    cache = Cache(tmp_path / "cache", said.append)
    expected = TorchLanguageEngine(build_language_model(checkpoint, base)).condition(batch_of([np.arange(9)]))
    fresh = OnnxLanguageEngine.of(checkpoint, base, "it", cache, int8=False)

    def fails() -> dict[str, np.ndarray]:
        raise AssertionError("the backbone's weights are read again")

    again = OnnxLanguageEngine.of(checkpoint, replace(base, weights=fails), "it", cache, int8=False)
    for engine in (fresh, again):
        found = engine.condition(batch_of([np.arange(9)]))
        np.testing.assert_allclose(found.prior_mean, expected.prior_mean, atol=1e-5)
    maps = [checkpoint.weights[f"z_maps.{index}.weight"] for index in range(2)]
    np.testing.assert_array_equal(fresh.latent_weight, np.concatenate(maps))
    # Other adapters have graphs of their own.
    changed = replace(checkpoint, weights={name: array + 1 for name, array in checkpoint.weights.items()})
    with pytest.raises(AssertionError, match="read again"):
        OnnxLanguageEngine.of(changed, replace(base, weights=fails), "it", cache)
    assert not said


def test_attention_heads_of_an_odd_size_are_refused(checkpoint: Checkpoint, base_folder: Path) -> None:
    base = open_backbone(base_folder)
    narrow = replace(base, config=base.config.model_copy(update={"heads": 4}))
    with pytest.raises(CheckpointError, match=r"^it: .* heads of size 8; .* a multiple of 16: take engine torch"):
        OnnxLanguageEngine.of(checkpoint, narrow, "it", Cache(None, print))


def test_another_base_and_another_kind_of_model_are_refused(checkpoint: Checkpoint, base_folder: Path) -> None:
    base, cache = open_backbone(base_folder), Cache(None, print)
    with pytest.raises(CheckpointError, match=r"it: was fitted on the language model .* was found"):
        OnnxLanguageEngine.of(checkpoint, replace(base, sha256="0" * 64), "it", cache)
    other = replace(checkpoint, config=checkpoint.config.model_copy(update={"language": None, "base": None}))
    with pytest.raises(CheckpointError, match="it: holds a model with weights of its own"):
        OnnxLanguageEngine.of(other, base, "it", cache)


def test_it_answers_without_torch_and_transformers(checkpoint: Checkpoint, base_folder: Path, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "checkpoint")
    code = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
import json
import numpy as np
from pathlib import Path
from dialog_cvae.data.cache import Cache
from dialog_cvae.data.turns import TurnBatch
from dialog_cvae.engines.onnx_language import OnnxLanguageEngine
from dialog_cvae.storage.find_backbone import open_backbone
from dialog_cvae.storage.checkpoint import Checkpoint
base = open_backbone(Path(sys.argv[1]))
engine = OnnxLanguageEngine.of(Checkpoint.load(sys.argv[2]), base, "it", Cache(None, print), threads=1)
nothing = np.zeros(1, np.int64)
condition = engine.condition(TurnBatch(np.arange(9)[None], nothing, np.array([8]), nothing))
tokens, states = engine.start([condition.contexts[0]] * 2, np.zeros((2, 3), np.float32))
print(json.dumps([tokens.tolist(), engine.step(tokens, states, np.ones(2, np.float32), 4).logits.shape]))
"""
    arguments = [sys.executable, "-c", code, str(base_folder), str(tmp_path / "checkpoint")]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [[8, 8], [2, 257]]


class Products:
    """Multiplies bytes, cutting each sum of two products to so many bits, as x86 processors without VNNI do to 16."""

    def __init__(self, bits: int) -> None:
        self.most = 2 ** (bits - 1) - 1

    def run(self, _: None, feeds: dict[str, NDArray[Any]]) -> list[NDArray[np.int64]]:
        left, right = feeds["x"].astype(np.int64), feeds["w"].astype(np.int64)
        pairs = left[:, 0::2, None] * right[0::2] + left[:, 1::2, None] * right[1::2]
        return [pairs.clip(-self.most - 1, self.most).sum(axis=1)]


@pytest.mark.parametrize(("bits", "exact", "levels"), [(16, False, 63), (32, True, 127)])
def test_a_processor_that_cuts_sums_of_products_is_known_and_gets_fewer_levels(
    monkeypatch: pytest.MonkeyPatch, bits: int, exact: bool, levels: int
) -> None:
    monkeypatch.setattr(onnx_language, "session", lambda *_args, **_options: Products(bits))
    monkeypatch.setattr(onnx_language, "multiplies_exactly", multiplies_exactly.__wrapped__)  # not the answer it keeps
    assert onnx_language.multiplies_exactly() is exact
    assert weight_levels() == levels


def test_products_of_bytes_are_exact_on_a_processor_with_vnni() -> None:
    flags = Path("/proc/cpuinfo")
    if not (flags.exists() and "vnni" in flags.read_text()):
        pytest.skip("needs a processor with VNNI")
    assert multiplies_exactly()
