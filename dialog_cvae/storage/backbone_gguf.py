"""A language model of Llama type in one GGUF file, as llama.cpp writes it; its quantized weights are unpacked to single
precision.

Open it if a GGUF file is refused or read wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dialog_cvae.errors import CheckpointError
from dialog_cvae.language_config import LlamaConfig
from dialog_cvae.storage.backbone import LAYER_WEIGHTS, Array, Backbone, checked_sizes, checked_weights, sha256, shapes
from dialog_cvae.text.byte_pairs import BytePairs

if TYPE_CHECKING:
    from gguf import GGUFReader


def open_gguf(path: Path) -> Backbone:
    """Read sizes and tokenizer of a GGUF file; its weights are read when asked for.

    Raises:
        CheckpointError: it is damaged, lacks a field or is not of Llama type; the message names it.
        OSError: it cannot be read.
    """
    with _whole(path):
        reader = _reader(path)

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
    config = checked_sizes(path, _sizes(field))
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
        lambda: checked_weights(path, config, _weights(config, names, path)),
        tokenizer,
    )


def _reader(path: Path) -> GGUFReader:
    """The file, opened. An array that claims more items than bytes are left is refused.

    Raises:
        ValueError, IndexError, KeyError, OverflowError: the file is damaged.
    """
    from gguf import GGUFReader, GGUFValueType  # once a backbone is asked for

    class Checked(GGUFReader):  # type: ignore[misc]  # the library has no types
        """The reader alone would go on past the end of the file, and take memory for every item."""

        def _get_field_parts(self, orig_offs: int, raw_type: int, *more: Any) -> Any:
            if raw_type == GGUFValueType.ARRAY:
                length = int(self._get(orig_offs + 4, np.uint64)[0])  # after the type of its items
                left = len(self.data) - orig_offs - 12
                if length > left:
                    raise ValueError(f"an array of {length} items, but only {left} bytes are left")
            return super()._get_field_parts(orig_offs, raw_type, *more)

    return Checked(path)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turn what the reader raises for a damaged GGUF file into an error of ours."""
    try:
        yield
    except (ValueError, IndexError, KeyError, OverflowError, RecursionError, NotImplementedError) as error:
        raise CheckpointError(f"{path}: not a whole GGUF file ({error})") from None


def _sizes(field: Callable[..., Any]) -> dict[str, Any]:
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


def _weights(config: LlamaConfig, tensors: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Array]]:
    from gguf import dequantize

    ours = {"token_embd.weight": "embedding", "output_norm.weight": "final_norm"}
    for index in range(config.layers):
        ours |= {f"blk.{index}.{gguf}.weight": f"layers.{index}.{name}" for name, (gguf, _) in LAYER_WEIGHTS.items()}
    expected = shapes(config)
    for name, tensor in tensors.items():
        if name == "rope_freqs.weight":
            continue
        with _whole(path):
            array = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        own = ours.get(name, name)  # a name or shape that is not of a Llama is refused later
        heads = {"query": config.heads, "key": config.kv_heads}.get(own.split(".")[-1])
        if heads is not None and array.shape == expected.get(own):
            # llama.cpp rotates neighbouring dimensions, we rotate halves
            array = array.reshape(heads, -1, 2, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)
        yield own, array
