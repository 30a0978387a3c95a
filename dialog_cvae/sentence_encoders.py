"""Encoders of sentences: from embedded words to one vector.

Shape legend: B sentences, L tokens with `<s>` and `</s>`, E embedding, H what an encoder returns.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn


class SentenceEncoder(Protocol):
    """An encoder; `output_size` is H."""

    output_size: int

    def __call__(self, embedded: Tensor) -> Tensor:
        """(B, L, E) -> (B, H)."""
        ...


class LSTMEncoder(nn.Module):
    """The last state of the last layer of an LSTM over the whole sentence, as in the released code."""

    def __init__(self, embedding_size: int, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(embedding_size, hidden_size, layers, batch_first=True)
        self.output_size = hidden_size

    def forward(self, embedded: Tensor) -> Tensor:
        """(B, L, E) -> (B, H)."""
        last: Tensor = self.lstm(embedded)[1][0][-1]
        return last
