"""Utterance and context encoders.

Shape legend: U utterances, L tokens, E embedding, H utterance GRU per direction, B windows, K context slots,
C context GRU. The recurrence is PyTorch's GRU, which applies the reset gate after the recurrent product; TensorFlow
1's, used by the official code, applies it before. Both have the same size and cost.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence


class UtteranceEncoder(nn.Module):
    """Bidirectional GRU; an utterance's vector is its two final states side by side."""

    def __init__(self, embedding_size: int, hidden_size: int) -> None:
        super().__init__()
        self.gru = nn.GRU(embedding_size, hidden_size, batch_first=True, bidirectional=True)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Encode each utterance once.

        Args:
            embedded: (U, L, E).
            lengths: (U,) tokens of each, on the CPU.

        Returns:
            (U, 2H).
        """
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        _, final = self.gru(packed)  # (2, U, H)
        return torch.cat((final[0], final[1]), dim=-1)


class ContextEncoder(nn.Module):
    """GRU over a window's utterance vectors, each with a one-hot floor (responder, other).

    Windows share utterances, so the product of input weights and utterance vectors is taken once per utterance, and
    the floor's part, one of two vectors, is added per slot.
    """

    def __init__(self, utterance_size: int, hidden_size: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(utterance_size + 2, hidden_size)

    def forward(self, utterances: Tensor, context: Tensor, lengths: Tensor, floors: Tensor) -> Tensor:
        """Encode every window from the utterances it points to.

        Args:
            utterances: (U, 2H) vectors.
            context: (B, K) rows of `utterances`, oldest first.
            lengths: (B,) used slots.
            floors: (B, K), 1 where the responder speaks.

        Returns:
            (B, C), the state after each window's last used slot.
        """
        cell = self.cell
        weight_utterance, weight_floor = cell.weight_ih[:, :-2], cell.weight_ih[:, -2:]
        from_utterance = nn.functional.linear(utterances, weight_utterance, cell.bias_ih)  # (U, 3C)
        responder, other = weight_floor.unbind(dim=1)  # (3C,) each
        state = utterances.new_zeros(context.shape[0], cell.hidden_size)
        for slot in range(context.shape[1]):
            floor = floors[:, slot, None]
            inputs = from_utterance[context[:, slot]] + torch.lerp(other, responder, floor)  # (B, 3C)
            used = (slot < lengths)[:, None]
            state = torch.where(used, self._step(inputs, state), state)
        return state

    def _step(self, inputs: Tensor, state: Tensor) -> Tensor:
        """One GRU step from input gates (B, 3C) and state (B, C); gate order reset, update, new."""
        recurrent = nn.functional.linear(state, self.cell.weight_hh, self.cell.bias_hh)
        reset_in, update_in, new_in = inputs.chunk(3, dim=-1)
        reset_state, update_state, new_state = recurrent.chunk(3, dim=-1)
        update = torch.sigmoid(update_in + update_state)
        new = torch.tanh(new_in + torch.sigmoid(reset_in + reset_state) * new_state)
        return torch.lerp(new, state, update)
