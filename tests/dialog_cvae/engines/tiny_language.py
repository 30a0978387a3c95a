"""A tiny language model with adapters, and engines of it, for tests."""

from __future__ import annotations

import numpy as np
import torch

from dialog_cvae.data.turns import TurnBatch
from dialog_cvae.engines.base import Engine, Floats, Ints
from dialog_cvae.engines.language_graphs import graphs
from dialog_cvae.engines.language_weights import merged, z_maps
from dialog_cvae.engines.onnx_language import OnnxLanguageEngine, weight_levels
from dialog_cvae.language_config import LanguageModelConfig, LlamaConfig
from dialog_cvae.model.language_cvae import LanguageCVAE
from dialog_cvae.model.turn_tensors import TurnTensors
from dialog_cvae.storage.backbone import shapes

BASE = LlamaConfig(layers=3, width=96, heads=6, kv_heads=2, mlp_size=32, vocab_size=90, max_positions=512)
SIZES = LanguageModelConfig(rank=2, latent_size=3, z_layers=2, hidden_size=5)
STEPS = 4


def base_weights(base: LlamaConfig, seed: int = 0) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in shapes(base).items():
        scale = 0.2 if name.endswith("norm") else shape[-1] ** -0.5
        found[name] = (rng.standard_normal(shape) * scale + name.endswith("norm")).astype(np.float32)
    return found


def tiny_language_model(sizes: LanguageModelConfig = SIZES, base: LlamaConfig = BASE) -> LanguageCVAE:
    torch.manual_seed(0)
    model = LanguageCVAE(sizes, base, {name: torch.tensor(array) for name, array in base_weights(base).items()})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1)
    return model.eval()


def adapters_of(model: LanguageCVAE) -> dict[str, Floats]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def onnx_language_engine(
    model: LanguageCVAE, *, int8: bool = False, threads: int = 1, remembered_bytes: int = 2**20
) -> OnnxLanguageEngine:
    adapters, sizes, base = adapters_of(model), model.config, model.lm.config
    arrays = graphs(merged(adapters, base_weights(base), sizes, base), base, weight_levels=weight_levels(), int8=int8)
    latent = np.concatenate([*z_maps(adapters, sizes, base), np.zeros((0, sizes.latent_size), np.float32)])
    return OnnxLanguageEngine(arrays, base, latent, threads, remembered_bytes)


def batch_of(tokens: list[Ints]) -> TurnBatch:
    """Contexts, each with an empty reply."""
    rows = np.zeros((len(tokens), max(map(len, tokens))), np.int64)
    for row, ids in zip(rows, tokens, strict=True):
        row[: len(ids)] = ids
    count = len(tokens)
    return TurnBatch(rows, np.arange(count), np.array([len(ids) - 1 for ids in tokens]), np.zeros(count, np.int64))


class Plan:
    """Rows with everything that decides their steps: contexts of several lengths, z, and the tokens that they take."""

    def __init__(self, sizes: LanguageModelConfig = SIZES, base: LlamaConfig = BASE, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.contexts = [rng.integers(0, base.vocab_size, count) for count in (1, 16, 17, 41, 70)]
        self.of = np.array([3, 0, 1, 3, 2, 4, 3, 3, 0, 4, 1])  # the context of each row
        self.z = rng.standard_normal((len(self.of), sizes.latent_size)).astype(np.float32)
        self.replies = rng.integers(0, base.vocab_size, (len(self.of), 40))
        self.inverse_temperature = rng.uniform(0.5, 2, len(self.of)).astype(np.float32)

    def decoded(self, engine: Engine, rows: list[int], count: int = STEPS) -> list[list[Floats]]:
        """The results of steps of these rows together, [step][row]."""
        condition = engine.condition(batch_of(self.contexts))
        tokens, states = engine.start([condition.contexts[self.of[row]] for row in rows], self.z[rows])
        found = []
        for index in range(count):
            step = engine.step(tokens, states, self.inverse_temperature[rows], 8)
            found.append([np.concatenate([field[row].ravel() for field in _fields(step)]) for row in range(len(rows))])
            tokens, states = self.replies[rows, index], step.states
        return found

    def expected(self, model: LanguageCVAE, row: int, count: int = STEPS) -> Floats:
        """The logits of these steps (T, V), as training computes them."""
        context = self.contexts[self.of[row]]
        tokens = np.concatenate((context, self.replies[row, :count]))[None]
        begin = np.array([len(context) - 1])
        batch = TurnTensors.from_arrays(TurnBatch(tokens, np.array([0]), begin, np.array([count])))
        with torch.no_grad():
            read = model.encode(batch)
            code = torch.from_numpy(self.z[row][None])
            states = model._states(batch, read, code) if model.z_maps else model._plain_states(batch, read)
            logits: Floats = (states @ model.lm.embedding.T).numpy()
        return logits


def _fields(step):
    return step.logits, step.values, step.ids, step.mass, step.tempered
