"""A pre-trained language model of Llama type on the disk: its facts, and the names and shapes of its weights.

Open it to change which weights and shapes a backbone must have; `backbone_folder` and `backbone_gguf` read the files.
Weights have the same names whatever file they come from: `embedding`, `final_norm`, and `layers.N.` before each of
`LAYER_WEIGHTS`. All are (out, in) or (D,), in single precision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from dialog_cvae.errors import CheckpointError
from dialog_cvae.language_config import BackboneFacts, LlamaConfig
from dialog_cvae.text.byte_pairs import BytePairs

Array = NDArray[np.float32]

# Name here, in a GGUF file, in a Hugging Face folder.
LAYER_WEIGHTS = {
    "attention_norm": ("attn_norm", "input_layernorm"),
    "query": ("attn_q", "self_attn.q_proj"),
    "key": ("attn_k", "self_attn.k_proj"),
    "value": ("attn_v", "self_attn.v_proj"),
    "attended": ("attn_output", "self_attn.o_proj"),
    "mlp_norm": ("ffn_norm", "post_attention_layernorm"),
    "gate": ("ffn_gate", "mlp.gate_proj"),
    "up": ("ffn_up", "mlp.up_proj"),
    "down": ("ffn_down", "mlp.down_proj"),
}


@dataclass(frozen=True)
class Backbone:
    """A language model.

    Attributes:
        name: as its file calls it.
        licence: as its file says; None where it does not.
        sha256: of the file of weights, by which an adapter knows its backbone.
        config: sizes.
        weights: by name; read when first asked for.
        tokenizer: its own.
    """

    name: str
    licence: str | None
    sha256: str
    config: LlamaConfig
    weights: Callable[[], dict[str, Array]]
    tokenizer: BytePairs

    @property
    def facts(self) -> BackboneFacts:
        """What a checkpoint of adapters says of it."""
        return BackboneFacts(name=self.name, licence=self.licence, sha256=self.sha256, sizes=self.config)


def sha256(path: Path) -> str:
    """Of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked_sizes(path: Path, fields: Mapping[str, Any]) -> LlamaConfig:
    """The sizes that a file gives.

    Raises:
        CheckpointError: one is missing or out of its limits; the message names the file and the size.
    """
    try:
        return LlamaConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "sizes"
        raise CheckpointError(f"{path}: {place}: {first['msg'].removeprefix('Value error, ')}") from None


def checked_weights(path: Path, config: LlamaConfig, weights: Iterator[tuple[str, Array]]) -> dict[str, Array]:
    """All weights of the model, each of its shape.

    Raises:
        CheckpointError: one is missing, unknown, of another shape or not finite.
    """
    expected = shapes(config)
    found: dict[str, Array] = {}
    for name, array in weights:
        if name not in expected:
            raise CheckpointError(f"{path}: weight {name} is not part of a Llama model")
        if array.shape != expected[name]:
            raise CheckpointError(f"{path}: weight {name} has shape {array.shape}, but the sizes ask {expected[name]}")
        if not np.isfinite(array).all():
            raise CheckpointError(f"{path}: weight {name} has values that are not finite")
        found[name] = array
    if missing := sorted(expected.keys() - found.keys()):
        raise CheckpointError(f"{path}: weight {missing[0]} is missing")
    return found


def shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights of a backbone, by name."""
    width, mlp, groups = config.width, config.mlp_size, config.kv_heads * config.head_size
    layer = {
        "attention_norm": (width,),
        "query": (width, width),
        "key": (groups, width),
        "value": (groups, width),
        "attended": (width, width),
        "mlp_norm": (width,),
        "gate": (mlp, width),
        "up": (mlp, width),
        "down": (width, mlp),
    }
    found: dict[str, tuple[int, ...]] = {"embedding": (config.vocab_size, width), "final_norm": (width,)}
    for index in range(config.layers):
        found |= {f"layers.{index}.{name}": shape for name, shape in layer.items()}
    return found
