"""A language model of Llama type in a folder as Hugging Face's Transformers writes it: config.json, tokenizer.json and
model.safetensors.

Open it if such a folder is refused or read wrongly, or if Transformers changes the names in its files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dialog_cvae.errors import CheckpointError
from dialog_cvae.language_config import LlamaConfig
from dialog_cvae.storage.backbone import LAYER_WEIGHTS, Array, Backbone, checked_sizes, checked_weights, sha256
from dialog_cvae.text.byte_pairs import BytePairs


def open_folder(path: Path) -> Backbone:
    """Read sizes and tokenizer of a folder; its weights are read when asked for.

    Raises:
        CheckpointError: a file is damaged or not of Llama type; the message names it.
        OSError: a file is missing or cannot be read.
    """
    content = _json(path / "config.json")
    if content.get("model_type") != "llama":
        raise CheckpointError(f"{path / 'config.json'}: model_type must be llama, but is {content.get('model_type')!r}")
    if content.get("hidden_act", "silu") != "silu":
        raise CheckpointError(f"{path / 'config.json'}: hidden_act must be silu, but is {content['hidden_act']!r}")
    if not content.get("tie_word_embeddings", False):
        raise CheckpointError(f"{path / 'config.json'}: tie_word_embeddings must be true, but is false")
    rope = content.get("rope_parameters") or {}  # of Transformers 5, with what was rope_scaling before
    if not isinstance(rope, dict):
        raise CheckpointError(f"{path / 'config.json'}: rope_parameters must hold an object, but is {rope!r}")
    if content.get("rope_scaling") is not None or rope.get("rope_type", "default") != "default":
        raise CheckpointError(f"{path / 'config.json'}: rope_scaling is not supported")
    heads, kv_heads = content.get("num_attention_heads"), content.get("num_key_value_heads")
    config = checked_sizes(
        path / "config.json",
        {
            "layers": content.get("num_hidden_layers"),
            "width": content.get("hidden_size"),
            "heads": heads,
            "kv_heads": heads if kv_heads is None else kv_heads,
            "mlp_size": content.get("intermediate_size"),
            "vocab_size": content.get("vocab_size"),
            "rope_theta": content.get("rope_theta") or rope.get("rope_theta", 10_000.0),
            "norm_epsilon": content.get("rms_norm_eps", 1e-6),  # the default of Transformers
            "max_positions": content.get("max_position_embeddings"),
        },
    )
    try:
        tokenizer = BytePairs((path / "tokenizer.json").read_bytes())
    except CheckpointError as error:
        raise CheckpointError(f"{path / 'tokenizer.json'}: {error}") from None
    if tokenizer.largest_id >= config.vocab_size:
        raise CheckpointError(
            f"{path / 'tokenizer.json'}: its ids reach {tokenizer.largest_id}, but the embedding has "
            f"{config.vocab_size} rows (vocab_size of config.json)"
        )
    file = path / "model.safetensors"
    card = path / "README.md"
    licence = _licence(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
    name = str(content.get("_name_or_path") or path.name)
    return Backbone(
        name, licence, sha256(file), config, lambda: checked_weights(file, config, _weights(config, file)), tokenizer
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: must hold a JSON object, not {type(content).__name__}")
    return content


def _licence(card: str) -> str | None:
    """The licence in the head of a model card."""
    head = card.split("---")[1] if card.startswith("---") else ""
    lines = (line.split(":", 1) for line in head.splitlines() if line.startswith("license:"))
    return next((value.strip() for _, value in lines), None)


def _weights(config: LlamaConfig, file: Path) -> Iterator[tuple[str, Array]]:
    from safetensors import SafetensorError, deserialize

    ours = {"model.embed_tokens.weight": "embedding", "model.norm.weight": "final_norm"}
    for index in range(config.layers):
        names = {f"model.layers.{index}.{theirs}.weight": name for name, (_, theirs) in LAYER_WEIGHTS.items()}
        ours |= {theirs: f"layers.{index}.{name}" for theirs, name in names.items()}
    try:
        tensors = deserialize(file.read_bytes())  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise CheckpointError(f"{file}: not a readable safetensors file ({error})") from None
    for name, tensor in tensors:
        if name == "lm_head.weight" or name.endswith("rotary_emb.inv_freq"):  # the embedding again; a constant
            continue
        yield ours.get(name, name), _array(file, name, tensor)


def _array(file: Path, name: str, tensor: Mapping[str, Any]) -> Array:
    kinds = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}
    if tensor["dtype"] not in kinds:
        raise CheckpointError(f"{file}: weight {name} must be of {', '.join(kinds)}, but is {tensor['dtype']}")
    stored = np.frombuffer(tensor["data"], dtype=kinds[tensor["dtype"]]).reshape(tensor["shape"])
    if tensor["dtype"] == "BF16":  # the upper half of single precision
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)
