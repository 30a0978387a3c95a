"""Names and shapes of every parameter that a checkpoint adds to a language model, and the check of one against them.

Open it to find out what an array of such a `model.safetensors` is. It needs no PyTorch; `LanguageCVAE` has exactly
these parameters. The base's own weights are not among them; see `dialog_cvae.storage.backbone`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.config import LanguageModelConfig, LlamaConfig
from dialog_cvae.errors import CheckpointError
from dialog_cvae.model.weights import Shapes, fitting_weights

if TYPE_CHECKING:
    from dialog_cvae.storage.checkpoint import Checkpoint


def language_shapes(config: LanguageModelConfig, base: LlamaConfig) -> Shapes:
    """Shapes of all parameters, by name.

    Args:
        config: sizes of what is added.
        base: sizes of the language model.
    """
    width, hidden, latent = base.width, config.hidden_size, config.latent_size
    adapted = {
        "query_key_value": (width, width + 2 * base.kv_heads * base.head_size),
        "attended": (width, width),
        "gate_up": (width, 2 * base.mlp_size),
        "down": (base.mlp_size, width),
    }
    found: Shapes = {}
    for layer in range(base.layers if config.rank else 0):
        for name, (inputs, outputs) in adapted.items():
            found[f"lm.layers.{layer}.{name}.down"] = (config.rank, inputs)
            found[f"lm.layers.{layer}.{name}.up"] = (outputs, config.rank)
    if latent:
        found |= _mlp("prior_network", width, hidden, 2 * latent)
        found |= _mlp("recognition_network", 3 * width, hidden, 2 * latent)
        maps = min(config.z_layers, base.layers) + 1
        found |= {f"z_maps.{index}.weight": (width, latent) for index in range(maps)}
    if config.bow:
        found |= _mlp("bow_head", width + latent, hidden, width)
    return found


def _mlp(name: str, inputs: int, hidden: int, outputs: int) -> Shapes:
    return {
        f"{name}.0.weight": (hidden, inputs),
        f"{name}.0.bias": (hidden,),
        f"{name}.2.weight": (outputs, hidden),
        f"{name}.2.bias": (outputs,),
    }


def language_weights(checkpoint: Checkpoint, source: str) -> dict[str, NDArray[np.float32]]:
    """The weights of a checkpoint of adapters, in single precision.

    Args:
        checkpoint: of adapters of a language model.
        source: name of the checkpoint, with which every error message begins.

    Raises:
        CheckpointError: it holds a model with weights of its own; or a weight is missing, unexpected, not of the shape
            that config.json gives, or not finite. The message names the weight.
    """
    config = checkpoint.config
    if config.language is None or config.base is None:
        raise CheckpointError(f"{source}: holds a model with weights of its own, no adapters of a language model")
    return fitting_weights(checkpoint.weights, language_shapes(config.language, config.base.sizes), source)
