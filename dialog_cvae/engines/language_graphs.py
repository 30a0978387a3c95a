"""A language model as ONNX graphs, made from its weights without PyTorch: layers, words, prior and what z adds.

Open it to change what ONNX Runtime computes for a language model, or which products are in 8 bits. One graph of the
layers both reads contexts and decodes replies, so that its weights are in memory once. It takes either consecutive
positions of one context, or one position each of several replies. The graph writes their keys and values to arrays of
the caller, which are bound as both input and output.

In 8 bits, each row is rounded by its own largest value and each output's weights by theirs. Sums of integers are exact,
so that a row is computed alike in any company.

Shape legend: B sequences, S new positions of each, R = B S rows, M positions that there is room for, D width, H query
heads, K key and value heads, E head size, V vocabulary, Z latent.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.engines.base import Floats
from dialog_cvae.engines.graph_writer import FLOAT, INT32, INT64, MICROSOFT, UINT8, Graph, add_choice
from dialog_cvae.engines.language_weights import LEVELS, ZERO_POINT, LanguageWeights, LayerWeights, rotated
from dialog_cvae.language_config import LanguageModelConfig, LlamaConfig

ROTATIONS = 16_384  # positions whose rotation the graph knows: the longest context, name and reply have fewer

Arrays = dict[str, NDArray[Any]]


def graphs(weights: LanguageWeights, config: LlamaConfig, *, weight_levels: int = LEVELS, int8: bool = True) -> Arrays:
    """Graphs and weights.

    Each graph is serialised under `graph_NAME`, as bytes; its session receives the weights `NAME_...` by their names.
    `embedding` is (V, D), in 8 bits with `embedding_scale` (V,).

    Args:
        weights: of the model.
        config: sizes of the backbone.
        weight_levels: levels of a rounded weight on either side of 0.
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
        state_scale = g.add("Mul", largest, g.shared(np.full((), 1 / LEVELS, np.float32)))  # (1, R, 1)
        by_row = g.add("Reshape", state_scale, g.shared(np.array([-1])))  # (R,)
        coarse = g.add("QuantizeLinear", x, by_row, "zero_points", axis=1)
        rounded, scale = _rounded(weight, self._levels)
        # This operation takes one scale for all rows only; each has its own afterwards.
        factors = coarse, g.stored(name, np.ascontiguousarray(rounded.T))
        units = g.shared(np.ones((), np.float32)), g.stored(f"{name}_scale", scale)
        zero_point = g.shared(np.full((), ZERO_POINT, np.uint8))
        return g.add("Mul", g.add("MatMulIntegerToFloat", *factors, *units, zero_point, domain=MICROSOFT), state_scale)

    def inputs(self, g: Graph) -> None:
        """Add the graph input that products in 8 bits need: `zero_points` (R,), which is ZERO_POINT for each row."""
        if self._levels:
            g.input("zero_points", UINT8, ("R",))


def _layers(weights: LanguageWeights, config: LlamaConfig, product: _Product) -> Graph:
    """From embedded tokens (1, R, D) to the normalised states (1, R, D) of the uppermost layer.

    Other inputs: by_sequence [B, S, -1], a shape; last (B,), the index of each sequence's last position; seen (), the
    positions of the longest sequence; z_I (1, R, D), what z adds; and for each layer key_I and value_I (B, K, M, E),
    with what came before. new_key_I and new_value_I are the same with the rows' own, at their positions.
    """
    g = Graph("layers")
    x = g.input("x", FLOAT, (1, "R", config.width))
    product.inputs(g)
    g.input("by_sequence", INT64, (3,))
    g.input("last", INT32, ("B",))
    g.input("seen", INT32, ())
    positions = np.arange(ROTATIONS, dtype=np.float32)[:, None]
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
    normed, x = _normalised(g, x, more, layer.attention_norm, config)
    joined = product(g, normed, f"query_key_value_{index}", layer.query_key_value)
    found = _attention(g, joined, index, config, rotation)
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


def _attention(g: Graph, joined: str, index: int, config: LlamaConfig, rotation: tuple[str, str]) -> str:
    """Causal attention of queries, keys and values side by side (1, R, (H + 2K) E): (1, R, H E)."""
    sizes = ("B", config.kv_heads, "M", config.head_size)
    before = (g.input(f"{name}_{index}", FLOAT, sizes) for name in ("key", "value"))
    found, *after = g.add_many(
        "GroupQueryAttention",
        (g.add("Reshape", joined, "by_sequence"), "", "", *before, "last", "seen", *rotation),
        3,
        domain=MICROSOFT,
        num_heads=config.heads,
        kv_num_heads=config.kv_heads,
        do_rotary=1,
    )
    for name, array in zip(("key", "value"), after, strict=True):
        g.output(f"new_{name}_{index}", array, FLOAT, sizes)
    return g.add("Reshape", found, g.shared(np.array([1, -1, config.heads * config.head_size])))


def _words(weights: LanguageWeights, product: _Product) -> Graph:
    """States (1, R, D), inverse_temperature (R, 1), likeliest (1) -> the fields of `Step`."""
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
    """(O, I) whole numbers from -levels to levels, and the scale of each row (O,)."""
    scale: Floats = np.maximum(np.abs(weight).max(axis=1), np.finfo(np.float32).tiny) / np.float32(levels)
    return np.rint(weight / scale[:, None]).astype(np.int8), scale
