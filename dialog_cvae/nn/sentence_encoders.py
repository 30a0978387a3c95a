"""Sentence encoders: from words to word vectors, and from these to one vector.

Open it to add an encoder to the sentence VAE (`new_encoder`), or to change its word vectors.

Shape legend: B sentences, L tokens with `<s>` and `</s>`, E embedding, H output of an encoder, V vocabulary,
K width of a filter, W width that sentences are padded to.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, normalize, pad

from dialog_cvae.model_config import FILTER_STRIDE, SentenceModelConfig
from dialog_cvae.nn.lstm import lstm_layers


class WordEmbedding(nn.Embedding):
    """Word vectors, optionally scaled to length 1 as in the released Yelp code. The vector of padding is zero.

    Args:
        vocab_size: V.
        size: E.
        unit: whether they are scaled.
        tied: whether they are also the weights of a softmax, whose gradient would change padding's vector.
    """

    def __init__(self, vocab_size: int, size: int, *, unit: bool, tied: bool = False) -> None:
        super().__init__(vocab_size, size, padding_idx=0)
        self.unit, self.tied = unit, tied

    @property
    def vectors(self) -> Tensor:
        """(V, E), for looking up words or as weights of the softmax."""
        if not (self.unit or self.tied):
            return self.weight
        words = self.weight[1:]
        return pad(normalize(words, dim=1) if self.unit else words, (0, 0, 1, 0))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """(...) ids -> (..., E)."""
        return embedding(input, self.vectors, padding_idx=0)


class LSTMEncoder(nn.Module):
    """The final state of the last layer of an LSTM, as in the released code."""

    def __init__(self, embedding_size: int, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(embedding_size, hidden_size, layers, batch_first=True)
        self.output_size = hidden_size

    def forward(self, embedded: Tensor) -> Tensor:
        """(B, L, E) -> (B, H)."""
        return lstm_layers(self.lstm, embedded)[:, -1]


class CNNEncoder(nn.Module):
    """Three convolutions over time, as in the code that Fu et al. (2019) released for Yelp.

    F filters of width K and stride 2 with a ReLU, 2F filters of width K and stride 2 with a ReLU, and 3F filters over
    all remaining positions with a tanh. `<s>` is left out. Every sentence is padded to one width W, with K - 1 zero
    vectors before it and at least K after it (W is 25 for K = 5 and at most 17 tokens, as in the released code), so
    its vector does not depend on the other sentences of the batch. The released code pads with a word whose vector is
    learnt, and initialises all first filters equally.

    Args:
        config: E, F, K and the maximum number of tokens.
    """

    def __init__(self, config: SentenceModelConfig) -> None:
        super().__init__()
        size, filters, kernel = config.embedding_size, config.filters, config.filter_width
        self.margin, self.width = kernel - 1, config.padded_width
        self.first = nn.Conv1d(size, filters, kernel, FILTER_STRIDE)
        self.second = nn.Conv1d(filters, 2 * filters, kernel, FILTER_STRIDE)
        self.third = nn.Conv1d(2 * filters, 3 * filters, config.last_filter_width)
        self.output_size = 3 * filters

    def forward(self, embedded: Tensor) -> Tensor:
        """(B, L, E) -> (B, 3F)."""
        words = embedded[:, 1:]
        padded = pad(words, (0, 0, self.margin, self.width - self.margin - words.shape[1])).transpose(1, 2)  # (B, E, W)
        hidden = torch.relu(self.second(torch.relu(self.first(padded))))
        return torch.tanh(self.third(hidden)).squeeze(2)


def new_encoder(config: SentenceModelConfig) -> LSTMEncoder | CNNEncoder:
    """The encoder that a configuration asks for."""
    if config.encoder == "cnn":
        return CNNEncoder(config)
    return LSTMEncoder(config.embedding_size, config.encoder_size, config.layers)
