"""The engines of a language model compute what training does, each row alike in any company."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dialog_cvae.engines.language_states import Memory
from dialog_cvae.engines.language_weights import LEVELS, adapter_shapes, rotation
from dialog_cvae.engines.onnx_language import OnnxLanguageEngine, weight_levels
from dialog_cvae.engines.torch_language_engine import TorchLanguageEngine
from dialog_cvae.errors import ConfigError
from dialog_cvae.language_config import LanguageModelConfig, LlamaConfig
from dialog_cvae.model.turn_tensors import TurnTensors
from tests.dialog_cvae.engines.tiny_language import (
    BASE,
    SIZES,
    Plan,
    adapters_of,
    batch_of,
    onnx_language_engine,
    tiny_language_model,
)

WITHOUT_Z = SIZES.model_copy(update={"latent_size": 0})
SINGLE = BASE.model_copy(update={"kv_heads": BASE.heads})
KINDS = pytest.mark.parametrize(
    ("sizes", "base"),
    [
        (SIZES, BASE),
        (WITHOUT_Z, BASE),
        (SIZES.model_copy(update={"rank": 0}), BASE),
        (SIZES.model_copy(update={"z_layers": 9}), BASE),
        (SIZES, SINGLE),
        (SIZES, BASE.model_copy(update={"max_positions": 40})),
    ],
    ids=["plain", "without z", "without adapters", "z in all layers", "as many key heads", "beyond its positions"],
)
EVERY = list(range(len(Plan().of)))


def test_the_names_of_adapters_are_those_of_the_model() -> None:
    for sizes in (SIZES, WITHOUT_Z, SIZES.model_copy(update={"bow": True, "z_layers": 9})):
        found = {name: array.shape for name, array in adapters_of(tiny_language_model(sizes)).items()}
        assert found == adapter_shapes(sizes, BASE)


@KINDS
@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_steps_and_priors_are_those_of_training(kind: str, sizes: LanguageModelConfig, base: LlamaConfig) -> None:
    model, plan = tiny_language_model(sizes, base), Plan(sizes, base)
    engine = onnx_language_engine(model) if kind == "onnx" else TorchLanguageEngine(model)
    condition = engine.condition(batch_of(plan.contexts))
    for index, context in enumerate(plan.contexts):
        with torch.no_grad():
            read = model.encode(TurnTensors.from_arrays(batch_of([context])._replace(targets=np.array([0]))))
            prior = model.prior(read.condition)
        np.testing.assert_allclose(condition.prior_mean[index], prior.mean[0].numpy(), atol=1e-5)
        np.testing.assert_allclose(condition.prior_logvar[index], prior.logvar[0].numpy(), atol=1e-5)
    steps = plan.decoded(engine, EVERY, 18)
    for row in EVERY:
        found = np.stack([step[row][: base.vocab_size] for step in steps])
        np.testing.assert_allclose(found, plan.expected(model, row, 18), atol=1e-4)


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match=r"^device"):
        TorchLanguageEngine(tiny_language_model(SIZES), device)


def test_the_likeliest_and_the_sums_are_of_the_logits() -> None:
    plan, words = Plan(), BASE.vocab_size
    for found in plan.decoded(onnx_language_engine(tiny_language_model()), EVERY)[1]:
        logits, values, ids = found[:words], found[words : words + 8], found[words + 8 : words + 16]
        np.testing.assert_array_equal(ids, np.argsort(-logits, kind="stable")[:8])
        np.testing.assert_array_equal(values, logits[ids.astype(int)])
        np.testing.assert_allclose(found[-2], np.exp(logits - values[0]).sum(), rtol=1e-5)


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("base", [BASE, SINGLE], ids=["groups", "single"])
def test_a_row_is_computed_alike_to_the_bit_in_any_company(int8: bool, base: LlamaConfig) -> None:
    model, plan = tiny_language_model(SIZES, base), Plan(SIZES, base)
    engine = onnx_language_engine(model, int8=int8)
    together = plan.decoded(engine, EVERY, 18)
    order = np.random.default_rng(1).permutation(EVERY).tolist()
    for other, companies in (
        (engine, ([0], [1], [5], [0, 3], [0, 1], [2, 4, 5, 9], order)),
        (onnx_language_engine(model, int8=int8, threads=2), (EVERY,)),
    ):
        for rows in companies:
            for step, all_ in zip(plan.decoded(other, rows, 18), together, strict=True):
                for place, row in enumerate(rows):
                    np.testing.assert_array_equal(step[place], all_[row])


@pytest.mark.parametrize("int8", [False, True])
def test_rows_that_join_late_and_leave_early_change_nothing(int8: bool) -> None:
    plan, model = Plan(), tiny_language_model()
    engine = onnx_language_engine(model, int8=int8)
    alone = [plan.decoded(engine, [row], 36) for row in EVERY]
    contexts = engine.condition(batch_of(plan.contexts)).contexts
    joins = {0: [0, 3, 1], 2: [6, 5], 7: [2, 8], 18: [4, 7, 9, 10]}
    leaves = {1: [1], 5: [3, 5], 9: [2], 20: [0, 7, 9, 10, 8], 30: [6]}
    rows: list[int] = []
    lengths: list[int] = []
    states = None
    for time in range(34):
        if time in joins:
            _, later = engine.start([contexts[plan.of[row]] for row in joins[time]], plan.z[joins[time]])
            states = later if states is None else states.joined(later)
            rows, lengths = rows + joins[time], lengths + [0] * len(joins[time])
        tokens = [
            plan.replies[row, length - 1] if length else plan.contexts[plan.of[row]][-1]
            for row, length in zip(rows, lengths, strict=True)
        ]
        step = engine.step(np.array(tokens), states, plan.inverse_temperature[rows], 8)
        for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            np.testing.assert_array_equal(step.logits[place], alone[row][length][0][: BASE.vocab_size])
        stay = np.array([row not in leaves.get(time, []) for row in rows])
        states = step.states.kept(stay)
        rows = [row for row, stays in zip(rows, stay, strict=True) if stays]
        lengths = [length + 1 for length, stays in zip(lengths, stay, strict=True) if stays]


def test_states_that_were_used_up_are_refused() -> None:
    plan, engine = Plan(), onnx_language_engine(tiny_language_model())
    context = engine.condition(batch_of(plan.contexts)).contexts[3]

    def begun():
        return engine.start([context] * 2, plan.z[:2])

    tokens, states = begun()
    uses = (
        lambda: engine.step(tokens, states, np.ones(2, np.float32), 8),
        lambda: states.kept(np.array([True, False])),
        lambda: states.joined(begun()[1]),
        lambda: begun()[1].joined(states),
    )
    for use in uses:
        _, states = begun()
        use()
        for again in uses:
            with pytest.raises(AssertionError, match="used up"):
                again()


class Spied:
    """Counts the positions that the layers compute."""

    def __init__(self, engine: OnnxLanguageEngine) -> None:
        self.positions = 0
        self._run = engine._run
        engine._run = self._count  # type: ignore[method-assign]

    def _count(self, tokens, before, added, binding):
        self.positions += tokens.size
        return self._run(tokens, before, added, binding)


@pytest.mark.parametrize("int8", [False, True])
def test_a_conversation_that_goes_on_is_read_where_it_is_new(int8: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialog_cvae.engines.onnx_language.READ_TOGETHER", 48)
    model = tiny_language_model()
    engine, spied = onnx_language_engine(model, int8=int8), None
    spied = Spied(engine)
    tokens = np.random.default_rng(3).integers(0, BASE.vocab_size, 200)
    other = np.concatenate((tokens[:70], tokens[:30]))
    for ids, read in (
        (tokens[:50], 50),
        (tokens[:57], 8),
        (tokens[:57], 0),
        (tokens[:130], 74),
        (other, 30),
        (tokens[:131], 2),  # in twos
        (tokens[:40], 2),  # the state at its end is not kept
        (tokens[1:90], 90),
        (tokens[:1], 2),
    ):
        spied.positions = 0
        found = engine.condition(batch_of([ids]))
        assert spied.positions == read
        whole = onnx_language_engine(model, int8=int8).condition(batch_of([ids]))
        for one, two in zip(found[1:], whole[1:], strict=True):
            np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(found.contexts[0].kept, whole.contexts[0].kept)


def test_contexts_are_remembered_up_to_a_number_of_bytes() -> None:
    engine = onnx_language_engine(tiny_language_model(), remembered_bytes=0)
    one = engine.condition(batch_of([np.arange(20)])).contexts[0]
    limit = 2 * one.kept.nbytes
    engine._memory = Memory(limit)
    spied = Spied(engine)
    for begin, read in ((0, 20), (1, 20), (0, 0), (2, 20), (0, 0), (1, 20), (2, 20)):
        spied.positions = 0
        engine.condition(batch_of([np.arange(begin, begin + 20)]))
        assert spied.positions == read
        assert engine._memory.bytes <= limit


def test_the_same_context_twice_in_a_batch_is_one() -> None:
    contexts = onnx_language_engine(tiny_language_model()).condition(batch_of([np.arange(30)] * 2)).contexts
    assert contexts[0] is contexts[1]


def test_eight_bits_come_close() -> None:
    plan, model = Plan(), tiny_language_model()
    found = plan.decoded(onnx_language_engine(model, int8=True), EVERY)
    errors = [
        np.abs(step[row][: BASE.vocab_size] - plan.expected(model, row)[index])
        for index, step in enumerate(found)
        for row in EVERY
    ]
    assert 1e-4 < np.mean(errors) < 0.1 * LEVELS / weight_levels()  # coarser without VNNI


@pytest.mark.parametrize("size", [1, 2, 24, 64, 45, 576])
def test_the_rotation_is_orthogonal_and_spreads_each_dimension(size: int) -> None:
    turn = rotation(size).astype(np.float64)
    np.testing.assert_allclose(turn @ turn.T, np.eye(size), atol=1e-5)
    assert np.abs(turn).max() <= np.sqrt(2 / size) + 1e-6 or size == 1
