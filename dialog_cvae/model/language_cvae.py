"""The conditional VAE on a pre-trained language model: one Llama with adapters encodes, recognises and generates.

Open it to change where z enters the language model, or which states the prior and the recognition network read. A
conversation is read once, without z. The state before a reply is the condition c; the states over the reply are its
vector r; prior p(z | c) and recognition network q(z | x, c) are small MLPs, the posterior counted from the prior. Then
the replies are read again with their z, which is added to the states of the `z_layers` uppermost layers and of the
softmax (z in the embeddings as in Optimus, Li et al., 2020, and in each layer as in DELLA, Hu et al., 2022), in
proportion to their size: it grows from layer to layer, and z would be lost in the upper ones. There a reply sees the
keys and values of the conversation before it, which are those without z, and itself. The layers below are the same with
and without z and are computed once. With z's maps at zero this is the language model without z.

Shape legend: B replies, R blocks, T tokens of a block, P predicted tokens of all replies, D width, Z latent,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dialog_cvae.data.turns import Blocks, EncodedTurns, collate_turns
from dialog_cvae.data.windows import Integers
from dialog_cvae.language_config import LanguageModelConfig, LlamaConfig
from dialog_cvae.model.copies import CODES, seen_by_copies, similar_lengths
from dialog_cvae.model.latent_model import Encoded, LatentModel
from dialog_cvae.model.turn_tensors import TurnTensors
from dialog_cvae.nn.cross_entropy import token_nll
from dialog_cvae.nn.decoder import Dropout
from dialog_cvae.nn.devices import moved
from dialog_cvae.nn.llama import KeysValues, Llama, Rotation, bias_of
from dialog_cvae.types import ElboTerms, Gaussian

Z_RANGE = 0.02  # deviation of z's maps at the start


class EncodedConversations(NamedTuple):
    """Conversations that were read without z: `Encoded`, and what decoding replies with z needs.

    Attributes:
        condition: (B, D) the state before each reply, within `state_limit`.
        response: (B, 2D) the mean state of each reply, and its last, likewise.
        lower: (R, T, D) states below the layers that z enters.
        seen: keys and values of each of the layers that z enters.
        states: (R, T, D) final hidden states, from which the output projection makes the logits.
        rotation: of the positions.
    """

    condition: Tensor
    response: Tensor
    lower: Tensor
    seen: tuple[KeysValues, ...]
    states: Tensor
    rotation: Rotation


class LanguageCVAE(LatentModel):
    """The model.

    Args:
        config: sizes of what is added to the backbone.
        backbone: sizes of the backbone.
        weights: the base's, in the type that it computes in.
    """

    def __init__(self, config: LanguageModelConfig, backbone: LlamaConfig, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.config = config
        self.has_plain_loss = config.latent_size > 0  # without dimensions both losses are equal
        self.plain_weight = config.plain_weight if self.has_plain_loss else 0.0
        self.lm = Llama(backbone, weights, config.rank, config.alpha)
        self.z_layers = min(config.z_layers, backbone.layers)
        width, latent, hidden = backbone.width, config.latent_size, config.hidden_size
        self.prior_network = _mlp(width, hidden, 2 * latent) if latent else None
        self.recognition_network = _mlp(3 * width, hidden, 2 * latent) if latent else None
        maps = self.z_layers + 1 if latent else 0
        self.z_maps = nn.ModuleList(nn.Linear(latent, width, bias=False) for _ in range(maps))
        self.bow_head = _mlp(width + latent, hidden, width) if config.bow else None
        self.initialise((self.z_maps,))

    def initialise(self, modules: Sequence[nn.Module]) -> None:
        """Small maps of z, so that the first updates are those of the language model; nothing else changes."""
        for parameter in (each for part in modules if part is self.z_maps for each in part.parameters()):
            nn.init.normal_(parameter, 0.0, Z_RANGE)

    def batch(self, corpus: EncodedTurns, chosen: Integers, device: torch.device | str = "cpu") -> TurnTensors:
        """The replies `chosen` (B,), on a device."""
        blocks = Blocks.of(corpus, chosen, self.config.block)
        return TurnTensors.from_arrays(collate_turns(corpus, chosen, self.config.max_context_tokens, blocks), device)

    def scoring_batch(self, corpus: EncodedTurns, chosen: Integers, device: torch.device | str = "cpu") -> TurnTensors:
        """See `LatentModel.scoring_batch`; the blocks are those of the whole conversations."""
        blocks = Blocks.aligned(corpus, chosen, self.config.block)
        return TurnTensors.from_arrays(collate_turns(corpus, chosen, self.config.max_context_tokens, blocks), device)

    def forward(self, batch: TurnTensors, noise: Tensor, *args: Any, **options: Any) -> ElboTerms:
        """See `LatentModel.forward`. Products are in the type of the backbone, whatever autocast says."""
        with torch.autocast(noise.device.type, enabled=False):
            return super().forward(batch, noise, *args, **options)

    def encode(self, batch: TurnTensors) -> EncodedConversations:
        """Read the conversations once, without z."""
        lm, count = self.lm, batch.tokens.shape[1]
        places = torch.arange(count, device=batch.tokens.device)
        rotation = lm.rotation(places[None])
        x, lower, seen = lm.embed(batch.tokens), torch.empty(0), []
        for index, layer in enumerate(lm.layers):
            if index == len(lm.layers) - self.z_layers:
                lower = x
            x, own = layer(x, rotation)
            seen.append(own)
        states = lm.normalised(x)
        condition = clamped(states[batch.block, batch.begin])
        ends = batch.begin + moved(batch.target_lengths, batch.begin.device)
        reply_states = clamped(states[batch.rows, batch.positions + 1])  # (P, D)
        mean = torch.zeros_like(condition).index_add(0, batch.replies, reply_states)
        mean = mean / moved(batch.target_lengths, mean.device)[:, None]
        response = torch.cat((mean, clamped(states[batch.block, ends])), dim=-1)
        return EncodedConversations(condition, response, lower, tuple(seen[-self.z_layers :]), states, rotation)

    def prior(self, condition: Tensor) -> Gaussian:
        """p(z | c): (B, D) -> Gaussian of (B, Z)."""
        if self.prior_network is None:
            return Gaussian(condition[:, :0], condition[:, :0])
        with torch.autocast(condition.device.type, enabled=False):
            return Gaussian(*self.prior_network(condition).chunk(2, dim=-1))

    def posterior(self, encoded: Encoded) -> Gaussian:
        """q(z | x, c): Gaussian of (B, Z); the network says how far it is from the prior."""
        prior = self.prior(encoded.condition)
        if self.recognition_network is None:
            return prior
        with torch.autocast(encoded.condition.device.type, enabled=False):
            both = torch.cat((encoded.condition, encoded.response), dim=-1)
            mean, logvar = self.recognition_network(both).chunk(2, dim=-1)
        return Gaussian(prior.mean + mean, prior.logvar + logvar)

    def reconstruction(
        self, batch: TurnTensors, encoded: EncodedConversations, z: Tensor, dropout: Dropout | None = None
    ) -> Tensor:
        """(B,) -log p(x | z, c) in nats, summed over the reply's tokens and its line break."""
        return self._nll(batch, self._states(batch, encoded, z) if self.z_maps else self._plain_states(batch, encoded))

    def reconstructions(self, batch: TurnTensors, encoded: EncodedConversations, z: Tensor, rows: int = 512) -> Tensor:
        """See `LatentModel.reconstructions`: for each code only the layers that z enters, over the reply's own tokens.

        The conversation's states, keys and values are those of `encoded`, for all codes. Replies of similar length are
        decoded together.
        """
        if not self.z_maps:
            return self._nll(batch, self._plain_states(batch, encoded))[:, None].expand(z.shape[:2])
        order = torch.argsort(batch.target_lengths, stable=True)
        found = z.new_empty(z.shape[:2])
        for first in range(0, z.shape[1], min(CODES, rows)):
            codes = z[:, first : first + min(CODES, rows)]
            for chosen in similar_lengths(order, batch.target_lengths, codes.shape[1], rows):
                there = moved(chosen, z.device)
                nll = self._decoded(batch, encoded, codes[there], chosen)
                found[there, first : first + codes.shape[1]] = nll.to(found.dtype)
        return found

    def without_z(self, batch: TurnTensors, encoded: EncodedConversations) -> Tensor | None:
        """(B,) -log p(x | c) in nats of the language model without z; None where there is no other."""
        return self._nll(batch, self._plain_states(batch, encoded)) if self.has_plain_loss else None

    def bag_of_words(self, batch: TurnTensors, encoded: EncodedConversations, z: Tensor) -> Tensor | None:
        """(B,) -log of the bag-of-words head through the embedding, summed over the same tokens; None without it."""
        if self.bow_head is None:
            return None
        state = self.bow_head(torch.cat((encoded.condition, z), dim=-1)).to(self.lm.embedding.dtype)
        log_probs = torch.log_softmax(_precise(state @ self.lm.embedding.T), dim=-1)  # (B, V)
        return self._summed(batch, -log_probs[batch.replies, batch.targets])

    def _states(self, batch: TurnTensors, encoded: EncodedConversations, z: Tensor) -> Tensor:
        """(P, D) what the softmax is taken of, with z: each reply is read again after the conversation before it."""
        lm, (rows, count) = self.lm, batch.tokens.shape
        # Only the positions from which tokens are predicted, side by side in each row: (R, S) with S the most of a row.
        size = int(batch.slots.max()) + 1
        positions = batch.positions.new_zeros(rows, size)
        replies = batch.replies.new_full((rows, size), len(batch.block))  # B where a row has fewer
        positions[batch.rows, batch.slots], replies[batch.rows, batch.slots] = batch.positions, batch.replies
        start = nn.functional.pad(batch.begin, (0, 1), value=count)[replies]
        before = torch.arange(count, device=start.device) < start[:, :, None]
        own = (replies[:, :, None] == replies[:, None, :]) & (positions[:, :, None] >= positions[:, None, :])
        bias = bias_of(torch.cat((before, own), dim=-1), lm.embedding.dtype)  # (R, S, T + S)
        rotation = encoded.rotation.at(positions)
        x = encoded.lower[torch.arange(rows, device=start.device)[:, None], positions]
        for index, layer in enumerate(lm.layers[-self.z_layers :]):
            x, _ = layer(self._with_z(x, z, index, replies), rotation, bias, encoded.seen[index])
        return lm.normalised(self._with_z(x, z, self.z_layers, replies)[batch.rows, batch.slots])

    def _with_z(self, x: Tensor, z: Tensor, index: int, replies: Tensor) -> Tensor:
        """(R, S, D) states with what z adds to them."""
        added = nn.functional.pad(self.z_maps[index](z).to(x.dtype), (0, 0, 0, 1))  # 0 where there is no reply
        return with_added(x, nn.functional.embedding(replies, added))

    def _decoded(self, batch: TurnTensors, encoded: EncodedConversations, z: Tensor, chosen: Tensor) -> Tensor:
        """(N, K) -log p(x | z, c) of the replies `chosen` (N,), on the CPU, from z (N, K, Z); L tokens in the longest.

        The K copies of a reply lie side by side in one row, and do not see each other.
        """
        device, (count, draws, _) = z.device, z.shape
        lengths, there = batch.target_lengths[chosen], moved(chosen, device)
        longest = int(lengths.max())
        steps = torch.arange(longest, device=device)
        row, begin = batch.block[there, None], batch.begin[there]
        positions = (begin[:, None] + steps).clamp_max(batch.tokens.shape[1] - 1)  # (N, L)
        bias = bias_of(seen_by_copies(begin, draws, longest), encoded.lower.dtype)
        rotation = encoded.rotation.at(positions.repeat(1, draws))
        # The upper layers, z added to their input.
        x = encoded.lower[row, positions].repeat(1, draws, 1)  # (N, K L, D)
        lm = self.lm

        def with_z(x: Tensor, index: int) -> Tensor:
            return with_added(x, self.z_maps[index](z).to(x.dtype).repeat_interleave(longest, dim=1))

        for index, layer in enumerate(lm.layers[-self.z_layers :]):
            known = KeysValues(*(each[row[:, 0], :, : int(begin.max())] for each in encoded.seen[index]))
            x, _ = layer(with_z(x, index), rotation, bias, known)
        states = lm.normalised(with_z(x, self.z_layers)).view(count, draws, longest, -1)
        # The softmax, of real tokens alone.
        real = (steps < moved(lengths, device)[:, None])[:, None].expand(-1, draws, -1)  # (N, K, L)
        targets = batch.tokens[row, (positions + 1).clamp_max(batch.tokens.shape[1] - 1)]
        nll = torch.zeros(real.shape, dtype=z.dtype, device=device)
        nll[real] = self._token_nll(states[real], targets[:, None].expand(-1, draws, -1)[real]).to(z.dtype)
        summed: Tensor = nll.sum(-1)
        return summed

    @staticmethod
    def _plain_states(batch: TurnTensors, encoded: EncodedConversations) -> Tensor:
        """(P, D) what the softmax is taken of, without z."""
        return encoded.states[batch.rows, batch.positions]

    def _nll(self, batch: TurnTensors, states: Tensor) -> Tensor:
        """(B,) from the states (P, D) before the predicted tokens."""
        return self._summed(batch, self._token_nll(states, batch.targets))

    def _token_nll(self, states: Tensor, targets: Tensor) -> Tensor:
        """(P,) from states (P, D) and targets (P,)."""
        embedding = self.lm.embedding
        zeros = torch.zeros(len(embedding), device=embedding.device)
        return token_nll(states, embedding, zeros, targets)

    @staticmethod
    def _summed(batch: TurnTensors, values: Tensor) -> Tensor:
        """(P,) -> (B,)."""
        values = _precise(values)
        return values.new_zeros(len(batch.block)).index_add(0, batch.replies, values)

    def inference_parameters(self) -> Iterator[nn.Parameter]:
        """phi: the recognition network's."""
        if self.recognition_network is not None:
            yield from self.recognition_network.parameters()

    def generation_modules(self) -> Sequence[nn.Module]:
        """theta: what z enters by, and the bag-of-words head; the language model is the encoder's too."""
        return (self.z_maps,) if self.bow_head is None else (self.z_maps, self.bow_head)


def with_added(x: Tensor, added: Tensor) -> Tensor:
    """States with what z adds, scaled by the root mean square of each state; both (..., D)."""
    size = torch.linalg.vector_norm(x, dim=-1, keepdim=True) * x.shape[-1] ** -0.5
    return torch.addcmul(x, added, size)


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))


def clamped(x: Tensor) -> Tensor:
    """States in float32, clamped to +- `state_limit`, as the latent networks read them."""
    return _precise(x).clamp(-LanguageModelConfig.state_limit, LanguageModelConfig.state_limit)


def _precise(x: Tensor) -> Tensor:
    """In single precision at least, in which losses and the latent networks are computed."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
