"""The parts of the loop, tested separately."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.errors import ConfigError
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.nn.distributions import sample
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import ElboTerms
from tests.conftest import make_model
from training.adam import GuardedAdam
from training.batch import Batch, noise
from training.config import TrainConfig
from training.device import device_of
from training.dialog_batches import DialogBatches
from training.objectives import part_names, weighted
from training.state import STATE_FILE, Progress, load_progress, load_state, save_state
from training.stopping import Stopping
from training.update import figure_names, update


def _update(model: CVAE, optimiser: GuardedAdam, encoded: EncodedCorpus, **fields: float) -> dict[str, float]:
    config = TrainConfig.model_validate({"batch_size": 5} | fields)
    batch = next(DialogBatches(encoded, config, model.config).from_step(0))
    return dict(zip(figure_names(model.config.bow), update(model, optimiser, batch, config, 0.5).tolist(), strict=True))


def test_the_objective_is_the_weighted_sum_of_means() -> None:
    terms = ElboTerms(
        torch.tensor([10.0, 20.0]), torch.tensor([1.0, 4.0]), torch.tensor([8.0, 6.0]), torch.tensor([3, 4])
    )
    objective = weighted(terms, 0.5, 2.0, 2)
    assert float(objective.loss) == 15 + 0.5 * 2.5 + 2 * 7
    parts = {name: float(value) for name, value in objective.parts.items()}
    assert parts == {"reconstruction": 15, "kl": 2.5, "bag_of_words": 7}
    assert tuple(parts) == part_names(bow=True)
    without = weighted(terms._replace(bag_of_words=None), 0.0, 2.0, 2)
    assert float(without.loss) == 15
    assert tuple(without.parts) == part_names(bow=False)
    plain = weighted(terms._replace(without_z=torch.tensor([4.0, 8.0])), 0.5, 2.0, 2, plain_weight=0.5)
    assert float(plain.loss) == 15 + 0.5 * 2.5 + 2 * 7 + 0.5 * 6
    assert tuple(plain.parts) == part_names(bow=True, without_z=True)
    share = weighted(
        ElboTerms(*(term[:1] for term in terms if term is not None)), 0.5, 2.0, 2
    )  # of the first window in a batch of two
    assert float(share.loss) == (10 + 0.5 * 1 + 2 * 8) / 2


def test_the_gradient_is_clipped_to_its_norm(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    optimiser = GuardedAdam(tiny_model.parameters(), lr=0.0)
    norm = _update(tiny_model, optimiser, encoded, clip_norm=1e9)["gradient_norm"]
    free = [parameter.grad.clone() for parameter in tiny_model.parameters() if parameter.grad is not None]
    assert norm == pytest.approx(float(torch.cat([grad.flatten() for grad in free]).norm()), rel=1e-5)
    assert _update(tiny_model, optimiser, encoded, clip_norm=norm / 4)["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    clipped = [parameter.grad for parameter in tiny_model.parameters() if parameter.grad is not None]
    for one, other in zip(free, clipped, strict=True):
        torch.testing.assert_close(one / 4, other, rtol=1e-4, atol=1e-7)


def test_an_update_in_parts_equals_one_with_the_whole_batch(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    whole, gradients = None, list[Tensor]()
    optimiser = GuardedAdam(tiny_model.parameters(), lr=0.0)
    for parts in (1, 2, 5, 7, 90):  # more parts than the 7 windows too
        figures = _update(tiny_model, optimiser, encoded, batch_size=7, accumulation=parts, clip_norm=1e9)
        found = [parameter.grad for parameter in tiny_model.parameters() if parameter.grad is not None]
        whole, gradients = whole or figures, gradients or [gradient.clone() for gradient in found]
        assert figures == pytest.approx(whole, rel=1e-5)
        for one, other in zip(found, gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_nothing_changes_after_an_update_that_is_not_finite(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    optimiser = GuardedAdam(tiny_model.parameters(), lr=0.1)
    _update(tiny_model, optimiser, encoded)
    bias = tiny_model.decoder.output.bias
    good = float(bias.detach()[3])
    with torch.no_grad():
        bias[3] = float("nan")
    before = {name: tensor.clone() for name, tensor in tiny_model.named_parameters()}
    moments = {name: dict(optimiser.state[tensor]) for name, tensor in tiny_model.named_parameters()}
    moments = {name: {key: value.clone() for key, value in moment.items()} for name, moment in moments.items()}
    assert math.isnan(_update(tiny_model, optimiser, encoded)["loss"])
    with torch.no_grad():
        bias[3] = good
        before["decoder.output.bias"][3] = good
    assert math.isfinite(_update(tiny_model, optimiser, encoded)["loss"])  # too late
    for name, tensor in tiny_model.named_parameters():
        assert torch.equal(tensor, before[name]), name
        for key, value in moments[name].items():
            assert torch.equal(optimiser.state[tensor][key], value), (name, key)


def test_running_statistics_change_only_with_a_finite_update(
    tiny_config: ModelConfig, tokenizer: Tokenizer, encoded: EncodedCorpus
) -> None:
    model = make_model(tiny_config.model_copy(update={"posterior_norm": 0.6}), tokenizer).train()
    optimiser, norm, bias = GuardedAdam(model.parameters(), lr=0.1), model.mean_norm, model.decoder.output.bias
    assert norm is not None
    _update(model, optimiser, encoded)
    assert norm.running_mean.all()
    assert (norm.running_variance != 1).all()
    before, good = (norm.running_mean.clone(), norm.running_variance.clone()), float(bias.detach()[3])
    for value, isfinite in ((float("nan"), False), (good, True)):  # the second one is too late
        with torch.no_grad():
            bias[3] = value
        assert math.isfinite(_update(model, optimiser, encoded)["loss"]) is isfinite
        assert torch.equal(norm.running_mean, before[0])
        assert torch.equal(norm.running_variance, before[1])


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else id(tensor)


class _NothingReadBack(TorchDispatchMode):
    """Forbids reading the values of given tensors and of all tensors computed from them.

    On a GPU these are on the device, and lengths, which are on the host, may be looked at; here all are on the CPU.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self._kept = list(tensors)  # so that no memory is used twice
        self._places = {_place(tensor) for tensor in self._kept}

    def _is_device(self, value: Any) -> bool:
        return isinstance(value, Tensor) and _place(value) in self._places

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(self._is_device(value) for value in tree_leaves((args, kwargs))):
            assert torch.Tag.data_dependent_output not in func.tags, f"{func} reads a tensor back"
            outputs = [value for value in tree_leaves(result) if isinstance(value, Tensor)]
            self._kept += outputs
            self._places |= {_place(tensor) for tensor in outputs}
        return result


def _on_device(model: CVAE, optimiser: GuardedAdam, batch: Batch) -> Iterator[Tensor]:
    yield from model.parameters()
    yield optimiser.found_inf
    yield from (value for state in optimiser.state.values() for value in state.values())
    for part in batch.parts:
        yield part.noise
        tensors = part.windows._asdict().items()
        yield from (tensor for name, tensor in tensors if tensor is not None and not name.endswith("lengths"))


def test_an_update_reads_nothing_from_the_device(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    optimiser = GuardedAdam(tiny_model.parameters(), lr=0.1)
    config = TrainConfig(batch_size=5, accumulation=2, word_dropout=0.3)
    first, second = islice(DialogBatches(encoded, config, tiny_model.config).from_step(0), 2)
    update(tiny_model, optimiser, first, config, 0.5)  # creates the moments
    with _NothingReadBack(_on_device(tiny_model, optimiser, second)):
        figures = update(tiny_model, optimiser, second, config, 0.5)
        for read in (float, bool, Tensor.item):
            with pytest.raises(AssertionError, match="reads a tensor back"):
                read(figures.sum())


@pytest.mark.gpu
@pytest.mark.parametrize("accumulation", [1, 2])
def test_an_update_never_waits_for_the_gpu(tiny_model: CVAE, encoded: EncodedCorpus, accumulation: int) -> None:
    model = tiny_model.to("cuda")
    optimiser = GuardedAdam(model.parameters(), lr=0.1)
    config = TrainConfig(batch_size=5, accumulation=accumulation)
    batches = DialogBatches(encoded, config, model.config, device=torch.device("cuda")).from_step(0)
    update(model, optimiser, next(batches), config, 0.5)  # creates the moments, loads kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        figures = update(model, optimiser, next(batches), config, 0.5)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert bool(torch.isfinite(figures).all())


def test_word_dropout_hides_a_share_of_the_decoders_inputs_and_nothing_else(encoded: EncodedCorpus) -> None:
    model = ModelConfig(latent_size=2)
    config = TrainConfig(batch_size=500, word_dropout=0.25)
    seen, dropped = (
        next(DialogBatches(encoded, c, model).from_step(0)).parts[0].windows
        for c in (TrainConfig(batch_size=500), config)
    )
    assert seen.dropped is None
    assert dropped.dropped is not None
    assert all(torch.equal(a, b) for a, b in zip(seen[:-1], dropped[:-1], strict=True))  # encoders and targets see all
    assert torch.equal(dropped.inputs, torch.where(dropped.dropped, 0, seen.inputs))
    assert torch.equal(dropped.inputs[:, 0], seen.inputs[:, 0])  # <s> is no word
    assert float(dropped.dropped[:, 1:].float().mean()) == pytest.approx(0.25, abs=0.08)
    again = DialogBatches(encoded, config, model).from_step(0)
    assert torch.equal(next(again).parts[0].windows.dropped, dropped.dropped)
    assert not torch.equal(next(again).parts[0].windows.dropped, dropped.dropped)


@torch.no_grad()
def test_a_dropped_word_is_a_zero_vector_to_the_decoder(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    tiny_model.embedding.weight[0] = 0  # as in any model that was not filled with noise
    (part,) = next(
        DialogBatches(encoded, TrainConfig(batch_size=4, word_dropout=1.0), tiny_model.config).from_step(0)
    ).parts
    found = tiny_model(part.windows, part.noise).reconstruction
    terms = tiny_model.encode(part.windows._replace(dropped=None))
    z = sample(tiny_model.posterior(terms), part.noise)
    for row, length in enumerate(part.windows.target_lengths.tolist()):
        state = tiny_model.decoder.initial_state(terms.condition[row : row + 1], z[row : row + 1])
        vectors = torch.zeros(1, length, tiny_model.config.embedding_size)
        vectors[0, 0] = tiny_model.embedding(part.windows.inputs[row, 0])
        logits = tiny_model.decoder.output(tiny_model.decoder.gru(vectors, state[None])[0][0])
        expected = torch.nn.functional.cross_entropy(logits, part.windows.targets[row, :length], reduction="sum")
        assert float(found[row]) == pytest.approx(float(expected), rel=1e-4)


def test_noise_is_standard_normal_and_a_function_of_seed_and_step() -> None:
    drawn = noise(3, 8, (500, 40))
    assert torch.equal(drawn, noise(3, 8, (500, 40)))
    assert abs(float(drawn.mean())) < 0.02
    assert float(drawn.std()) == pytest.approx(1.0, abs=0.02)
    for seed, step in ((3, 9), (4, 8), (8, 3)):
        assert not torch.equal(drawn, noise(seed, step, (500, 40)))


def test_a_saved_state_loads_bit_for_bit(tiny_model: CVAE, encoded: EncodedCorpus, tmp_path: Path) -> None:
    optimiser = GuardedAdam(tiny_model.parameters(), lr=0.01)
    for _ in range(3):
        _update(tiny_model, optimiser, encoded)
    stopping = Stopping(10).after(1 / 3).after(float(np.float32(0.1)))
    progress = Progress(3, 9, "data", 2**62, 1, stopping, unlogged={"loss": 0.1 + 0.2, "steps": 1.0})
    save_state(tmp_path, tiny_model, optimiser, progress)
    expected = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    _update(tiny_model, optimiser, encoded)
    after = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    fresh = GuardedAdam(tiny_model.parameters(), lr=0.01)
    assert load_state(tmp_path, tiny_model, fresh) == progress == load_progress(tmp_path)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tiny_model.state_dict().items())
    _update(tiny_model, fresh, encoded)
    assert all(torch.equal(tensor, after[name]) for name, tensor in tiny_model.state_dict().items())
    assert [path.name for path in (tmp_path / STATE_FILE).parent.iterdir()] == [STATE_FILE.name]


@pytest.mark.parametrize("name", ["tpu", "meta", "cuda:99", "cuda:x", "", "cpu:zero"])
def test_missing_devices_are_refused_with_their_name(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^device: "):
        device_of(name)


def test_the_cpu_is_always_available() -> None:
    assert device_of("cpu").type == "cpu"
    assert device_of("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
