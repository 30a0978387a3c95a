"""The PyTorch engine computes what the model does, and refuses what it cannot run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import numpy as np
import pytest
import torch

from dialog_cvae.data.batches import collate
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.engines.base import Condition, Step
from dialog_cvae.engines.gru_states import GRUStates
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.errors import ConfigError
from dialog_cvae.model.build import build_model, weights_of
from dialog_cvae.model.cvae import CVAE, TensorBatch
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.text.tokenizer import Tokenizer
from tests.conftest import make_model


@pytest.mark.parametrize("role_size", [0, 3])
def test_condition_is_the_models(
    tiny_config: ModelConfig, tokenizer: Tokenizer, encoded_roles: EncodedCorpus, role_size: int
):
    tiny_model = make_model(tiny_config.model_copy(update={"role_size": role_size}), tokenizer)
    batch = collate(encoded_roles, encoded_roles.responses, 4)
    condition = TorchEngine(tiny_model).condition(batch)
    with torch.no_grad():
        expected = tiny_model.encode(TensorBatch.from_arrays(batch)).condition
        prior = tiny_model.prior(expected)
    for found, tensor in zip(condition, (expected, prior.mean, prior.logvar), strict=True):
        found = np.asarray(found)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, tensor.numpy(), atol=1e-6)


def test_the_response_of_a_batch_changes_nothing(tiny_model: CVAE, encoded: EncodedCorpus):
    batch = collate(encoded, encoded.responses[:5], 4)
    other = batch._replace(response=np.zeros_like(batch.response))
    engine = TorchEngine(tiny_model)
    for found, expected in zip(engine.condition(other), engine.condition(batch), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("role_size", [0, 3])
def test_a_context_is_encoded_alike_in_any_batch(
    tiny_config: ModelConfig, tokenizer: Tokenizer, encoded_roles: EncodedCorpus, role_size: int
):
    engine = TorchEngine(make_model(tiny_config.model_copy(update={"role_size": role_size}), tokenizer))
    together = engine.condition(collate(encoded_roles, encoded_roles.responses, 4))
    assert_encoded_alike(engine, encoded_roles, together)


def assert_encoded_alike(engine: TorchEngine, corpus: EncodedCorpus, together: Condition) -> None:
    """To the bit: alone, all in another order, and on two threads."""
    for row, response in enumerate(corpus.responses):
        alone = engine.condition(collate(corpus, np.array([response]), 4))
        for one, all_ in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], all_[row])
    order = np.random.default_rng(0).permutation(len(corpus.responses))
    with threads(2):
        shuffled = engine.condition(collate(corpus, corpus.responses[order], 4))
    for one, all_ in zip(shuffled, together, strict=True):
        np.testing.assert_array_equal(one, np.asarray(all_)[order])


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("odd", [0, 1])
def test_a_context_is_encoded_alike_in_any_batch_at_larger_widths(encoded: EncodedCorpus, odd: int):
    torch.manual_seed(0)
    sizes = {"embedding_size": 100, "utterance_size": 150, "context_size": 200, "latent_size": 50, "prior_size": 80}
    config = ModelConfig(**{name: size + odd for name, size in sizes.items()}, initialisation="torch")
    engine = TorchEngine(CVAE(config, 20, 2))
    assert_encoded_alike(engine, encoded, engine.condition(collate(encoded, encoded.responses, 4)))


def test_engines_side_by_side_compute_the_same_and_leave_the_threads_as_they_were(tiny_model: CVAE, encoded):
    engine = TorchEngine(tiny_model)
    windows = [encoded.responses[i : i + 5] for i in range(0, 20, 5)]
    expected = [engine.condition(collate(encoded, some, 4)) for some in windows]
    with threads(2):
        with engine.side_by_side() as pool:
            found = list(pool.map(lambda some: engine.condition(collate(encoded, some, 4)), windows))
            assert set(pool.map(lambda _: torch.get_num_threads(), range(20))) == {1}
        with ThreadPoolExecutor(1) as other:
            assert (torch.get_num_threads(), other.submit(torch.get_num_threads).result()) == (2, 2)
    for one, another in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.contexts, another.contexts)


def test_what_was_not_begun_side_by_side_is_not_done(tiny_model: CVAE):
    begun: list[int] = []
    go_on = Event()
    with threads(1), TorchEngine(tiny_model).side_by_side() as pool:
        pool.submit(lambda: (begun.append(0), go_on.wait(60)))
        waiting = [pool.submit(begun.append, number) for number in range(1, 5)]
        waiting[-1].add_done_callback(lambda _: go_on.set())  # cancelled last, when the block is left
    assert begun in ([0], [])


@pytest.mark.parametrize("skip", [False, True])
def test_steps_are_teacher_forcing(tiny_config: ModelConfig, tokenizer: Tokenizer, skip: bool):
    model = make_model(tiny_config.model_copy(update={"skip": skip}), tokenizer)
    engine, rng = TorchEngine(model), np.random.default_rng(0)
    condition = rng.standard_normal((3, model.prior_network[0].in_features), dtype=np.float32)
    z = rng.standard_normal((3, model.config.latent_size), dtype=np.float32)
    tokens = rng.integers(1, 15, (3, 6))
    begin, states = engine.start(condition, z)
    assert begin.tolist() == [tokenizer.bos_id] * 3
    assert states.added.shape == (3, 3 * 7 + model.decoder.output.out_features if skip else 0)
    with torch.no_grad():
        start = model.decoder.initial_state(torch.from_numpy(condition), torch.from_numpy(z))
        beside = torch.from_numpy(z)[:, None].expand(-1, 6, -1)[..., : None if skip else 0]
        inputs = torch.cat((model.embedding(torch.from_numpy(tokens)), beside), dim=-1)
        hidden, _ = model.decoder.gru(inputs, start[None])
        expected = model.decoder.output(torch.cat((hidden, beside), dim=-1)).numpy()
    for step in range(6):
        said = engine.step(tokens[:, step], states, np.array([1.0, 2.0, 0.5], np.float32), 4)
        states = said.states
        floats = (said.logits, said.values, said.mass, said.tempered, states.state)
        assert {array.dtype for array in floats} == {np.dtype(np.float32)}
        np.testing.assert_allclose(said.logits, expected[:, step], atol=1e-5)
        assert_summed_up(said, np.array([1.0, 2.0, 0.5]), 4)


def assert_summed_up(said: Step, inverse_temperature: np.ndarray, likeliest: int) -> None:
    """Token choices and log probabilities agree with the logits."""
    order = np.argsort(-said.logits, axis=1, kind="stable")[:, :likeliest]
    np.testing.assert_array_equal(said.ids, order)
    np.testing.assert_array_equal(said.values, np.take_along_axis(said.logits, order, axis=1))
    below = said.logits.astype(np.float64) - said.values[:, :1]
    np.testing.assert_allclose(said.mass, np.exp(below).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(said.tempered, np.exp(below * inverse_temperature[:, None]).sum(axis=1), rtol=1e-5)


def test_of_equal_logits_the_lower_token_comes_first(tiny_model: CVAE):
    with torch.no_grad():
        tiny_model.decoder.output.weight.zero_()
        tiny_model.decoder.output.bias.zero_()
        tiny_model.decoder.output.bias[[3, 7]] = 1.0
    vocabulary = tiny_model.decoder.output.out_features
    engine = TorchEngine(tiny_model)
    states = GRUStates(np.zeros((2, 7), np.float32), np.zeros((2, 0), np.float32))
    said = engine.step(np.array([1, 2]), states, np.ones(2, np.float32), vocabulary + 5)
    assert said.ids.tolist() == [[3, 7, *(i for i in range(vocabulary) if i not in (3, 7))]] * 2


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


def test_building_a_model_does_not_load_pytorchs_compiler(tiny_checkpoint, tmp_path):
    """It would take longer than everything else."""
    tiny_checkpoint.save(tmp_path / "best")
    code = (
        "import dialog_cvae, sys; dialog_cvae.load(sys.argv[1], engine='torch'); "
        "print([name for name in ('torch._dynamo', 'sympy') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "best")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
