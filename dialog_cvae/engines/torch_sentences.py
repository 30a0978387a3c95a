"""From a checkpoint to the VAE of sentences that it holds."""

from __future__ import annotations

import numpy as np
import torch

from dialog_cvae.errors import CheckpointError
from dialog_cvae.model.sentence_vae import SentenceVAE
from dialog_cvae.storage.checkpoint import WEIGHTS, Checkpoint


def build_sentence_model(checkpoint: Checkpoint, source: str = WEIGHTS) -> SentenceVAE:
    """The checkpoint's VAE of sentences, in evaluation mode on the CPU.

    Raises:
        CheckpointError: it is of a model of conversations, or a weight is missing, unexpected, of another shape than
            config.json asks for or not finite; the message names it, prefixed by `source`.
    """
    config = checkpoint.config
    if checkpoint.language_model:
        raise CheckpointError(f"{source}: {checkpoint.language_model}")
    if config.sentence is None:
        raise CheckpointError(f"{source}: is of a model of conversations, not of sentences")
    model = SentenceVAE(config.sentence, config.vocab_size)
    expected = model.state_dict()
    for name in sorted(expected.keys() | checkpoint.weights.keys()):
        if name not in checkpoint.weights or name not in expected:
            what = "missing" if name in expected else "not part of this model"
            raise CheckpointError(f"{source}: weight {name} is {what}")
        found, asked = checkpoint.weights[name], tuple(expected[name].shape)
        if found.shape != asked:
            raise CheckpointError(f"{source}: weight {name} has shape {found.shape}, config.json asks {asked}")
        if not np.isfinite(found).all():
            raise CheckpointError(f"{source}: weight {name} has values that are not finite")
    model.load_state_dict(
        {name: torch.from_numpy(each.astype(np.float32)) for name, each in checkpoint.weights.items()}
    )
    return model.eval()
