"""Checks of a checkpoint of adapters against its base and its sizes, without PyTorch."""

from __future__ import annotations

from dialog_cvae.config import BackboneFacts
from dialog_cvae.engines.base import Floats
from dialog_cvae.engines.language_weights import adapter_shapes
from dialog_cvae.errors import CheckpointError
from dialog_cvae.model.weights import fitting_weights
from dialog_cvae.storage.backbone import Backbone
from dialog_cvae.storage.checkpoint import WEIGHTS, Checkpoint


def checked_adapters(checkpoint: Checkpoint, base: Backbone, source: str = WEIGHTS) -> dict[str, Floats]:
    """A checkpoint's adapters in single precision.

    Args:
        checkpoint: of a language model.
        base: the language model.
        source: name of the checkpoint, with which every error message begins.

    Raises:
        CheckpointError: the checkpoint holds another kind of model, the base is not the one that it was fitted on, or
            a weight is missing, unexpected, of another shape than config.json asks for or not finite.
    """
    config = checkpoint.config
    if config.language is None or config.base is None:
        raise CheckpointError(f"{source}: holds a model with weights of its own, no adapters of a language model")
    check_base(config.base, base, source)
    return fitting_weights(checkpoint.weights, adapter_shapes(config.language, base.config), source)


def check_base(wanted: BackboneFacts, found: Backbone, source: str) -> None:
    """Refuse a base other than the one that adapters were fitted on.

    Raises:
        CheckpointError: its file has another content; the message names both.
    """
    if found.sha256 != wanted.sha256:
        raise CheckpointError(
            f"{source}: was fitted on the language model {wanted.name} (SHA-256 {wanted.sha256[:12]}...), "
            f"but {found.name} ({found.sha256[:12]}...) was found"
        )
