"""A checkpoint's model, of either kind, for likelihoods and for replies.

Open it to add a kind of model to evaluations.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.engines.torch_language import KINDS, build_language_model
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.opening import dialog_codec
from dialog_cvae.generate.responder import Responder
from dialog_cvae.model.build import build_model
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.language_cvae import LanguageCVAE
from dialog_cvae.nn.devices import on_device
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_backbone import backbone_of_checkpoint
from dialog_cvae.storage.checkpoint_files import WEIGHTS
from eval.evaluation_settings import Precision


class OpenedModel(NamedTuple):
    """A model that is ready to be evaluated.

    Attributes:
        model: in evaluation mode, on its device.
        responder: generates the replies; None where no replies are wanted.
    """

    model: CVAE | LanguageCVAE
    responder: Responder | None

    @property
    def device(self) -> torch.device:
        """The device that computes likelihoods."""
        return next(self.model.parameters()).device


def open_model(checkpoint: Checkpoint, path: Path, device: str, precision: Precision, replies: bool) -> OpenedModel:
    """Open a checkpoint's model.

    Args:
        checkpoint: of a dialog model or a language model.
        path: of the checkpoint.
        device: that computes, such as "cpu" or "cuda".
        precision: of a language model's weights in likelihoods.
        replies: whether replies are wanted.

    Raises:
        ConfigError: there is no such device, or a model with weights of its own is asked for in bf16.
        CheckpointError: the weights do not fit, or a language model's backbone is missing or another one.
    """
    source = f"{path}/{WEIGHTS}"
    if checkpoint.config.language is not None:
        responder = Responder.load(path, device=device) if replies else None
        backbone = backbone_of_checkpoint(checkpoint.config, source)
        language = build_language_model(checkpoint, backbone, KINDS[precision], source)
        return OpenedModel(on_device(language, device)[0], responder)
    if precision != "fp32":
        raise ConfigError(f"precision {precision} is for the weights of a language model; {path} has others")
    model = build_model(checkpoint, source, required=CVAE)
    engine = TorchEngine(model, device)  # moves the model
    config = checkpoint.config
    if not replies:
        return OpenedModel(model, None)
    own = Responder(engine, dialog_codec(checkpoint), config, config.provenance.data)
    own.index, own.common = checkpoint.replies, checkpoint.common
    return OpenedModel(model, own)
