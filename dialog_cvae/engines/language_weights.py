"""The weights that a language model's graphs are made of: the backbone with its adapters merged, without PyTorch.

Open it to see what is folded into what before the weights are rounded.

Shape legend: D width, H query heads, K key and value heads, E head size, M hidden units of the MLP, V vocabulary,
Z latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dialog_cvae.engines.base import Floats
from dialog_cvae.language_config import LanguageModelConfig, LlamaConfig
from dialog_cvae.model.weights import PRIOR, Linear, Shapes

LEVELS = 127  # levels of an 8-bit number on either side of 0
ZERO_POINT = 128  # the value 0 of a rounded state, as a byte
LINEAR = ("query_key_value", "attended", "gate_up", "down")  # the adapted maps of a layer


class LayerWeights(NamedTuple):
    """Weights of one layer.

    Norms (D,); query_key_value ((H + 2K) E, D); attended (D, HE); gate_up (2M, D); down (D, M).
    """

    attention_norm: Floats
    query_key_value: Floats
    attended: Floats
    mlp_norm: Floats
    gate_up: Floats
    down: Floats


class LanguageWeights(NamedTuple):
    """Weights of the whole model.

    Attributes:
        embedding: (V, D).
        words: (V, D), the output projection; equal to the embedding, unless the weights are rotated.
        layers: from the lowest.
        final_norm: (D,).
        z_maps: (D, Z) for each of the layers that z enters, and for the softmax; none without z.
        prior: the two layers of the prior network; none without z.
        read_out: (D, D), from the normalised states to those of the backbone, which the prior network reads.
    """

    embedding: Floats
    words: Floats
    layers: tuple[LayerWeights, ...]
    final_norm: Floats
    z_maps: tuple[Floats, ...]
    prior: tuple[Linear[Floats], ...]
    read_out: Floats


def adapter_shapes(config: LanguageModelConfig, backbone: LlamaConfig) -> Shapes:
    """Shapes of all parameters of `LanguageCVAE`, by name; the base's own weights are not among them."""
    width, mlp, rank, latent, hidden = (
        backbone.width,
        backbone.mlp_size,
        config.rank,
        config.latent_size,
        config.hidden_size,
    )
    joined = (backbone.heads + 2 * backbone.kv_heads) * backbone.head_size
    sizes = dict(zip(LINEAR, ((width, joined), (width, width), (width, 2 * mlp), (mlp, width)), strict=True))
    found: Shapes = {}
    for index in range(backbone.layers if rank else 0):
        for name, (inputs, outputs) in sizes.items():
            found[f"lm.layers.{index}.{name}.down"] = (rank, inputs)
            found[f"lm.layers.{index}.{name}.up"] = (outputs, rank)
    if latent:
        found |= _mlp_shapes("prior_network", width, hidden, 2 * latent)
        found |= _mlp_shapes("recognition_network", 3 * width, hidden, 2 * latent)
        found |= {
            f"z_maps.{index}.weight": (width, latent) for index in range(min(config.z_layers, backbone.layers) + 1)
        }
    if config.bow:
        found |= _mlp_shapes("bow_head", width + latent, hidden, width)
    return found


def z_maps(adapters: Mapping[str, Floats], config: LanguageModelConfig, backbone: LlamaConfig) -> tuple[Floats, ...]:
    """(D, Z) for each of the layers that z enters, and for the softmax; none without z."""
    count = min(config.z_layers, backbone.layers) + 1 if config.latent_size else 0
    return tuple(adapters[f"z_maps.{index}.weight"] for index in range(count))


def merged(
    adapters: Mapping[str, Floats], backbone: Mapping[str, Floats], config: LanguageModelConfig, sizes: LlamaConfig
) -> LanguageWeights:
    """The base's linear maps with their adapters, W + (alpha / r) B A.

    Args:
        adapters: with the names and shapes of `adapter_shapes`.
        backbone: with those of `dialog_cvae.storage.backbone.shapes`.
        config: sizes of what is added.
        sizes: of the backbone.
    """

    def linear(index: int, name: str, *parts: str) -> Floats:
        weight = np.concatenate([backbone[f"layers.{index}.{part}"] for part in parts])
        if config.rank:
            down, up = (adapters[f"lm.layers.{index}.{name}.{side}"] for side in ("down", "up"))
            weight = weight + np.float32(config.alpha / config.rank) * (up @ down)
        return weight

    layers = tuple(
        LayerWeights(
            backbone[f"layers.{index}.attention_norm"],
            linear(index, "query_key_value", "query", "key", "value"),
            linear(index, "attended", "attended"),
            backbone[f"layers.{index}.mlp_norm"],
            linear(index, "gate_up", "gate", "up"),
            linear(index, "down", "down"),
        )
        for index in range(sizes.layers)
    )
    return LanguageWeights(
        backbone["embedding"],
        backbone["embedding"],
        layers,
        backbone["final_norm"],
        z_maps(adapters, config, sizes),
        tuple(names.of(adapters) for names in PRIOR) if config.latent_size else (),
        np.eye(sizes.width, dtype=np.float32),
    )


def rotated(weights: LanguageWeights) -> LanguageWeights:
    """The same model with rotated states between layers, and norms without weights (QuaRot, Ashkboos et al., 2024).

    Single dimensions of these states are up to 50 times as large as others, which costs the others most of 8 bits;
    after the rotation all are alike. Maps to the states are rotated, and maps of them are rotated back and take the
    norms' weights: RMSNorm without weights is the same before and after a rotation.
    """
    turn = rotation(weights.embedding.shape[1])
    ones = np.ones_like(weights.final_norm)

    def taking(weight: Floats, norm: Floats) -> Floats:
        found: Floats = np.matmul(weight * norm, turn, dtype=np.float32)
        return found

    layers = tuple(
        LayerWeights(
            ones,
            taking(layer.query_key_value, layer.attention_norm),
            turn.T @ layer.attended,
            ones,
            taking(layer.gate_up, layer.mlp_norm),
            turn.T @ layer.down,
        )
        for layer in weights.layers
    )
    return LanguageWeights(
        weights.embedding @ turn,
        taking(weights.words, weights.final_norm),
        layers,
        ones,
        tuple(turn.T @ each for each in weights.z_maps),
        weights.prior,
        turn.T * weights.final_norm,
    )


def rotation(size: int) -> Floats:
    """An orthogonal matrix (D, D) that spreads each dimension over all.

    It is the Kronecker product of Hadamard's matrix, of the largest power of two in D, and a cosine transform.
    """
    power = size & -size
    rest = size // power
    hadamard = np.ones((1, 1))
    while len(hadamard) < power:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    cosines = np.cos(np.pi / rest * np.outer(np.arange(rest), np.arange(rest) + 0.5)) * np.sqrt(2 / rest)
    cosines[0] /= np.sqrt(2)
    found: Floats = np.kron(hadamard / np.sqrt(power), cosines).astype(np.float32)
    return found


def _mlp_shapes(name: str, inputs: int, hidden: int, outputs: int) -> Shapes:
    return {
        f"{name}.0.weight": (hidden, inputs),
        f"{name}.0.bias": (hidden,),
        f"{name}.2.weight": (outputs, hidden),
        f"{name}.2.bias": (outputs,),
    }
