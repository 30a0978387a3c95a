"""Build PyTorch models from checkpoints, and get their weights as arrays for a checkpoint.

Open it to change how a checkpoint becomes a model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.model.sentence_vae import SentenceVAE
from dialog_cvae.model.weights import checked_weights
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import ModelKind
from dialog_cvae.storage.checkpoint_files import WEIGHTS

M = TypeVar("M", CVAE, SentenceVAE)
_KINDS: dict[type[LatentModel], ModelKind] = {CVAE: "dialog model", SentenceVAE: "sentence VAE"}


@overload
def build_model(checkpoint: Checkpoint, source: str = ...) -> CVAE | SentenceVAE: ...
@overload
def build_model(checkpoint: Checkpoint, source: str = ..., *, required: type[M]) -> M: ...
def build_model(
    checkpoint: Checkpoint, source: str = WEIGHTS, *, required: type[LatentModel] | None = None
) -> LatentModel:
    """The checkpoint's model, in evaluation mode on the CPU.

    Args:
        checkpoint: of either kind of model.
        source: name of the checkpoint; every error message begins with it.
        required: class of model that the caller needs; None accepts both.

    Raises:
        CheckpointError: the model has the other class, or a weight does not fit; see `weights.checked_weights`.
    """
    config = checkpoint.config
    arrays = checked_weights(checkpoint, source, None if required is None else _KINDS[required])
    model: LatentModel
    with torch.device("meta"), _NoNormal():
        if config.sentence is None:
            model = CVAE(config.model, config.vocab_size, len(config.topics), len(config.roles))
        else:
            model = SentenceVAE(config.sentence, config.vocab_size)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, assign=True)
    return model.eval()


def weights_of(model: LatentModel) -> dict[str, NDArray[np.float32]]:
    """Copies of a model's parameters by name, for a checkpoint."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in model.state_dict().items()}


class _NoNormal(TorchFunctionMode):
    """Skips normal draws for weights that a checkpoint will replace.

    The first such draw on the meta device makes PyTorch import its compiler, which takes seconds.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return kwargs["tensor"] if func is torch.nn.init.normal_ else func(*args, **kwargs)
