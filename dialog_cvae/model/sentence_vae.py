"""The sentence VAE, without a condition (Fu et al., 2019, sections 4, 6.1 and 6.3; after Kim et al., 2018).

Open it to change its encoder or decoder. z ~ N(0, I). An LSTM decodes p(x | z) word by word; z is an input at every
word and determines the first state. q(z | x) is a diagonal Gaussian, linear in the output of an encoder. Without latent
dimensions the model is a language model p(x) with an exact likelihood. As in the released code, all sentences of a
batch have the same length, so nothing is padded.

The class has the same methods as `CVAE`, with an empty condition, so that training and evaluation use the same
code for both.

Shape legend: B sentences of one length, L tokens with `<s>` and `</s>`, T = L - 1 targets, Z latent, E embedding,
D decoder LSTM, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dialog_cvae.data.sentences import Sentences
from dialog_cvae.data.windows import Integers
from dialog_cvae.model.latent_model import Encoded, LatentModel, Vectors
from dialog_cvae.model.weights import layer_inputs, skip_size
from dialog_cvae.model_config import SentenceModelConfig
from dialog_cvae.nn.cross_entropy import token_nll
from dialog_cvae.nn.decoder import Dropout
from dialog_cvae.nn.devices import moved
from dialog_cvae.nn.lstm import lstm_layers
from dialog_cvae.nn.posterior_norm import PosteriorNorm
from dialog_cvae.nn.sentence_encoders import CNNEncoder, LSTMEncoder, WordEmbedding, new_encoder
from dialog_cvae.types import Gaussian


class SentenceBatch(NamedTuple):
    """Sentences of one length.

    Attributes:
        tokens: (B, L) `<s> x_1 ... x_n </s>`.
        dropped: (B, T) true where word dropout hides an input word from the decoder; None without word dropout.
    """

    tokens: Tensor
    dropped: Tensor | None = None

    @property
    def targets(self) -> Tensor:
        """(B, T) ids of `x_1 ... x_n </s>`."""
        return self.tokens[:, 1:]

    @property
    def inputs(self) -> Tensor:
        """(B, T) ids of `<s> x_1 ... x_n`; dropped words are replaced by padding, whose embedding is zero."""
        inputs = self.tokens[:, :-1]
        return inputs if self.dropped is None else inputs.masked_fill(self.dropped, 0)

    @property
    def target_lengths(self) -> Tensor:
        """(B,) T, on the CPU."""
        return torch.full((len(self.tokens),), self.tokens.shape[1] - 1)

    def repeated(self, rows: Tensor) -> SentenceBatch:
        """The batch of the sentences `rows` (R,), which may repeat; `rows` is on the CPU."""
        there = moved(rows, self.tokens.device)
        return SentenceBatch(self.tokens[there], None if self.dropped is None else self.dropped[there])


class SentenceDecoder(nn.Module):
    """p(x | z) with teacher forcing: layers of LSTMs and a softmax over the vocabulary."""

    def __init__(self, config: SentenceModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        latent, hidden = config.latent_size, config.decoder_size
        self.layers = nn.ModuleList(nn.LSTM(inputs, hidden, batch_first=True) for inputs in layer_inputs(config))
        starts = bool(latent and config.z_to_state)
        self.start = nn.Linear(latent, config.layers * hidden) if starts else None
        softmax = hidden + skip_size(config)
        self.map = nn.Linear(softmax, config.embedding_size, bias=False) if config.tied_output else None
        self.output = None if config.tied_output else nn.Linear(softmax, vocab_size)
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if config.tied_output else None

    def reset_parameters(self) -> None:
        """Set the weights to zero that belong to no layer: the bias of the softmax."""
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def states(self, z: Tensor) -> list[Tensor]:
        """The first states of the layers, (B, D) each."""
        if self.start is None:
            return [z.new_zeros(len(z), self.config.decoder_size)] * self.config.layers
        return list(self.start(z).chunk(self.config.layers, dim=-1))

    def softmax_input(self, hidden: Tensor, embedding: WordEmbedding) -> tuple[Tensor, Tensor, Tensor]:
        """Input (..., H), weights (V, H) and bias (V,) of the softmax."""
        if self.output is not None:
            return hidden, self.output.weight, self.output.bias
        assert self.map is not None
        assert self.bias is not None
        return self.map(hidden), embedding.vectors, self.bias

    def forward(self, embedded: Tensor, z: Tensor, dropout: Dropout | None = None) -> Tensor:
        """(B, T, D), or (B, T, D + Z) with skip connections, from embedded inputs (B, T, E) and z (B, Z)."""
        config = self.config
        z_inputs = z[:, None].expand(-1, embedded.shape[1], -1)
        hidden = embedded if dropout is None else embedded * dropout.inputs
        for number, (layer, state) in enumerate(zip(self.layers, self.states(z), strict=True)):
            joined = config.skip if number else config.z_to_inputs
            hidden = torch.cat((hidden, z_inputs), dim=-1) if joined and config.latent_size else hidden
            assert isinstance(layer, nn.LSTM)
            hidden = lstm_layers(layer, hidden, state)
        hidden = hidden if dropout is None else hidden * dropout.outputs
        return torch.cat((hidden, z_inputs), dim=-1) if config.skip else hidden


class SentenceVAE(LatentModel):
    """The model. Noise and dropout are arguments, so outputs depend only on parameters and inputs.

    Args:
        config: sizes.
        vocab_size: V, with the special tokens.
    """

    def __init__(self, config: SentenceModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        size = config.embedding_size
        self.embedding = WordEmbedding(vocab_size, size, unit=config.unit_embedding, tied=config.tied_output)
        self.encoder_embedding: WordEmbedding | None = None
        self.encoder: LSTMEncoder | CNNEncoder | None = None
        self.recognition_network: nn.Linear | None = None
        self.mean_norm: PosteriorNorm | None = None
        if config.latent_size:
            if not config.shared_embedding:
                self.encoder_embedding = WordEmbedding(vocab_size, size, unit=config.unit_embedding)
            self.encoder = new_encoder(config)
            self.recognition_network = nn.Linear(self.encoder.output_size, 2 * config.latent_size)
            if config.posterior_norm:
                self.mean_norm = PosteriorNorm(config.latent_size, config.posterior_norm)
        self.decoder = SentenceDecoder(config, vocab_size)
        self.initialise((self,))

    @torch.no_grad()
    def initialise(self, modules: Sequence[nn.Module]) -> None:
        """Initialise as the released code does: U(-range, range) for all weights and biases; padding's row is zero."""
        limit = self.config.initial_range
        for parameter in (each for part in modules for each in part.parameters() if limit):
            parameter.uniform_(-limit, limit)
        for module in (each for part in modules for each in part.modules() if limit):
            if isinstance(module, nn.Embedding):
                module.weight[0] = 0.0
            if isinstance(module, PosteriorNorm):
                module.reset_parameters()

    def batch(self, corpus: Sentences, chosen: Integers, device: torch.device | str = "cpu") -> SentenceBatch:
        """Sentences of one length, on a device."""
        return SentenceBatch(moved(torch.from_numpy(corpus.rows(chosen)), device))

    def encode(self, batch: SentenceBatch) -> Encoded:
        """The sentences' vectors, and an empty condition, (B, 0)."""
        empty = self.embedding.weight.new_zeros(len(batch.tokens), 0)
        if self.encoder is None:
            return Vectors(empty, empty)
        return Vectors(empty, self.encoder((self.encoder_embedding or self.embedding)(batch.tokens)))

    def prior(self, condition: Tensor) -> Gaussian:
        """p(z) = N(0, I), for each of B sentences."""
        zeros = condition.new_zeros(len(condition), self.config.latent_size)
        return Gaussian(zeros, zeros)

    def posterior(self, encoded: Encoded) -> Gaussian:
        """q(z | x): Gaussian of (B, Z)."""
        if self.recognition_network is None:
            return self.prior(encoded.condition)
        with torch.autocast(encoded.response.device.type, enabled=False):
            mean, logvar = self.recognition_network(encoded.response.to(self.recognition_network.weight.dtype)).chunk(
                2, dim=-1
            )
        return Gaussian(mean if self.mean_norm is None else self.mean_norm(mean), logvar)

    def reconstruction(
        self, batch: SentenceBatch, encoded: Encoded, z: Tensor, dropout: Dropout | None = None
    ) -> Tensor:
        """(B,) -log p(x | z) in nats, summed over the sentence's words and `</s>`."""
        hidden = self.decoder(self.embedding(batch.inputs), z, dropout)
        rows, weight, bias = self.decoder.softmax_input(hidden.flatten(0, 1), self.embedding)
        return token_nll(rows, weight, bias, batch.targets.flatten()).view(batch.targets.shape).sum(1)

    def bag_of_words(self, batch: SentenceBatch, encoded: Encoded, z: Tensor) -> None:
        """There is no such head."""

    def inference_parameters(self) -> Iterator[nn.Parameter]:
        """phi: the weights of q(z | x), without an embedding that the decoder shares."""
        for part in (self.encoder_embedding, self.encoder, self.recognition_network, self.mean_norm):
            if part is not None:
                yield from part.parameters()

    def generation_modules(self) -> Sequence[nn.Module]:
        """theta: the decoder, with its embedding unless the encoder shares it."""
        return (self.decoder,) if self.config.shared_embedding else (self.decoder, self.embedding)
