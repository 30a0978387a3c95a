"""The model's parameters by name and shape, and those of a checkpoint held against them; needs no PyTorch.

Shape legend: V vocabulary, E embedding, H utterance GRU per direction, K context GRU, D decoder GRU, Z latent,
C condition = [topic; responder's profile; other's profile; context].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.config import ModelConfig
from dialog_cvae.errors import CheckpointError
from dialog_cvae.storage.checkpoint import WEIGHTS, Checkpoint
from dialog_cvae.types import PROFILE_FEATURES

Shape = tuple[int, ...]


def condition_size(config: ModelConfig) -> int:
    """C."""
    return config.topic_size + 2 * PROFILE_FEATURES + config.context_size


def shapes(config: ModelConfig, vocab_size: int, topics: int) -> dict[str, Shape]:
    """Every parameter of the model's shape, by name.

    Args:
        config: sizes.
        vocab_size: V, with the special tokens.
        topics: known topics; one more row stands for `<unknown>`.
    """
    condition = condition_size(config)
    found: dict[str, Shape] = {
        "embedding.weight": (vocab_size, config.embedding_size),
        "topic.weight": (topics + 1, config.topic_size),
        "unknown_profile": (PROFILE_FEATURES,),
    }
    for suffix in ("_l0", "_l0_reverse"):
        found |= _gru("utterance_encoder.gru.", config.embedding_size, config.utterance_size, suffix)
    found |= _gru("context_encoder.cell.", 2 * config.utterance_size + 2, config.context_size, "")
    if config.latent_size:
        found |= _linear("prior_network.0", condition, config.prior_size)
        found |= _linear("prior_network.2", config.prior_size, 2 * config.latent_size)
        found |= _linear("recognition_network", condition + 2 * config.utterance_size, 2 * config.latent_size)
    if config.latent_size and config.posterior_norm:
        statistics = ("bias", "running_mean", "running_variance")
        found |= {f"mean_norm.{name}": (config.latent_size,) for name in statistics}
    beside = config.latent_size if config.skip else 0
    found |= _linear("decoder.start", condition + config.latent_size, config.decoder_size)
    found |= _gru("decoder.gru.", config.embedding_size + beside, config.decoder_size, "_l0")
    found |= _linear("decoder.output", config.decoder_size + beside, vocab_size)
    if config.bow:
        found |= _linear("bow_head.0", condition + config.latent_size, config.bow_size)
        found |= _linear("bow_head.2", config.bow_size, vocab_size)
    return found


def _linear(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _gru(prefix: str, inputs: int, hidden: int, suffix: str) -> dict[str, Shape]:
    rows = 3 * hidden  # reset, update, new
    sizes = {"weight_ih": (rows, inputs), "weight_hh": (rows, hidden), "bias_ih": (rows,), "bias_hh": (rows,)}
    return {f"{prefix}{kind}{suffix}": shape for kind, shape in sizes.items()}


def checked(checkpoint: Checkpoint, source: str = WEIGHTS) -> dict[str, NDArray[np.float32]]:
    """The checkpoint's weights in single precision, in which all models compute.

    Raises:
        CheckpointError: a weight is missing, unexpected, of another shape than the sizes in config.json ask for, or
            not finite in single precision; the message names it, prefixed by `source`. Or it is of another kind.
    """
    config = checkpoint.config
    if checkpoint.language_model:
        raise CheckpointError(f"{source}: {checkpoint.language_model}")
    if config.sentence is not None:
        raise CheckpointError(f"{source}: is of a VAE of sentences, which answers no conversation")
    expected = shapes(config.model, config.vocab_size, len(config.topics))
    with np.errstate(over="ignore"):
        arrays = {name: array.astype(np.float32) for name, array in checkpoint.weights.items()}
    for name in sorted(expected.keys() | arrays.keys()):
        if name not in arrays:
            raise CheckpointError(f"{source}: weight {name} is missing")
        if name not in expected:
            raise CheckpointError(f"{source}: weight {name} is not part of this model")
        if expected[name] != arrays[name].shape:
            raise CheckpointError(
                f"{source}: weight {name} has shape {arrays[name].shape}, config.json asks {expected[name]}"
            )
        if not np.isfinite(arrays[name]).all():
            raise CheckpointError(f"{source}: weight {name} has values that are not finite")
    return arrays
