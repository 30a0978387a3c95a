"""Names and shapes of every parameter of both models, and the check of a checkpoint against them; needs no PyTorch.

Open it to add a parameter, or to find out what an array in `model.safetensors` is. The engines look up arrays by the
names below, for example `START.of(weights).bias`; the PyTorch modules must have exactly these parameters.

Shape legend: V vocabulary, E embedding, H utterance GRU per direction, K context GRU, D decoder, Z latent,
C condition = [topic; responder's profile; other's profile; context; responder's role].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.errors import CheckpointError
from dialog_cvae.model_config import ModelConfig, SentenceModelConfig
from dialog_cvae.types import PROFILE_FEATURES

if TYPE_CHECKING:  # for type checkers only, so that digests of this module do not depend on the code of checkpoints
    from dialog_cvae.storage.checkpoint import Checkpoint
    from dialog_cvae.storage.checkpoint_config import CheckpointConfig, ModelKind

Shape = tuple[int, ...]
Shapes = dict[str, Shape]
T = TypeVar("T")
U = TypeVar("U")

GRU_GATES = 3  # reset, update, new
LSTM_GATES = 4  # input, forget, cell, output
UNIFORM_RANGE = 0.08  # range of a new CVAE's embeddings and, as in the official code, of other weights


class Linear(NamedTuple, Generic[T]):
    """A fully connected layer, y = x W^T + b: the names of its parameters, or their arrays."""

    weight: T  # (outputs, inputs)
    bias: T  # (outputs,)

    def of(self, weights: Mapping[T, U]) -> Linear[U]:
        """The arrays of these names."""
        return Linear(*(weights[name] for name in self))


class Recurrent(NamedTuple, Generic[T]):
    """One direction of a GRU or LSTM layer: the names of its parameters, or their arrays; gates in PyTorch's order."""

    weight_ih: T  # (gates * hidden, inputs)
    weight_hh: T  # (gates * hidden, hidden)
    bias_ih: T  # (gates * hidden,)
    bias_hh: T  # (gates * hidden,)

    def of(self, weights: Mapping[T, U]) -> Recurrent[U]:
        """The arrays of these names."""
        return Recurrent(*(weights[name] for name in self))


def _linear(name: str) -> Linear[str]:
    return Linear(f"{name}.weight", f"{name}.bias")


def _recurrent(module: str, suffix: str = "") -> Recurrent[str]:
    return Recurrent(*(f"{module}.{kind}{suffix}" for kind in Recurrent._fields))


# Both models.
EMBEDDING = "embedding.weight"  # (V, E)
RECOGNITION = _linear("recognition_network")
MEAN_NORM = tuple(f"mean_norm.{name}" for name in ("bias", "running_mean", "running_variance"))  # (Z,) each
START = _linear("decoder.start")
OUTPUT = _linear("decoder.output")

# The dialog model.
TOPIC = "topic.weight"  # (topics + 1, topic_size)
ROLE = "role.weight"  # (roles + 1, role_size), with roles
UNKNOWN_PROFILE = "unknown_profile"  # (PROFILE_FEATURES,)
UTTERANCE_ENCODER = tuple(_recurrent("utterance_encoder.gru", each) for each in ("_l0", "_l0_reverse"))
CONTEXT_ENCODER = _recurrent("context_encoder.cell")
PRIOR = (_linear("prior_network.0"), _linear("prior_network.2"))
DECODER = _recurrent("decoder.gru", "_l0")
BOW_HEAD = (_linear("bow_head.0"), _linear("bow_head.2"))

# The sentence VAE.
ENCODER_EMBEDDING = "encoder_embedding.weight"  # (V, E)
FILTERS = tuple(_linear(f"encoder.{name}") for name in ("first", "second", "third"))
OUTPUT_MAP = "decoder.map.weight"  # (E, D), with a tied output
TIED_BIAS = "decoder.bias"  # (V,), with a tied output


def condition_size(config: ModelConfig) -> int:
    """C, the size of the condition."""
    return config.topic_size + 2 * PROFILE_FEATURES + config.context_size + config.role_size


def skip_size(config: ModelConfig | SentenceModelConfig) -> int:
    """Dimensions of z that skip connections add to a decoder's inputs and states: Z, or 0 without them."""
    return config.latent_size if config.skip else 0


def layer_inputs(config: SentenceModelConfig) -> list[int]:
    """Inputs of each LSTM layer of the sentence VAE's decoder."""
    first = config.embedding_size + (config.latent_size if config.z_to_inputs else 0)
    return [first, *[config.decoder_size + skip_size(config)] * (config.layers - 1)]


def dialog_shapes(config: ModelConfig, vocab_size: int, topics: int, roles: int = 0) -> Shapes:
    """Shapes of all parameters of `CVAE`, by name.

    Args:
        config: sizes.
        vocab_size: V, with the special tokens.
        topics: number of known topics; one more row is `<unknown>`.
        roles: number of known roles; one more row is the unknown one.
    """
    condition, latent, added = condition_size(config), config.latent_size, skip_size(config)
    found: Shapes = {
        EMBEDDING: (vocab_size, config.embedding_size),
        TOPIC: (topics + 1, config.topic_size),
        UNKNOWN_PROFILE: (PROFILE_FEATURES,),
    }
    if config.role_size:
        found[ROLE] = (roles + 1, config.role_size)
    for direction in UTTERANCE_ENCODER:
        found |= _recurrent_shapes(direction, GRU_GATES, config.embedding_size, config.utterance_size)
    said = 2 * config.utterance_size + 2 + config.role_size
    found |= _recurrent_shapes(CONTEXT_ENCODER, GRU_GATES, said, config.context_size)
    if latent:
        found |= _linear_shapes(PRIOR, condition, config.prior_size, 2 * latent)
        found |= _linear_shapes([RECOGNITION], condition + 2 * config.utterance_size, 2 * latent)
        found |= _mean_norm_shapes(config)
    found |= _linear_shapes([START], condition + latent, config.decoder_size)
    found |= _recurrent_shapes(DECODER, GRU_GATES, config.embedding_size + added, config.decoder_size)
    found |= _linear_shapes([OUTPUT], config.decoder_size + added, vocab_size)
    if config.bow:
        found |= _linear_shapes(BOW_HEAD, condition + latent, config.bow_size, vocab_size)
    return found


def sentence_shapes(config: SentenceModelConfig, vocab_size: int) -> Shapes:
    """Shapes of all parameters of `SentenceVAE`, by name.

    Args:
        config: sizes.
        vocab_size: V, with the special tokens.
    """
    size, hidden, latent = config.embedding_size, config.decoder_size, config.latent_size
    found: Shapes = {EMBEDDING: (vocab_size, size)}
    if latent:
        if not config.shared_embedding:
            found[ENCODER_EMBEDDING] = (vocab_size, size)
        found |= _sentence_encoder_shapes(config)
        found |= _mean_norm_shapes(config)
    for layer, inputs in enumerate(layer_inputs(config)):
        found |= _recurrent_shapes(_recurrent(f"decoder.layers.{layer}", "_l0"), LSTM_GATES, inputs, hidden)
    if latent and config.z_to_state:
        found |= _linear_shapes([START], latent, config.layers * hidden)
    softmax = hidden + skip_size(config)
    if config.tied_output:
        return found | {OUTPUT_MAP: (size, softmax), TIED_BIAS: (vocab_size,)}
    return found | _linear_shapes([OUTPUT], softmax, vocab_size)


def _sentence_encoder_shapes(config: SentenceModelConfig) -> Shapes:
    """Shapes of q(z | x): the convolutions or the LSTM, and the linear map of their output."""
    size, found = config.embedding_size, Shapes()
    if config.encoder == "cnn":
        widths = (config.filter_width, config.filter_width, config.last_filter_width)
        channels = (size, config.filters, 2 * config.filters, 3 * config.filters)
        for names, (inputs, outputs), width in zip(FILTERS, pairwise(channels), widths, strict=True):
            found |= {names.weight: (outputs, inputs, width), names.bias: (outputs,)}
        return found | _linear_shapes([RECOGNITION], channels[-1], 2 * config.latent_size)
    for layer in range(config.layers):
        inputs = config.encoder_size if layer else size
        found |= _recurrent_shapes(_recurrent("encoder.lstm", f"_l{layer}"), LSTM_GATES, inputs, config.encoder_size)
    return found | _linear_shapes([RECOGNITION], config.encoder_size, 2 * config.latent_size)


def _linear_shapes(layers: Iterable[Linear[str]], *sizes: int) -> Shapes:
    """Shapes of consecutive layers, from `sizes[0]` inputs to `sizes[-1]` outputs."""
    found = Shapes()
    for names, (inputs, outputs) in zip(layers, pairwise(sizes), strict=True):
        found |= {names.weight: (outputs, inputs), names.bias: (outputs,)}
    return found


def _recurrent_shapes(names: Recurrent[str], gates: int, inputs: int, hidden: int) -> Shapes:
    rows = gates * hidden
    return dict(zip(names, ((rows, inputs), (rows, hidden), (rows,), (rows,)), strict=True))


def _mean_norm_shapes(config: ModelConfig | SentenceModelConfig) -> Shapes:
    return {name: (config.latent_size,) for name in MEAN_NORM if config.posterior_norm}


def shapes(config: CheckpointConfig) -> Shapes:
    """Shapes of all parameters of a checkpoint's model, by name."""
    if config.sentence is not None:
        return sentence_shapes(config.sentence, config.vocab_size)
    return dialog_shapes(config.model, config.vocab_size, len(config.topics), len(config.roles))


def checked_weights(
    checkpoint: Checkpoint, source: str, required: ModelKind | None = None
) -> dict[str, NDArray[np.float32]]:
    """The checkpoint's weights in single precision, in which all models compute.

    Args:
        checkpoint: of either kind of model.
        source: name of the checkpoint; every error message begins with it.
        required: kind of model that the caller needs; None accepts both.

    Raises:
        CheckpointError: the checkpoint holds another kind of model; or a weight is missing, unexpected, not of the
            shape that config.json gives, or not finite in single precision. The message names the weight.
    """
    if checkpoint.language_model:
        raise CheckpointError(f"{source}: {checkpoint.language_model}")
    if required is not None and checkpoint.config.kind != required:
        raise CheckpointError(f"{source}: holds a {checkpoint.config.kind}; a {required} is required")
    return fitting_weights(checkpoint.weights, shapes(checkpoint.config), source)


def fitting_weights(
    weights: Mapping[str, NDArray[Any]], expected: Mapping[str, Shape], source: str
) -> dict[str, NDArray[np.float32]]:
    """Weights in single precision, compared with the names and shapes that a model has.

    Raises:
        CheckpointError: a weight is missing, unexpected, of another shape, or not finite; the message names it.
    """
    with np.errstate(over="ignore"):
        arrays = {name: array.astype(np.float32) for name, array in weights.items()}
    for name in sorted(expected.keys() | arrays.keys()):
        if name not in arrays:
            raise CheckpointError(f"{source}: weight {name} is missing")
        if name not in expected:
            raise CheckpointError(f"{source}: weight {name} is not part of this model")
        if expected[name] != arrays[name].shape:
            raise CheckpointError(
                f"{source}: weight {name} has shape {arrays[name].shape}, but config.json requires {expected[name]}"
            )
        if not np.isfinite(arrays[name]).all():
            raise CheckpointError(f"{source}: weight {name} has values that are not finite")
    return arrays
