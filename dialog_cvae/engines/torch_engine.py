"""The reference engine: PyTorch, on CPU or GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from dialog_cvae.engines.base import ROWS, Condition, Floats, Ints, Step
from dialog_cvae.engines.torch_rows import RowGRU, RowProduct, by_rows
from dialog_cvae.errors import ConfigError
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.model.weights import checked
from dialog_cvae.storage.checkpoint import WEIGHTS, Checkpoint
from dialog_cvae.types import DialogBatch


def build_model(checkpoint: Checkpoint, source: str = WEIGHTS) -> CVAE:
    """The checkpoint's model, in evaluation mode on the CPU.

    Raises:
        CheckpointError: a weight does not fit; see `dialog_cvae.model.weights.checked`.
    """
    config = checkpoint.config
    arrays = checked(checkpoint, source)
    with torch.device("meta"), _NoNormal():
        model = CVAE(config.model, config.vocab_size, len(config.topics))
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, assign=True)
    return model.eval()


class _NoNormal(TorchFunctionMode):
    """Draws no normal numbers for weights that a checkpoint will replace.

    The first such draw on the meta device makes PyTorch import its compiler, which takes seconds.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return kwargs["tensor"] if func is torch.nn.init.normal_ else func(*args, **kwargs)


def weights_of(model: LatentModel) -> dict[str, NDArray[np.float32]]:
    """Parameters by name, as arrays of their own for a checkpoint."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in model.state_dict().items()}


DEVICES = ("cpu", "cuda", "mps")


class TorchEngine:
    """`Engine` over a `CVAE`, of which it makes its own copy of most weights.

    The encoders are computed anew here, from the same parameters: in training their products take the shape of the
    batch, and with it their rounding, which may decide between two tokens that are as good as equal.

    Args:
        model: moved to the device.
        device: such as "cpu" or "cuda".

    Raises:
        ConfigError: there is no such device, or not here.
    """

    def __init__(self, model: CVAE, device: str | torch.device = "cpu") -> None:
        try:
            self.device = torch.device(device)
            if self.device.type not in DEVICES:
                raise ConfigError(f"device must be one of {', '.join(DEVICES)}, but is {device}")
            weights = model.to(self.device).eval().state_dict()
        except (AssertionError, RuntimeError, NotImplementedError) as error:  # what PyTorch raises for an absent device
            reason = str(error).partition("\n")[0]
            raise ConfigError(f"device {device} can't be used here: {reason}") from None
        self._embedding, self._topic = weights["embedding.weight"], weights["topic.weight"]
        self._unknown_profile = weights["unknown_profile"]
        self._utterances = [_Recurrence(weights, "utterance_encoder.gru.", s) for s in ("_l0", "_l0_reverse")]
        self._context = _Recurrence(weights, "context_encoder.cell.", "", inputs=slice(-2))
        self._floors = weights["context_encoder.cell.weight_ih"][:, -2:].T  # (2, 3C): responder, other
        self._latent = model.config.latent_size
        layers = (0, 2) if self._latent else ()
        self._prior = [_linear(weights, f"prior_network.{layer}.") for layer in layers]
        self._start = _linear(weights, "decoder.start.")
        words, hidden = model.config.embedding_size, model.config.decoder_size
        self._decoder = _Recurrence(weights, "decoder.gru.", "_l0", inputs=slice(words))
        output = weights["decoder.output.weight"]
        self._output = RowProduct(output[:, :hidden], weights["decoder.output.bias"])
        self._added: RowProduct | None = None
        if model.config.skip and self._latent:
            by_z = torch.cat((weights["decoder.gru.weight_ih_l0"][:, words:], output[:, hidden:]))  # (A, Z)
            self._added = RowProduct(by_z, by_z.new_zeros(len(by_z)))
        self.name, self.rows = f"PyTorch {torch.__version__} on {self.device}", ROWS
        start = weights["decoder.start.weight"]
        self.latent_weight = _array(start[:, start.shape[1] - self._latent :])

    @torch.inference_mode()
    def condition(self, batch: DialogBatch) -> Condition:
        """See `Engine.condition`."""
        utterances = self._encode_utterances(self._tensor(batch.tokens), self._tensor(batch.lengths))
        from_utterance = by_rows(self._context.inputs, utterances)  # (U, 3C)

        def encode(slots: Tensor, lengths: Tensor, floors: Tensor, topic: Tensor, *profile: Tensor) -> Tensor:
            def gates(slot: int) -> Tensor:
                floor = torch.where(floors[:, slot, None] > 0, self._floors[0], self._floors[1])
                return from_utterance[slots[:, slot]].add_(floor)

            profiles = torch.where(profile[1] > 0, profile[0], self._unknown_profile).flatten(1)
            vector = torch.cat((self._topic[topic], profiles, self._context.gru.last(gates, lengths)), dim=-1)
            return torch.cat((vector, *self._prior_of(vector)), dim=-1)

        fields: tuple[NDArray[Any], ...] = (batch.context, batch.context_lengths, batch.floors, batch.topic)
        fields += (batch.profiles, batch.profiles_known)
        encoded = _array(by_rows(encode, *map(self._tensor, fields)))  # (B, C + 2Z)
        size = encoded.shape[1] - 2 * self._latent
        return Condition(*np.split(encoded, [size, size + self._latent], axis=1))

    def _prior_of(self, vector: Tensor) -> list[Tensor]:
        """Mean and log variance of p(z | c) side by side, (R, 2Z), from (R, C); nothing where Z is 0."""
        return [self._prior[1](self._prior[0](vector).tanh_())] if self._prior else []

    def _encode_utterances(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """(U, 2H) from (U, L) and (U,): each direction's last state, utterances of like length together."""
        words, index = torch.unique(tokens, return_inverse=True)
        vectors = self._embedding[words]
        tables = [by_rows(direction.inputs, vectors) for direction in self._utterances]  # (words, 3H) each

        def encode(index: Tensor, lengths: Tensor) -> Tensor:
            def gates(table: Tensor, positions: Tensor) -> Tensor:
                return table[index.gather(1, positions.clamp(min=0)[:, None])[:, 0]]

            forward, backward = self._utterances
            ahead = forward.gru.last(lambda step: gates(tables[0], torch.full_like(lengths, step)), lengths)
            back = backward.gru.last(lambda step: gates(tables[1], lengths - 1 - step), lengths)
            return torch.cat((ahead, back), dim=-1)

        order = lengths.argsort()
        encoded = by_rows(encode, index[order], lengths[order])
        return torch.empty_like(encoded).index_copy_(0, order, encoded)

    @torch.inference_mode()
    def start(self, condition: Floats, z: Floats) -> Floats:
        """See `Engine.start`."""
        return _array(by_rows(self._start, torch.cat((self._tensor(condition), self._tensor(z)), dim=-1)))

    @torch.inference_mode()
    def added(self, z: Floats) -> Floats:
        """See `Engine.added`."""
        if self._added is None:
            return np.zeros((len(z), 0), np.float32)
        return _array(by_rows(self._added, self._tensor(z)))

    @torch.inference_mode()
    def step(self, tokens: Ints, state: Floats, sharpness: Floats, likeliest: int, added: Floats | None = None) -> Step:
        """See `Engine.step`."""

        def next_state(tokens: Tensor, state: Tensor, *to_gates: Tensor) -> Tensor:
            gates = self._decoder.inputs(self._embedding[tokens])
            for each in to_gates:
                gates += each
            return self._decoder.gru.step(gates, state)

        parts: tuple[Tensor, ...] = ()  # to the gates and to the logits
        if self._added is not None:
            assert added is not None
            words = self._output.outputs
            parts = torch.split(self._tensor(added), [added.shape[1] - words, words], dim=1)
        following = by_rows(next_state, self._tensor(tokens), self._tensor(state), *parts[:1])
        logits = by_rows(self._output, following)
        for each in parts[1:]:
            logits += each
        masses = by_rows(_masses, logits, self._tensor(sharpness))
        likely = logits.topk(min(likeliest, logits.shape[1]))
        values, ids = _array(likely.values), likely.indices.cpu().numpy()
        order = np.lexsort((ids, -values))  # of equals the lower id first
        values, ids = np.take_along_axis(values, order, axis=1), np.take_along_axis(ids, order, axis=1)
        return Step(_array(logits), _array(following), values, ids, *_array(masses).T)

    @contextmanager
    def side_by_side(self) -> Iterator[Executor]:
        """See `Engine.side_by_side`; a GPU is given one thread."""
        threads = torch.get_num_threads()
        workers = threads if self.device.type == "cpu" else 1
        pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # else threads that begin later would inherit the number set last

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)


class _Recurrence:
    """A GRU of the checkpoint: its input product and its recurrence.

    Args:
        weights: by name.
        prefix: of the names.
        suffix: of the names.
        inputs: the input columns that the product takes.
    """

    def __init__(self, weights: dict[str, Tensor], prefix: str, suffix: str, inputs: slice = slice(None)) -> None:
        kinds = ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
        weight, bias, recurrent, recurrent_bias = (weights[f"{prefix}{kind}{suffix}"] for kind in kinds)
        self.inputs = RowProduct(weight[:, inputs], bias)
        self.gru = RowGRU(recurrent, recurrent_bias)


def _linear(weights: dict[str, Tensor], prefix: str) -> RowProduct:
    return RowProduct(weights[f"{prefix}weight"], weights[f"{prefix}bias"])


def _masses(logits: Tensor, sharpness: Tensor) -> Tensor:
    """(R, 2) sums of exp(logit - the largest), as they are and sharpened."""
    below = logits - logits.amax(dim=1, keepdim=True)
    return torch.stack((below.exp().sum(1), (below * sharpness[:, None]).exp_().sum(1)), dim=1)


def _array(tensor: Tensor) -> Floats:
    return tensor.cpu().numpy()
