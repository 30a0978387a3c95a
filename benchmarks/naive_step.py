"""A naive training step, in the structure of the field's PyTorch code: slower than ours, with the same result.

Open it when you change the dialog model's loss: the training benchmark fails if the two losses differ. The context
utterances of each window are encoded separately, and the decoder's states are projected to the vocabulary at padded
positions too, as in the published code of Zhao et al. (2017) and its ports. The parameters are those of a `CVAE`, so
that the terms can be compared number by number.

Shape legend: B windows, K context slots, L tokens of the longest utterance, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dialog_cvae.model.cvae import CVAE, TensorBatch
from dialog_cvae.model.latent_model import Vectors
from dialog_cvae.nn import distributions
from dialog_cvae.types import ElboTerms
from training.batch import MicroBatch


class NaiveModel(nn.Module):
    """A model with the parameters of a `CVAE` and the naive forward pass."""

    has_plain_loss, plain_weight = False, 0.0  # no loss without z; see `LatentModel`

    def __init__(self, model: CVAE) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, batch: TensorBatch, noise: Tensor) -> ElboTerms:
        """See `naive_terms`."""
        return naive_terms(self.model, batch, noise)


def loss_difference(model: CVAE, naive: nn.Module, part: MicroBatch) -> float:
    """The largest difference between the two losses on the same windows and noise, relative to ours."""
    with torch.no_grad():
        ours, theirs = model(part.windows, part.noise), naive(part.windows, part.noise)
    largest = 0.0
    for mine, other in zip(ours, theirs, strict=True):
        if mine is not None:
            largest = max(largest, float((mine - other).abs().max() / mine.abs().max().clamp_min(1)))
    return largest


def naive_terms(model: CVAE, batch: TensorBatch, noise: Tensor) -> ElboTerms:
    """What `CVAE.forward` computes, window by window.

    Args:
        model: its parameters are used.
        batch: windows.
        noise: (B, Z).
    """
    windows, slots = batch.context.shape
    used = torch.arange(slots) < batch.context_lengths[:, None]  # (B, K)
    rows = torch.where(used, batch.context, batch.response[:, None]).flatten()  # any row will do in unused slots
    vectors = _encode(model, batch, rows).view(windows, slots, -1)
    floors = torch.stack((batch.floors, 1 - batch.floors), dim=-1)
    by_slot, responder = [vectors, floors], []
    if model.role is not None:
        by_slot, responder = [*by_slot, model.role(batch.roles)], [model.role(batch.role)]
    inputs = torch.cat(by_slot, dim=-1)
    state = vectors.new_zeros(windows, model.context_encoder.cell.hidden_size)
    for slot in range(slots):
        state = torch.where(used[:, slot, None], model.context_encoder.cell(inputs[:, slot], state), state)
    profiles = torch.where(batch.profiles_known > 0, batch.profiles, model.unknown_profile).flatten(1)
    condition = torch.cat((model.topic(batch.topic), profiles, state, *responder), dim=-1)
    posterior = model.posterior(Vectors(condition, _encode(model, batch, batch.response)))
    prior = model.prior(condition)
    z = distributions.sample(posterior, noise)

    targets, lengths = batch.targets, batch.target_lengths
    real = torch.arange(targets.shape[1]) < lengths[:, None]
    inputs = model.embedding(batch.tokens[batch.response, : targets.shape[1]])
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    hidden, _ = model.decoder.gru(packed, model.decoder.initial_state(condition, z)[None])
    logits = model.decoder.output(pad_packed_sequence(hidden, batch_first=True)[0])  # (B, T, V), padding included
    losses = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
    bag_of_words = None
    if model.bow_head is not None:
        scores = model.bow_head(torch.cat((condition, z), dim=-1))[:, None].expand(-1, targets.shape[1], -1)
        bag = nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
        bag_of_words = (bag * real).sum(1)
    kl = distributions.kl(posterior, prior).sum(-1)
    return ElboTerms((losses * real).sum(1), kl, bag_of_words, lengths)


def _encode(model: CVAE, batch: TensorBatch, rows: Tensor) -> Tensor:
    """(rows, 2H) vectors of the utterances `rows` of the batch, encoded once for each time it occurs in `rows`."""
    embedded = model.embedding(batch.tokens[rows])
    packed = pack_padded_sequence(embedded, batch.lengths[rows], batch_first=True, enforce_sorted=False)
    _, final = model.utterance_encoder.gru(packed)
    return torch.cat((final[0], final[1]), dim=-1)
