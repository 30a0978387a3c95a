"""Tiny language models that tests write to files: a Hugging Face folder or a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from gguf import GGUFWriter, RopeScalingType
from numpy.typing import NDArray
from safetensors.numpy import save_file

from dialog_cvae.language_config import LlamaConfig
from dialog_cvae.storage.backbone import LAYER_WEIGHTS, shapes
from dialog_cvae.text.byte_pairs import BytePairs

BASE = LlamaConfig(layers=2, width=32, heads=2, kv_heads=1, mlp_size=24, vocab_size=0x101, max_positions=512)


def letters() -> list[str]:
    """The byte-level alphabet, as GPT-2 spells bytes, and one pair."""
    from tokenizers.pre_tokenizers import ByteLevel

    return [*sorted(ByteLevel.alphabet()), "he"]


def drawn(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes(BASE).items()}


def write_folder(path: Path, weights: dict[str, NDArray[np.float32]], **changes: object) -> Path:
    path.mkdir()
    names = {"embedding": "model.embed_tokens.weight", "final_norm": "model.norm.weight"}
    for index in range(BASE.layers):
        for name, (_, theirs) in LAYER_WEIGHTS.items():
            names[f"layers.{index}.{name}"] = f"model.layers.{index}.{theirs}.weight"
    save_file({names[name]: array for name, array in weights.items()}, path / "model.safetensors")
    content = {
        "model_type": "llama",
        "tie_word_embeddings": True,
        "num_hidden_layers": BASE.layers,
        "hidden_size": BASE.width,
        "num_attention_heads": BASE.heads,
        "num_key_value_heads": BASE.kv_heads,
        "intermediate_size": BASE.mlp_size,
        "vocab_size": BASE.vocab_size,
        "max_position_embeddings": BASE.max_positions,
        "rms_norm_eps": BASE.norm_epsilon,
    }
    (path / "config.json").write_text(json.dumps(content | changes))
    (path / "tokenizer.json").write_bytes(BytePairs.from_tables(letters(), ["h e"], "gpt-2").content)
    (path / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# Tiny\n")
    return path


def write_gguf(
    path: Path,
    weights: dict[str, NDArray[np.float32]],
    cut: str = "gpt-2",
    kind: str = "llama",
    scaling: RopeScalingType | None = None,
    more: Mapping[str, NDArray[np.float32]] = MappingProxyType({}),
) -> Path:
    """Write a GGUF file; `more` are tensors by the names of the file."""
    writer = GGUFWriter(path, kind)
    if scaling is not None:
        writer.add_rope_scaling_type(scaling)
    for name, array in more.items():
        writer.add_tensor(name, array)
    writer.add_name("tiny")
    writer.add_license("apache-2.0")
    writer.add_block_count(BASE.layers)
    writer.add_embedding_length(BASE.width)
    writer.add_head_count(BASE.heads)
    writer.add_head_count_kv(BASE.kv_heads)
    writer.add_feed_forward_length(BASE.mlp_size)
    writer.add_context_length(BASE.max_positions)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cut)
    writer.add_token_list(letters())
    writer.add_token_merges(["h e"])
    for name, array in weights.items():
        if name == "embedding":
            theirs = "token_embd.weight"
        elif name == "final_norm":
            theirs = "output_norm.weight"
        else:
            _, index, own = name.split(".")
            theirs = f"blk.{index}.{LAYER_WEIGHTS[own][0]}.weight"
            heads = {"query": BASE.heads, "key": BASE.kv_heads}.get(own)
            if heads is not None:  # as llama.cpp's converter does
                array = array.reshape(heads, 2, -1, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)
        writer.add_tensor(theirs, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
