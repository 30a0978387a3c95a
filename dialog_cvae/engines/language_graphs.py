"""A language model as ONNX graphs, made from its weights without PyTorch: layers, words, prior and what z adds.

One graph of the layers both reads contexts and decodes replies, so that its weights are in memory once. Its rows are
positions of a context, or replies that each add one position. The query of a row goes to a slot. Slots lie in groups
of one context each, whose keys and values all of its slots share; a slot also has keys and values of its own, to which
the graph adds those of its rows in place: the caller binds a buffer as both input and output. While a context is read,
its buffer is the own one of the only slot, and there is no other context.

In 8 bits, each row is rounded by its own largest value and each output's weights by theirs. Sums of integers are exact,
so that a row is computed alike in any company.

Shape legend: R rows, G groups, N slots of a group, Q queries of a slot, S positions of the longest context, T of the
longest own part, D width, H query heads, K key and value heads, E head size, V vocabulary, Z latent.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.config import LanguageModelConfig, LlamaConfig
from dialog_cvae.engines.base import Floats
from dialog_cvae.engines.graph_writer import FLOAT, INT64, MICROSOFT, UINT8, Graph, add_choice
from dialog_cvae.engines.language_weights import LEVELS, MIDDLE, LanguageWeights, LayerWeights, rotated

ROTATIONS = 16_384  # positions, at most, whose rotation the graph knows

Arrays = dict[str, NDArray[Any]]


def graphs(weights: LanguageWeights, config: LlamaConfig, *, weight_levels: int = LEVELS, int8: bool = True) -> Arrays:
    """Graphs and weights.

    Each graph is serialised under `graph_NAME`, as bytes; its session receives the weights `NAME_...` by their names.
    `embedding` is (V, D), in 8 bits with `embedding_scale` (V,).

    Args:
        weights: of the model.
        config: sizes of the base.
        weight_levels: of a rounded weight, on either side of 0.
        int8: multiply in 8 bits; otherwise in single precision.
    """
    weights = rotated(weights) if int8 else weights
    product = _Product(weight_levels if int8 else 0)
    made = {"layers": _layers(weights, config, product), "words": _words(weights, product)}
    if weights.z_maps:
        made |= {"prior": _prior(weights), "added": _added(weights)}
    found: Arrays = {}
    for name, graph in made.items():
        found |= graph.arrays
        found[f"graph_{name}"] = np.frombuffer(graph.serialised(name), dtype=np.uint8)
    if not int8:
        return found | {"embedding": weights.embedding}
    rounded, scale = _rounded(weights.embedding, LEVELS)
    return found | {"embedding": rounded, "embedding_scale": scale}


class _Product:
    """Adds products with weights to a graph; `levels` 0 is single precision."""

    def __init__(self, levels: int) -> None:
        self._levels = levels

    def __call__(self, g: Graph, x: str, name: str, weight: Floats) -> str:
        """X W^T: (1, R, I) and (O, I) -> (1, R, O)."""
        if not self._levels:
            return g.add("MatMul", x, g.stored(name, np.ascontiguousarray(weight.T)))
        largest = g.add("ReduceMax", g.add("Abs", x), axes=[2], keepdims=1)
        unit = g.add("Mul", largest, g.shared(np.full((), 1 / LEVELS, np.float32)))  # (1, R, 1)
        by_row = g.add("Reshape", unit, g.shared(np.array([-1])))  # (R,)
        coarse = g.add("QuantizeLinear", x, by_row, "middles", axis=1)
        rounded, scale = _rounded(weight, self._levels)
        # This operation takes one unit for all rows only; each has its own afterwards.
        factors = coarse, g.stored(name, np.ascontiguousarray(rounded.T))
        units = g.shared(np.ones((), np.float32)), g.stored(f"{name}_scale", scale)
        middle = g.shared(np.full((), MIDDLE, np.uint8))
        return g.add("Mul", g.add("MatMulIntegerToFloat", *factors, *units, middle, domain=MICROSOFT), unit)

    def inputs(self, g: Graph) -> None:
        """What products need of the caller: `middles` (R,), MIDDLE for each row."""
        if self._levels:
            g.input("middles", UINT8, ("R",))


def _layers(weights: LanguageWeights, config: LlamaConfig, product: _Product) -> Graph:
    """From embedded tokens (1, R, D) to the normalised states (1, R, D) of the uppermost layer.

    Other inputs: position (1, R); bias (1, G * N, Q, S + T), 0 or a large negative number; grid (G * N * Q,), the row
    of each query; place (R,), the query of each row; write (R, K, 3), where a row's keys and values go; by_group
    [K, G, -1, 0] and by_slot [K, G * N, -1, 0], shapes; parts [S, T]; z_I (1, R, D), what z adds; and for each layer
    context_key_I and context_value_I (K, G, S, E), own_key_I and own_value_I (K, G * N, T, E).
    """
    g = Graph("layers")
    x = g.input("x", FLOAT, (1, "R", config.width))
    product.inputs(g)
    g.input("position", INT64, (1, "R"))
    g.input("bias", FLOAT, (1, "slots", "queries", "seen"))
    g.input("grid", INT64, ("asked",))
    g.input("place", INT64, ("R",))
    g.input("write", INT64, ("R", config.kv_heads, 3))
    g.input("by_group", INT64, (4,))
    g.input("by_slot", INT64, (4,))
    g.input("parts", INT64, (2,))
    positions = np.arange(min(config.max_positions, ROTATIONS), dtype=np.float32)[:, None]
    exponents = np.arange(0, config.head_size, 2, dtype=np.float32) / np.float32(config.head_size)
    angles = positions * (np.float32(config.rope_theta) ** -exponents)
    rotation = g.stored("cosines", np.cos(angles)), g.stored("sines", np.sin(angles))
    below = len(weights.layers) + 1 - len(weights.z_maps)
    more = ""  # what the last layer's MLP adds to x
    for index, layer in enumerate(weights.layers):
        if index >= below and weights.z_maps:
            x, more = _with_z(g, x, more, index - below, config), ""
        x, more = _layer(g, x, more, layer, index, config, rotation, product)
    if weights.z_maps:
        x, more = _with_z(g, x, more, len(weights.z_maps) - 1, config), ""
    states, _ = _normalised(g, x, more, weights.final_norm, config)
    g.output("states", states, FLOAT, (1, "R", config.width))
    return g


def _with_z(g: Graph, x: str, more: str, index: int, config: LlamaConfig) -> str:
    """States x + more and what z adds to them, in proportion to the length of each."""
    x = g.add("Add", x, more) if more else x
    z = g.input(f"z_{index}", FLOAT, (1, "R", config.width))
    return g.add("Add", x, g.add("Mul", z, g.add("ReduceL2", x, axes=[2], keepdims=1)))


def _layer(
    g: Graph,
    x: str,
    more: str,
    layer: LayerWeights,
    index: int,
    config: LlamaConfig,
    rotation: tuple[str, str],
    product: _Product,
) -> tuple[str, str]:
    """A layer's input is x + more, its output the sum of the two that come back."""
    sizes = [config.heads * config.head_size, *[config.kv_heads * config.head_size] * 2]
    normed, x = _normalised(g, x, more, layer.attention_norm, config)
    joined = product(g, normed, f"query_key_value_{index}", layer.query_key_value)
    query, key, value = g.add_many("Split", (joined, g.shared(np.array(sizes))), 3, axis=2)
    query, key = (g.add("RotaryEmbedding", each, "position", *rotation, domain=MICROSOFT) for each in (query, key))
    found = _attention(g, query, key, value, index, config)
    attended = product(g, found, f"attended_{index}", layer.attended)
    normed, x = _normalised(g, x, attended, layer.mlp_norm, config)
    both = product(g, normed, f"gate_up_{index}", layer.gate_up)
    gate, up = g.add_many("Split", (both, g.shared(np.array([config.mlp_size] * 2))), 2, axis=2)
    hidden = g.add("Mul", g.add("QuickGelu", gate, alpha=1.0, domain=MICROSOFT), up)  # SiLU
    return x, product(g, hidden, f"down_{index}", layer.down)


def _normalised(g: Graph, x: str, more: str, weight: Floats, config: LlamaConfig) -> tuple[str, str]:
    """RMSNorm of x + more, and x + more."""
    kept = g.constant(weight)
    if not more:
        return g.add("SimplifiedLayerNormalization", x, kept, axis=-1, epsilon=config.norm_epsilon), x
    inputs, epsilon = (x, more, kept), config.norm_epsilon
    found = g.add_many("SkipSimplifiedLayerNormalization", inputs, 4, domain=MICROSOFT, epsilon=epsilon)
    return found[0], found[3]


def _attention(g: Graph, query: str, key: str, value: str, index: int, config: LlamaConfig) -> str:
    """softmax(q k^T / sqrt(E) + bias) v over the slot's context and its own positions: (1, R, H E)."""
    heads, size = config.kv_heads, config.head_size
    keys, values = (
        _extended(g, each, f"own_{name}_{index}", config) for name, each in (("key", key), ("value", value))
    )
    context_keys, context_values = (
        g.input(f"context_{name}_{index}", FLOAT, (heads, "G", "S", size)) for name in ("key", "value")
    )
    # Queries to their slots: (K, G * N * Q, H / K, E).
    query = g.add("Reshape", query, g.shared(np.array([-1, heads, config.heads // heads, size])))
    query = g.add("Transpose", g.add("Gather", query, "grid", axis=0), perm=[1, 0, 2, 3])
    grouped, slotted = (g.add("Reshape", query, shape) for shape in ("by_group", "by_slot"))
    # Scores of context and own positions side by side: (K, G * N, Q H / K, S + T).
    scale = {"transB": 1, "alpha": 1 / math.sqrt(size), "domain": MICROSOFT}
    of_context = g.add("Reshape", g.add("FusedMatMul", grouped, context_keys, **scale), "by_slot")
    scores = g.add("Concat", of_context, g.add("FusedMatMul", slotted, keys, **scale), axis=3)
    weights = g.add("Softmax", g.add("Add", scores, "bias"), axis=3)
    before, own = g.add_many("Split", (weights, "parts"), 2, axis=3)
    # Their values, back to rows.
    seen = g.add("Reshape", g.add("MatMul", g.add("Reshape", before, "by_group"), context_values), "by_slot")
    found = g.add("Add", seen, g.add("MatMul", own, values))
    found = g.add("Reshape", found, g.shared(np.array([heads, -1, config.heads // heads, size])))
    found = g.add("Gather", g.add("Transpose", found, perm=[1, 0, 2, 3]), "place", axis=0)
    return g.add("Reshape", found, g.shared(np.array([1, -1, config.heads * size])))


def _extended(g: Graph, rows: str, name: str, config: LlamaConfig) -> str:
    """The slots' own keys or values, with the rows' written to them."""
    sizes = (config.kv_heads, "slots", "T", config.head_size)
    own = g.input(name, FLOAT, sizes)
    by_head = g.add("Reshape", rows, g.shared(np.array([-1, config.kv_heads, config.head_size])))
    return g.output(f"new_{name}", g.add("ScatterND", own, "write", by_head), FLOAT, sizes)


def _words(weights: LanguageWeights, product: _Product) -> Graph:
    """States (1, R, D), sharpness (R, 1), likeliest (1) -> the fields of `Step`."""
    g, (words, width) = Graph("words"), weights.words.shape
    states = g.input("states", FLOAT, (1, "R", width))
    product.inputs(g)
    logits = product(g, states, "product", weights.words)
    add_choice(g, g.add("Reshape", logits, g.constant([-1, words])), words)
    return g


def _prior(weights: LanguageWeights) -> Graph:
    """States at the ends of contexts (B, D) -> mean and log variance of p(z | c) side by side (B, 2Z)."""
    g = Graph()
    first, second = weights.prior
    states = g.input("states", FLOAT, ("B", first.weight.shape[1]))
    limit = LanguageModelConfig.state_limit
    least, most = (g.constant(np.full((), bound, np.float32)) for bound in (-limit, limit))
    condition = g.add("Clip", g.add("MatMul", states, g.constant(weights.read_out)), least, most)
    hidden = g.linear(condition, first)
    prior = g.linear(g.add("Mul", hidden, g.add("Sigmoid", hidden)), second)  # SiLU
    g.output("prior", prior, FLOAT, ("B", len(second.bias)))
    return g


def _added(weights: LanguageWeights) -> Graph:
    """Z (R, Z) -> what it adds to states of length 1 in each layer that it enters, and the softmax: (R, maps * D)."""
    g, weight = Graph(), np.concatenate(weights.z_maps) / np.float32(math.sqrt(len(weights.z_maps[0])))
    z = g.input("z", FLOAT, ("R", weight.shape[1]))
    g.output("added", g.add("MatMul", z, g.constant(weight.T)), FLOAT, ("R", len(weight)))
    return g


def _rounded(weight: Floats, levels: int) -> tuple[NDArray[np.int8], Floats]:
    """(O, I) whole numbers from -levels to levels, and the unit of each row (O,)."""
    unit: Floats = np.maximum(np.abs(weight).max(axis=1), np.finfo(np.float32).tiny) / np.float32(levels)
    return np.rint(weight / unit[:, None]).astype(np.int8), unit
