"""Checks of a checkpoint of adapters against its backbone and its sizes, without PyTorch.

Open it to change when a checkpoint of adapters is refused.
"""

from __future__ import annotations

from dialog_cvae.engines.base import Floats
from dialog_cvae.engines.language_weights import adapter_shapes
from dialog_cvae.errors import CheckpointError
from dialog_cvae.model.weights import fitting_weights
from dialog_cvae.storage.backbone import Backbone
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_backbone import check_backbone
from dialog_cvae.storage.checkpoint_files import WEIGHTS


def checked_adapters(checkpoint: Checkpoint, backbone: Backbone, source: str = WEIGHTS) -> dict[str, Floats]:
    """A checkpoint's adapters in single precision.

    Args:
        checkpoint: of a language model.
        backbone: the language model.
        source: name of the checkpoint, with which every error message begins.

    Raises:
        CheckpointError: the checkpoint holds another kind of model, it was fitted on another backbone, or a
            weight is missing, unexpected, of another shape than config.json asks for or not finite.
    """
    config = checkpoint.config
    if config.language is None or config.base is None:
        raise CheckpointError(f"{source}: holds a model with weights of its own, no adapters of a language model")
    check_backbone(config.base, backbone, source)
    return fitting_weights(checkpoint.weights, adapter_shapes(config.language, backbone.config), source)
