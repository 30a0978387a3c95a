"""The PyTorch engine computes what the model does, and refuses what it cannot run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dialog_cvae.cvae import CVAE, TensorBatch
from dialog_cvae.data.batches import EncodedCorpus, collate
from dialog_cvae.errors import ConfigError
from dialog_cvae.runtime.torch_engine import TorchEngine, build_model, weights_of


def test_condition_is_the_models(tiny_model: CVAE, encoded: EncodedCorpus):
    batch = collate(encoded, encoded.responses, 4)
    condition = TorchEngine(tiny_model).condition(batch)
    with torch.no_grad():
        expected = tiny_model.encode(TensorBatch.from_arrays(batch)).condition
        prior = tiny_model.prior(expected)
    for found, tensor in zip(condition, (expected, prior.mean, prior.logvar), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, tensor.numpy())


def test_the_response_of_a_batch_changes_nothing(tiny_model: CVAE, encoded: EncodedCorpus):
    batch = collate(encoded, encoded.responses[:5], 4)
    other = batch._replace(response=np.zeros_like(batch.response))
    engine = TorchEngine(tiny_model)
    for found, expected in zip(engine.condition(other), engine.condition(batch), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_context_is_encoded_alike_in_any_batch(tiny_model: CVAE, encoded: EncodedCorpus):
    engine = TorchEngine(tiny_model)
    together = engine.condition(collate(encoded, encoded.responses, 4))
    for row, response in enumerate(encoded.responses):
        alone = engine.condition(collate(encoded, np.array([response]), 4))
        np.testing.assert_allclose(alone.vector[0], together.vector[row], atol=1e-6)
        np.testing.assert_allclose(alone.prior_mean[0], together.prior_mean[row], atol=1e-5)


def test_steps_are_teacher_forcing(tiny_model: CVAE):
    engine, rng = TorchEngine(tiny_model), np.random.default_rng(0)
    condition = rng.standard_normal((3, tiny_model.prior_network[0].in_features), dtype=np.float32)
    z = rng.standard_normal((3, tiny_model.config.latent_size), dtype=np.float32)
    tokens = rng.integers(1, 15, (3, 6))
    state = engine.start(condition, z)
    with torch.no_grad():
        start = tiny_model.decoder.initial_state(torch.from_numpy(condition), torch.from_numpy(z))
        hidden, _ = tiny_model.decoder.gru(tiny_model.embedding(torch.from_numpy(tokens)), start[None])
        expected = tiny_model.decoder.output(hidden).numpy()
    for step in range(6):
        logits, state = engine.step(tokens[:, step], state)
        assert (logits.dtype, state.dtype) == (np.float32, np.float32)
        np.testing.assert_allclose(logits, expected[:, step], atol=1e-5)


def test_weights_survive_the_way_to_a_checkpoint_and_back(tiny_model: CVAE, tiny_checkpoint):
    model = build_model(tiny_checkpoint)
    assert not model.training
    for name, array in weights_of(model).items():
        np.testing.assert_array_equal(array, tiny_model.state_dict()[name].numpy())


def test_weights_of_are_copies(tiny_model: CVAE):
    before = weights_of(tiny_model)
    kept = {name: array.copy() for name, array in before.items()}
    with torch.no_grad():
        for parameter in tiny_model.parameters():
            parameter.add_(1.0)
    for name, array in before.items():
        np.testing.assert_array_equal(array, kept[name])


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "meta", "", "cuda:99", "cpu\nx"])
def test_a_device_that_is_not_there_is_refused_in_one_line(tiny_model: CVAE, device):
    with pytest.raises(ConfigError, match="device") as refusal:
        TorchEngine(tiny_model, device)
    if device.isprintable():
        assert "\n" not in str(refusal.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_without_a_gpu_is_refused(tiny_checkpoint, tmp_path):
    import dialog_cvae

    tiny_checkpoint.save(tmp_path / "best")
    with pytest.raises(ConfigError, match=r"^device cuda can't be used here: "):
        dialog_cvae.load(tmp_path / "best", device="cuda")
