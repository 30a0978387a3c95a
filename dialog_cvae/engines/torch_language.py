"""Builds the conditional VAE on a language model, from a backbone and new or stored adapters.

Open it to change how a checkpoint of adapters becomes a PyTorch model, or to add a precision of the backbone.
"""

from __future__ import annotations

import torch

from dialog_cvae.engines.language_adapters import checked_adapters
from dialog_cvae.language_config import LanguageModelConfig
from dialog_cvae.model.language_cvae import LanguageCVAE
from dialog_cvae.storage.backbone import Backbone
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_files import WEIGHTS

KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""What a backbone is kept and multiplied in, by the names of the options."""


def new_language_model(
    config: LanguageModelConfig, backbone: Backbone, kind: torch.dtype = torch.float32
) -> LanguageCVAE:
    """The backbone with fresh adapters from PyTorch's random state.

    Args:
        config: sizes of what is added.
        backbone: the language model.
        kind: in which the backbone is kept and multiplied; what is trained is in single precision.

    Raises:
        CheckpointError: the base's file is truncated or does not fit its sizes.
    """
    weights = {name: torch.tensor(array, dtype=kind) for name, array in backbone.weights().items()}
    return LanguageCVAE(config, backbone.config, weights)


def build_language_model(
    checkpoint: Checkpoint, backbone: Backbone, kind: torch.dtype = torch.float32, source: str = WEIGHTS
) -> LanguageCVAE:
    """A checkpoint's adapters on their backbone, in evaluation mode on the CPU.

    Raises:
        CheckpointError: the checkpoint holds another kind of model, it was fitted on another backbone, or a
            weight is missing, unexpected, of another shape than config.json asks for or not finite; the message
            names it, prefixed by `source`.
    """
    arrays = checked_adapters(checkpoint, backbone, source)
    assert checkpoint.config.language is not None
    model = new_language_model(checkpoint.config.language, backbone, kind)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return model.eval()
