"""A batch of replies in blocks as tensors, for the conditional VAE on a language model.

Open it to change which positions predict a token.

Shape legend: B replies, R blocks, T tokens of a block, P predicted tokens of all replies.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dialog_cvae.data.turns import TurnBatch
from dialog_cvae.nn.devices import moved


class TurnTensors(NamedTuple):
    """`TurnBatch` as tensors, with indices that follow from it.

    Attributes:
        tokens: (R, T) ids.
        block, begin: (B,) see `TurnBatch`.
        rows, positions: (P,) place of each predicted token's state, which is that of the token before it.
        replies: (P,) reply of each predicted token.
        slots: (P,) index of each predicted token among those of its row.
        target_lengths: (B,) number of tokens to predict; on the CPU.
    """

    tokens: Tensor
    block: Tensor
    begin: Tensor
    rows: Tensor
    positions: Tensor
    replies: Tensor
    slots: Tensor
    target_lengths: Tensor

    @classmethod
    def from_arrays(cls, batch: TurnBatch, device: torch.device | str = "cpu") -> TurnTensors:
        """Put a batch on a device."""
        tokens, block, begin, targets = (torch.from_numpy(array) for array in batch)
        replies = torch.repeat_interleave(torch.arange(len(targets)), targets)
        first = (targets.cumsum(0) - targets)[replies]
        positions = begin[replies] + torch.arange(len(replies)) - first
        rows = block[replies]
        in_row = torch.bincount(rows, minlength=len(tokens))
        slots = torch.arange(len(rows)) - (in_row.cumsum(0) - in_row)[rows]
        arrays = {"tokens": tokens, "block": block, "begin": begin}
        arrays |= {"rows": rows, "positions": positions, "replies": replies, "slots": slots}
        return cls(**{name: moved(each, device) for name, each in arrays.items()}, target_lengths=targets)

    @property
    def targets(self) -> Tensor:
        """(P,) the tokens to predict."""
        return self.tokens[self.rows, self.positions + 1]
