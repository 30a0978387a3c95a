"""Naive sampling of replies, in the structure of the field's PyTorch code: one context at a time, nothing shared.

Open it when you change a network of the dialog model: these replies must stay equal to ours.

Shape legend: S samples of the context, U utterances of its window, T steps, C condition, Z latent, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from dialog_cvae.engines.base import Floats
from dialog_cvae.generate.decoding import Draw, SpecialIds
from dialog_cvae.model.cvae import CVAE, TensorBatch
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import DialogBatch


class NaiveReplies(NamedTuple):
    """The replies to one context.

    Attributes:
        tokens: (S, T), each reply up to `</s>`, if it was reached; the tokens after it mean nothing.
        logits: T of (S, V), -inf where a token may not be drawn.
    """

    tokens: Tensor
    logits: list[Tensor]


@torch.inference_mode()
def naive_replies(model: CVAE, batch: DialogBatch, noise: Floats, limit: int, special: SpecialIds) -> NaiveReplies:
    """Encode one window and decode its samples greedily, step by step, until all have ended.

    Args:
        model: on the CPU.
        batch: of one window.
        noise: (S, Z), of z from the prior.
        limit: maximum tokens of a reply, with `</s>`.
        special: ids of the tokenizer.
    """
    condition = _condition(model, TensorBatch.from_arrays(batch)).expand(len(noise), -1)
    prior = model.prior(condition)
    z = prior.mean + (0.5 * prior.logvar).exp() * torch.from_numpy(noise)
    state = model.decoder.start(torch.cat((condition, z), dim=-1))[None]
    beside = z if model.config.skip else z[:, :0]
    token = torch.full((len(noise),), Tokenizer.bos_id)
    ended = torch.zeros(len(noise), dtype=torch.bool)
    tokens: list[Tensor] = []
    steps: list[Tensor] = []
    while len(tokens) < limit and not ended.all():
        hidden, state = model.decoder.gru(torch.cat((model.embedding(token), beside), dim=-1)[:, None], state)
        logits = model.decoder.output(torch.cat((hidden[:, 0], beside), dim=-1))
        logits[:, [*special.forbidden, special.unknown, *([] if tokens else [special.end])]] = -torch.inf
        token = logits.argmax(dim=-1)
        ended |= token == special.end
        tokens.append(token)
        steps.append(logits)
    return NaiveReplies(torch.stack(tokens, dim=1), steps)


def _condition(model: CVAE, batch: TensorBatch) -> Tensor:
    """(1, C): the condition of a batch's only window, by PyTorch's own recurrent modules."""
    slots = batch.context[0]
    embedded = model.embedding(batch.tokens[slots])
    packed = pack_padded_sequence(embedded, batch.lengths[slots], batch_first=True, enforce_sorted=False)
    _, final = model.utterance_encoder.gru(packed)  # (2, U, H)
    floors = torch.stack((batch.floors[0], 1 - batch.floors[0]), dim=-1)
    by_slot, responder = [final[0], final[1], floors], []
    if model.role is not None:
        by_slot, responder = [*by_slot, model.role(batch.roles[0])], [model.role(batch.role)]
    inputs = torch.cat(by_slot, dim=-1)
    cell = model.context_encoder.cell
    state = inputs.new_zeros(1, cell.hidden_size)
    for utterance in inputs:
        state = cell(utterance[None], state)
    profiles = torch.where(batch.profiles_known > 0, batch.profiles, model.unknown_profile).flatten(1)
    return torch.cat((model.topic(batch.topic), profiles, state, *responder), dim=-1)


def differences(draws: Sequence[Draw], naive: NaiveReplies, end: int) -> list[float]:
    """For each reply that differs: the naive token's logit minus our token's, at the first different token.

    Args:
        draws: our S replies.
        naive: the same, decoded naively.
        end: the id of `</s>`.
    """
    margins = []
    for row, draw in enumerate(draws):
        ours = [*draw.tokens, *([end] if draw.length > len(draw.tokens) else [])]
        for step, (mine, other) in enumerate(zip(ours, naive.tokens[row].tolist(), strict=False)):
            if mine != other:
                margins.append(float(naive.logits[step][row, other] - naive.logits[step][row, mine]))
                break
    return margins
