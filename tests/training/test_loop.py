"""The parts of the loop, each by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dialog_cvae.cvae import CVAE, TensorBatch
from dialog_cvae.data.batches import EncodedCorpus, collate
from dialog_cvae.errors import ConfigError
from dialog_cvae.types import ElboTerms
from training.config import TrainConfig
from training.loop import TrainingError, fingerprint, noise, update
from training.objectives import weighted
from training.setup import device_of
from training.state import STATE_FILE, Progress, load_progress, load_state, save_state
from training.stopping import Stopping


def _batch(encoded: EncodedCorpus) -> TensorBatch:
    return TensorBatch.from_arrays(collate(encoded, encoded.responses[:5], 4))


def _update(model: CVAE, optimiser: torch.optim.Adam, encoded: EncodedCorpus, **fields: float) -> float:
    config = TrainConfig.model_validate(fields)
    return update(model, optimiser, _batch(encoded), noise(0, 1, (5, model.config.latent_size)), config, 0.5)[1]


def test_the_objective_is_the_weighted_sum_of_means() -> None:
    terms = ElboTerms(
        torch.tensor([10.0, 20.0]), torch.tensor([1.0, 4.0]), torch.tensor([8.0, 6.0]), torch.tensor([3, 4])
    )
    objective = weighted(terms, 0.5, 2.0)
    assert float(objective.loss) == 15 + 0.5 * 2.5 + 2 * 7
    assert {name: float(value) for name, value in objective.parts.items()} == {
        "reconstruction": 15,
        "kl": 2.5,
        "bag_of_words": 7,
    }
    without = weighted(terms._replace(bag_of_words=None), 0.0, 2.0)
    assert float(without.loss) == 15
    assert without.parts.keys() == {"reconstruction", "kl"}


def test_the_gradient_is_clipped_to_its_norm(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    optimiser = torch.optim.Adam(tiny_model.parameters(), lr=0.0)
    norm = _update(tiny_model, optimiser, encoded, clip_norm=1e9)
    free = [parameter.grad.clone() for parameter in tiny_model.parameters() if parameter.grad is not None]
    assert norm == pytest.approx(float(torch.cat([grad.flatten() for grad in free]).norm()), rel=1e-5)
    assert _update(tiny_model, optimiser, encoded, clip_norm=norm / 4) == pytest.approx(norm, rel=1e-5)
    clipped = [parameter.grad for parameter in tiny_model.parameters() if parameter.grad is not None]
    for one, other in zip(free, clipped, strict=True):
        torch.testing.assert_close(one / 4, other, rtol=1e-4, atol=1e-7)


def test_a_step_that_is_not_finite_changes_no_weight(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    optimiser = torch.optim.Adam(tiny_model.parameters(), lr=1.0)
    with torch.no_grad():
        tiny_model.decoder.output.bias[3] = float("nan")
    before = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    with pytest.raises(TrainingError, match=r"loss or gradient is not finite \(loss nan: reconstruction nan, kl "):
        _update(tiny_model, optimiser, encoded)
    for name, tensor in tiny_model.state_dict().items():
        assert torch.equal(tensor.nan_to_num(), before[name].nan_to_num()), name
    assert not optimiser.state


def test_noise_is_standard_normal_and_a_function_of_seed_and_step() -> None:
    drawn = noise(3, 8, (500, 40))
    assert torch.equal(drawn, noise(3, 8, (500, 40)))
    assert abs(float(drawn.mean())) < 0.02
    assert float(drawn.std()) == pytest.approx(1.0, abs=0.02)
    for seed, step in ((3, 9), (4, 8), (8, 3)):
        assert not torch.equal(drawn, noise(seed, step, (500, 40)))


@pytest.mark.parametrize("name", EncodedCorpus._fields)
def test_the_fingerprint_changes_with_every_array(encoded: EncodedCorpus, name: str) -> None:
    array = getattr(encoded, name).copy()
    array.flat[-1] += 1
    changed = encoded._replace(**{name: array})
    assert fingerprint(encoded, encoded) == fingerprint(encoded, encoded)
    assert fingerprint(changed, encoded) != fingerprint(encoded, encoded)
    assert fingerprint(encoded, changed) not in (fingerprint(encoded, encoded), fingerprint(changed, encoded))


def test_a_state_comes_back_bit_for_bit(tiny_model: CVAE, encoded: EncodedCorpus, tmp_path: Path) -> None:
    optimiser = torch.optim.Adam(tiny_model.parameters(), lr=0.01, fused=True)
    for _ in range(3):
        _update(tiny_model, optimiser, encoded)
    stopping = Stopping(10).after(1 / 3).after(float(np.float32(0.1)))
    progress = Progress(3, 9, "data", 2**62, 1, stopping, unlogged={"loss": 0.1 + 0.2, "steps": 1.0})
    save_state(tmp_path, tiny_model, optimiser, progress)
    expected = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    _update(tiny_model, optimiser, encoded)
    after = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    fresh = torch.optim.Adam(tiny_model.parameters(), lr=0.01, fused=True)
    assert load_state(tmp_path, tiny_model, fresh) == progress == load_progress(tmp_path)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tiny_model.state_dict().items())
    _update(tiny_model, fresh, encoded)
    assert all(torch.equal(tensor, after[name]) for name, tensor in tiny_model.state_dict().items())
    assert [path.name for path in (tmp_path / STATE_FILE).parent.iterdir()] == [STATE_FILE.name]


@pytest.mark.parametrize("name", ["tpu", "meta", "cuda:99", "cuda:x", "", "cpu:zero"])
def test_devices_that_are_not_there_are_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^device: "):
        device_of(name)


def test_the_cpu_is_always_there() -> None:
    assert device_of("cpu").type == "cpu"
    assert device_of("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
