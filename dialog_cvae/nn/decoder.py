"""The response decoder: a GRU language model whose initial state is a function of [condition; z].

Open it to change how the loss of a reply is computed in training, or where z enters the decoder. With skip connections
(Dieng et al., 2018, "Avoiding Latent Variable Collapse with Generative Skip Models") z is also concatenated to each
input, and to each state before the softmax.

Shape legend: B windows, T target tokens of a response with `</s>`, N = sum of T over the batch,
E embedding, D decoder GRU, Z latent, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from dialog_cvae.nn.cross_entropy import token_nll
from dialog_cvae.nn.gru import Packing, gru, use_torch_gru
from dialog_cvae.nn.matmul import pad_rows


class Dropout(NamedTuple):
    """Factors of dropout: 0 with probability p, else 1 / (1 - p), which keeps expectations unchanged.

    Attributes:
        inputs: (B, T, E) for the decoder's embedded inputs.
        outputs: (B, T, D) for its states, before the projection to the vocabulary.
    """

    inputs: Tensor
    outputs: Tensor


class TokenLoss(NamedTuple):
    """Negative log likelihood of each token, without padding.

    Attributes:
        nll: (N,) nats.
        example: (N,) index of the window to which each token belongs.
    """

    nll: Tensor
    example: Tensor

    def per_example(self, size: int) -> Tensor:
        """(B,) sums over each window's tokens."""
        return self.nll.new_zeros(size).index_add(0, self.example, self.nll)


class Decoder(nn.Module):
    """p(x | z, c) with teacher forcing; the engines use the same parameters to decode step by step.

    Args:
        embedding_size: E.
        hidden_size: D.
        start_size: size of [condition; z].
        vocab_size: V.
        skip_size: dimensions concatenated to inputs and states: Z with skip connections, else 0.
    """

    def __init__(
        self, embedding_size: int, hidden_size: int, start_size: int, vocab_size: int, skip_size: int = 0
    ) -> None:
        super().__init__()
        self.start = nn.Linear(start_size, hidden_size)
        self.gru = nn.GRU(embedding_size + skip_size, hidden_size, batch_first=True)
        self.output = nn.Linear(hidden_size + skip_size, vocab_size)

    def initial_state(self, condition: Tensor, z: Tensor) -> Tensor:
        """(B, D) from the condition (B, *) and the latent code (B, Z)."""
        return self.start(torch.cat((condition, z), dim=-1))  # type: ignore[no-any-return]

    def teacher_forced(
        self,
        embedded: Tensor,
        targets: Tensor,
        lengths: Tensor,
        state: Tensor,
        dropout: Dropout | None = None,
        skip: Tensor | None = None,
    ) -> TokenLoss:
        """Loss of given responses; padding is not projected to the vocabulary.

        Args:
            embedded: (B, T, E) embedded inputs `<s> x_1 ... x_n`.
            targets: (B, T) ids of `x_1 ... x_n </s>`; the rest is ignored.
            lengths: (B,) numbers of targets, at least 1, on the CPU.
            state: (B, D).
            dropout: its factors, in training.
            skip: (B, Z), z if the decoder has skip connections.
        """
        if dropout is not None:
            embedded = embedded * dropout.inputs
        if skip is not None:
            embedded = torch.cat((embedded, skip[:, None].expand(-1, embedded.shape[1], -1)), dim=-1)
        packing = Packing.of(lengths).to(targets.device)
        tokens = packing.sequence, packing.position
        if use_torch_gru(embedded.device):
            packed = pack_padded_sequence(embedded[packing.order], lengths.sort(descending=True)[0], True)
            hidden = self.gru(packed, state[packing.order][None])[0].data
        else:
            ((weight_in, weight, bias_in, bias),) = self.gru.all_weights
            gates = nn.functional.linear(pad_rows(embedded[tokens]), weight_in, bias_in)[: len(packing.sequence)]
            first = state[packing.order]
            hidden = gru(gates[None], weight[None], bias[None], packing.sizes, first[None])[0]
        if dropout is not None:
            hidden = hidden * dropout.outputs[tokens]
        if skip is not None:
            hidden = torch.cat((hidden, skip[packing.sequence]), dim=-1)
        nll = token_nll(hidden, self.output.weight, self.output.bias, targets[tokens])
        return TokenLoss(nll, packing.sequence)
