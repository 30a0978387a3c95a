"""Utterance and context encoders.

Open it to change how utterances and contexts become vectors, or which products a batch computes only once.

Shape legend: U utterances, L tokens, E embedding, H utterance GRU per direction, B windows, K context slots,
C context GRU. The recurrence is PyTorch's GRU, which applies the reset gate after the recurrent product; the official
code's, TensorFlow 1's, applies it before. Both have the same size and cost.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import pack_padded_sequence

from dialog_cvae.nn.gru import Packing, gru, use_torch_gru
from dialog_cvae.nn.matmul import padded_rows


class UtteranceEncoder(nn.Module):
    """Bidirectional GRU; the vector of an utterance is its two final states, concatenated."""

    def __init__(self, embedding_size: int, hidden_size: int) -> None:
        super().__init__()
        self.gru = nn.GRU(embedding_size, hidden_size, batch_first=True, bidirectional=True)

    def forward(self, embedding: nn.Embedding, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Encode each utterance once.

        Args:
            embedding: (V, E), word embeddings.
            tokens: (U, L) ids, padded.
            lengths: (U,) numbers of tokens, on the CPU.

        Returns:
            (U, 2H).
        """
        packing = Packing.of(lengths).to(tokens.device)
        final: Tensor  # (2, U, H)
        if use_torch_gru(tokens.device):
            packed = pack_padded_sequence(embedding(tokens[packing.order]), lengths.sort(descending=True)[0], True)
            final = self.gru(packed)[1][:, packing.rank]
        else:
            final = self._by_distinct_words(embedding, tokens, packing)
        return final.transpose(0, 1).flatten(1)

    def _by_distinct_words(self, embedding: nn.Embedding, tokens: Tensor, packing: Packing) -> Tensor:
        """(2, U, H), with each input product computed once per distinct word of the batch."""
        places = (packing.position, packing.mirrored)  # forward and backward direction
        words, index = torch.unique(tokens, return_inverse=True)
        vectors = embedding(nn.functional.pad(words, (0, padded_rows(len(words)) - len(words))))
        gates = []
        for (weight_in, _, bias_in, _), position in zip(self.gru.all_weights, places, strict=True):
            by_word = linear(vectors, weight_in, bias_in).to(bias_in.dtype)  # sums the gradients of repeated words
            gates.append(nn.functional.embedding(index[packing.sequence, position], by_word))
        _, weight, _, bias = (torch.stack(parameters) for parameters in zip(*self.gru.all_weights, strict=True))
        return gru(torch.stack(gates), weight, bias, packing.sizes)[:, packing.last]


class ContextEncoder(nn.Module):
    """GRU over a window's utterance vectors, each with a one-hot floor (responder, other), and its speaker's role.

    Windows share utterances, so the product of input weights and an utterance vector is computed once per utterance
    and floor, and that with a role's vector once per role.
    """

    def __init__(self, utterance_size: int, hidden_size: int, role_size: int = 0) -> None:
        super().__init__()
        self.cell = nn.GRUCell(utterance_size + 2 + role_size, hidden_size)

    def forward(
        self,
        utterances: Tensor,
        context: Tensor,
        lengths: Tensor,
        floors: Tensor,
        roles: Tensor | None = None,
        role_vectors: Tensor | None = None,
    ) -> Tensor:
        """Encode every window from the utterances to which it refers.

        Args:
            utterances: (U, 2H) vectors.
            context: (B, K) rows of `utterances`, oldest first.
            lengths: (B,) numbers of used slots, at least 1, on the CPU.
            floors: (B, K), 1 if the responder speaks.
            roles: (B, K) rows of `role_vectors`; None without roles.
            role_vectors: (R, S), one for each role.

        Returns:
            (B, C), the state after each window's last used slot.
        """
        cell, packing, size = self.cell, Packing.of(lengths).to(context.device), utterances.shape[1]
        from_utterance = linear(utterances, cell.weight_ih[:, :size], cell.bias_ih).to(cell.bias_ih.dtype)  # (U, 3C)
        from_floor = cell.weight_ih[:, size : size + 2].flip(1).t()  # (2, 3C): other, responder
        inputs = (from_utterance[:, None] + from_floor).flatten(0, 1)  # (2U, 3C)
        slots = (2 * context + floors.to(context.dtype))[packing.sequence, packing.position]
        gates = nn.functional.embedding(slots, inputs)
        if roles is not None and role_vectors is not None:
            from_role = linear(role_vectors, cell.weight_ih[:, size + 2 :]).to(gates.dtype)  # (R, 3C)
            gates = gates + nn.functional.embedding(roles[packing.sequence, packing.position], from_role)
        return gru(gates[None], cell.weight_hh[None], cell.bias_hh[None], packing.sizes)[0, packing.last]
