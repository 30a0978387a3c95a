"""The reference engine of dialog models: PyTorch, on CPU or GPU.

Open it when you change a network of the dialog model: the engine computes the networks itself, from the model's
weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dialog_cvae.engines.base import ROWS, Condition, Floats, Ints, Step
from dialog_cvae.engines.gru_states import GRUStates
from dialog_cvae.engines.torch_rows import RowGRU, RowProduct, by_rows
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.weights import (
    CONTEXT_ENCODER,
    DECODER,
    EMBEDDING,
    OUTPUT,
    PRIOR,
    ROLE,
    START,
    TOPIC,
    UNKNOWN_PROFILE,
    UTTERANCE_ENCODER,
    Linear,
    Recurrent,
    skip_size,
)
from dialog_cvae.nn.devices import on_device
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import DialogBatch


class TorchEngine:
    """`Engine` over a `CVAE`, with its own copy of most weights.

    It computes the encoders itself: the modules for training multiply in the shape of the batch, and rounding that
    depends on the shape may decide between two tokens that are almost equally likely.

    Args:
        model: moved to the device.
        device: such as "cpu" or "cuda".

    Raises:
        ConfigError: the device is unknown or absent.
    """

    def __init__(self, model: CVAE, device: str | torch.device = "cpu") -> None:
        model, self.device = on_device(model, device)
        weights = model.eval().state_dict()
        # Encoders and prior network.
        self._embedding, self._topic = weights[EMBEDDING], weights[TOPIC]
        self._unknown_profile = weights[UNKNOWN_PROFILE]
        self._utterances = [_GRULayer(names.of(weights)) for names in UTTERANCE_ENCODER]
        context, said = CONTEXT_ENCODER.of(weights), 2 * model.config.utterance_size
        self._context = _GRULayer(context, inputs=slice(said))
        self._floors = context.weight_ih[:, said : said + 2].T  # (2, 3K): responder, other
        self._roles: Tensor | None = weights.get(ROLE)  # (roles + 1, S)
        if self._roles is not None:
            self._from_roles = self._roles @ context.weight_ih[:, said + 2 :].T  # (roles + 1, 3K)
        self._latent = model.config.latent_size
        self._prior = [_linear(names.of(weights)) for names in PRIOR if self._latent]
        # Decoder; the columns of its weights that take z with skip connections form a product of their own.
        start, gru, output = START.of(weights), DECODER.of(weights), OUTPUT.of(weights)
        self._start = _linear(start)
        words, hidden = model.config.embedding_size, model.config.decoder_size
        self._decoder = _GRULayer(gru, inputs=slice(words))
        self._output = RowProduct(output.weight[:, :hidden], output.bias)
        self._added: RowProduct | None = None
        if skip_size(model.config):
            from_z = torch.cat((gru.weight_ih[:, words:], output.weight[:, hidden:]))  # (A, Z)
            self._added = RowProduct(from_z, from_z.new_zeros(len(from_z)))
        self.name, self.rows = f"PyTorch {torch.__version__} on {self.device}", ROWS
        self.latent_weight = _array(start.weight[:, start.weight.shape[1] - self._latent :])

    @torch.inference_mode()
    def condition(self, batch: DialogBatch) -> Condition:
        """See `Engine.condition`."""
        utterances = self._encode_utterances(self._tensor(batch.tokens), self._tensor(batch.lengths))
        from_utterance = by_rows(self._context.inputs, utterances)  # (U, 3C)

        def encode(
            slots: Tensor, lengths: Tensor, floors: Tensor, topic: Tensor, given: Tensor, known: Tensor, *role: Tensor
        ) -> Tensor:
            def gates(slot: int) -> Tensor:
                floor = torch.where(floors[:, slot, None] > 0, self._floors[0], self._floors[1])
                found = from_utterance[slots[:, slot]].add_(floor)
                return found.add_(self._from_roles[role[0][:, slot]]) if role else found

            profiles = torch.where(known > 0, given, self._unknown_profile).flatten(1)
            responder = () if self._roles is None else (self._roles[role[1]],)
            context = self._context.gru.last(gates, lengths)
            vector = torch.cat((self._topic[topic], profiles, context, *responder), dim=-1)
            return torch.cat((vector, *self._prior_of(vector)), dim=-1)

        fields: tuple[NDArray[Any], ...] = (batch.context, batch.context_lengths, batch.floors, batch.topic)
        fields += (batch.profiles, batch.profiles_known)
        if self._roles is not None:
            fields += (batch.roles, batch.role)
        encoded = _array(by_rows(encode, *map(self._tensor, fields)))  # (B, C + 2Z)
        size = encoded.shape[1] - 2 * self._latent
        vectors, mean, logvar = np.split(encoded, [size, size + self._latent], axis=1)
        return Condition(list(vectors), mean, logvar)

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
    def start(self, contexts: Sequence[Floats], z: Floats) -> tuple[Ints, GRUStates]:
        """See `Engine.start`."""
        latent = self._tensor(z)
        state = _array(by_rows(self._start, torch.cat((self._tensor(np.stack(contexts)), latent), dim=-1)))
        added = np.zeros((len(z), 0), np.float32) if self._added is None else _array(by_rows(self._added, latent))
        return np.full(len(z), Tokenizer.bos_id), GRUStates(state, added)

    @torch.inference_mode()
    def step(self, tokens: Ints, states: GRUStates, inverse_temperature: Floats, likeliest: int) -> Step:
        """See `Engine.step`."""

        def next_state(tokens: Tensor, state: Tensor, *to_gates: Tensor) -> Tensor:
            gates = self._decoder.inputs(self._embedding[tokens])
            for each in to_gates:
                gates += each
            return self._decoder.gru.step(gates, state)

        parts: tuple[Tensor, ...] = ()  # what z adds to the gates and to the logits
        if self._added is not None:
            words = self._output.outputs
            parts = torch.split(self._tensor(states.added), [states.added.shape[1] - words, words], dim=1)
        following = by_rows(next_state, self._tensor(tokens), self._tensor(states.state), *parts[:1])
        logits = by_rows(self._output, following)
        for each in parts[1:]:
            logits += each
        masses = by_rows(_masses, logits, self._tensor(inverse_temperature))
        likely = logits.topk(min(likeliest, logits.shape[1]))
        values, ids = _array(likely.values), likely.indices.cpu().numpy()
        order = np.lexsort((ids, -values))  # the lower id first if values are equal
        values, ids = np.take_along_axis(values, order, axis=1), np.take_along_axis(ids, order, axis=1)
        following_states = states._replace(state=_array(following))
        return Step(_array(logits), following_states, values, ids, *_array(masses).T)

    @contextmanager
    def side_by_side(self) -> Iterator[Executor]:
        """See `Engine.side_by_side`; a GPU gets one thread."""
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


class _GRULayer:
    """A GRU of the checkpoint: the product with its inputs, and its recurrence.

    Args:
        weights: of one direction.
        inputs: the input columns that the product takes.
    """

    def __init__(self, weights: Recurrent[Tensor], inputs: slice = slice(None)) -> None:
        self.inputs = RowProduct(weights.weight_ih[:, inputs], weights.bias_ih)
        self.gru = RowGRU(weights.weight_hh, weights.bias_hh)


def _linear(weights: Linear[Tensor]) -> RowProduct:
    return RowProduct(weights.weight, weights.bias)


def _masses(logits: Tensor, inverse_temperature: Tensor) -> Tensor:
    """(R, 2) sums of exp(logit - the largest), as they are and sharpened."""
    below = logits - logits.amax(dim=1, keepdim=True)
    return torch.stack((below.exp().sum(1), (below * inverse_temperature[:, None]).exp_().sum(1)), dim=1)


def _array(tensor: Tensor) -> Floats:
    return tensor.cpu().numpy()
