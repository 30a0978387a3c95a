"""A Llama-type language model with low-rank adapters, layer by layer, so that a model can enter between layers.

Open it to change a layer of the language model, or which of its weights have an adapter. The backbone is frozen: its
weights are buffers that `state_dict` leaves out, so a checkpoint holds the adapters alone. Each linear map computes
W x + (alpha / r) B A x (LoRA, Hu et al., 2022) with B = 0 at the start. Layers are those of Touvron et al. (2023):
RMSNorm before each part, rotary positions, grouped key and value heads, SwiGLU. Departure: query, key and value share
one product and one adapter, and so do gate and up.

Shape legend: R rows, T positions, S positions attended to, D width, H query heads, K key and value heads, E head size,
r rank, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dialog_cvae.language_config import LlamaConfig
from dialog_cvae.nn.llama_functions import adapted_linear, grouped_attention, rms_norm, rotated, swiglu

MASKED = -1e4  # added to a score that must not count; finite in every floating type, so that no row is all infinite


class AdaptedLinear(nn.Module):
    """y = W x + scale B A x, with W frozen.

    Args:
        weight: (out, in), in the type that the backbone computes in.
        rank: r, rows of A; 0 is W alone.
        alpha: scale times r.
    """

    weight: Tensor

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.register_buffer("weight", weight, persistent=False)
        self.scale = alpha / rank if rank else 0.0
        self.down = nn.Parameter(torch.randn(rank, inputs) / math.sqrt(inputs)) if rank else None
        self.up = nn.Parameter(torch.zeros(outputs, rank)) if rank else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out), in the type of x."""
        if self.down is None or self.up is None:
            return nn.functional.linear(x, self.weight)
        return adapted_linear(x, self.weight, self.down.to(x.dtype), self.up.to(x.dtype), self.scale)


class Rotation(NamedTuple):
    """Rotary positions: cosines and sines, both (R or 1, T, 1, 1, E / 2)."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, positions: Tensor, config: LlamaConfig, dtype: torch.dtype) -> Rotation:
        """The rotation of positions (R or 1, T) in the sequence, counted from 0."""
        exponents = torch.arange(0, config.head_size, 2, device=positions.device, dtype=torch.float32)
        angles = positions[:, :, None, None, None].float() * config.rope_theta ** (-exponents / config.head_size)
        return cls(angles.cos().to(dtype), angles.sin().to(dtype))

    def at(self, positions: Tensor) -> Rotation:
        """The rotation of some positions (R, T'); `self` must be that of all positions from 0."""
        return Rotation(*(each[0][positions] for each in self))


class KeysValues(NamedTuple):
    """Keys and values of S positions, to which later positions attend: both (R, K, S, E)."""

    keys: Tensor
    values: Tensor

    def followed_by(self, later: KeysValues) -> KeysValues:
        """The keys and values of these positions, then of the later ones."""
        return KeysValues(torch.cat((self.keys, later.keys), 2), torch.cat((self.values, later.values), 2))


class LlamaLayer(nn.Module):
    """One layer.

    Args:
        config: sizes of the backbone.
        weights: of the layer, by the names of `dialog_cvae.storage.backbone.LAYER_WEIGHTS`.
        rank, alpha: of the adapters.
    """

    attention_norm: Tensor
    mlp_norm: Tensor

    def __init__(self, config: LlamaConfig, weights: Mapping[str, Tensor], rank: int, alpha: float) -> None:
        super().__init__()
        self.config = config
        joined = torch.cat([weights[name] for name in ("query", "key", "value")])
        self.query_key_value = AdaptedLinear(joined, rank, alpha)
        self.attended = AdaptedLinear(weights["attended"], rank, alpha)
        self.gate_up = AdaptedLinear(torch.cat([weights[name] for name in ("gate", "up")]), rank, alpha)
        self.down = AdaptedLinear(weights["down"], rank, alpha)
        self.register_buffer("attention_norm", weights["attention_norm"], persistent=False)
        self.register_buffer("mlp_norm", weights["mlp_norm"], persistent=False)

    def forward(
        self, x: Tensor, rotation: Rotation, bias: Tensor | None = None, before: KeysValues | None = None
    ) -> tuple[Tensor, KeysValues]:
        """The layer's output, and the keys and values of these positions alone.

        Args:
            x: (R, T, D).
            rotation: of the positions of x.
            bias: (R or 1, T, S), added to the scores: 0 or MASKED. S counts `before`, then the positions of x. None
                lets each position see those up to its own.
            before: keys and values of other positions that x may attend to.
        """
        config = self.config
        kv_heads, served = config.kv_heads, config.heads // config.kv_heads
        joined = self.query_key_value(self._norm(x, self.attention_norm))
        joined = joined.view(*x.shape[:2], -1, config.head_size)
        query, key, value = torch.split(joined, [config.heads, kv_heads, kv_heads], dim=2)  # (R, T, heads, E)
        query = rotated(query.view(*x.shape[:2], kv_heads, served, -1), *rotation)  # (R, K, T, H / K, E)
        own = KeysValues(rotated(key[:, :, :, None], *rotation)[:, :, :, 0], value.transpose(1, 2))
        seen = own if before is None else before.followed_by(own)
        found = grouped_attention(query, *seen, bias)
        x = x + self.attended(found.transpose(1, 2).flatten(2))
        return x + self.down(swiglu(self.gate_up(self._norm(x, self.mlp_norm)))), own

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return rms_norm(x, weight, self.config.norm_epsilon)


class Llama(nn.Module):
    """The backbone with adapters.

    Args:
        config: its sizes.
        weights: its weights by name; see `dialog_cvae.storage.backbone`.
        rank, alpha: of the adapters.
    """

    embedding: Tensor
    final_norm: Tensor

    def __init__(self, config: LlamaConfig, weights: Mapping[str, Tensor], rank: int, alpha: float) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("embedding", weights["embedding"], persistent=False)
        self.register_buffer("final_norm", weights["final_norm"], persistent=False)
        self.layers = nn.ModuleList()
        for index in range(config.layers):
            prefix = f"layers.{index}."
            own = {name.removeprefix(prefix): each for name, each in weights.items() if name.startswith(prefix)}
            self.layers.append(LlamaLayer(config, own, rank, alpha))

    def embed(self, tokens: Tensor) -> Tensor:
        """(R, T) ids -> (R, T, D)."""
        return nn.functional.embedding(tokens, self.embedding)

    def normalised(self, x: Tensor) -> Tensor:
        """(..., D) the final hidden states, of which the embedding, as output projection, gives the logits."""
        return rms_norm(x, self.final_norm, self.config.norm_epsilon)

    def rotation(self, positions: Tensor) -> Rotation:
        """See `Rotation.of`."""
        return Rotation.of(positions, self.config, self.embedding.dtype)


def bias_of(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """(R, T, S) whether a position may be attended to -> (R, T, S), 0 or MASKED."""
    zeros = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return zeros.masked_fill_(~visible, MASKED)
