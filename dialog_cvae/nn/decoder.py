"""The response decoder: a GRU language model that starts from [condition; z].

With skip connections (Dieng et al., 2018, "Avoiding Latent Variable Collapse with Generative Skip Models") z also
stands beside each of its inputs, and beside its state where the softmax is taken.

Shape legend: B windows, T target tokens of a response with `</s>`, N = sum of T over the batch,
E embedding, D decoder GRU, Z latent, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from dialog_cvae.nn.cross_entropy import token_nll
from dialog_cvae.nn.gru import Packing, fused, gru
from dialog_cvae.nn.matmul import pad_rows


class Dropout(NamedTuple):
    """What dropout multiplies by: 0 with probability p, else 1 / (1 - p), so that expectations stay as they are.

    Attributes:
        inputs: (B, T, E) for the decoder's embedded inputs.
        outputs: (B, T, D) for its states, before the projection to the vocabulary.
    """

    inputs: Tensor
    outputs: Tensor


class TokenLoss(NamedTuple):
    """Negative log likelihood of real tokens only.

    Attributes:
        nll: (N,) nats.
        example: (N,) the window each token belongs to.
    """

    nll: Tensor
    example: Tensor

    def per_example(self, size: int) -> Tensor:
        """(B,) sums over each window's tokens."""
        return self.nll.new_zeros(size).index_add(0, self.example, self.nll)


class Decoder(nn.Module):
    """p(x | z, c) by teacher forcing over whole batches; engines take the steps of decoding from its parameters.

    Args:
        embedding_size: E.
        hidden_size: D.
        start_size: of [condition; z].
        vocab_size: V.
        beside: dimensions of what stands beside inputs and states: Z with skip connections, else 0.
    """

    def __init__(
        self, embedding_size: int, hidden_size: int, start_size: int, vocab_size: int, beside: int = 0
    ) -> None:
        super().__init__()
        self.start = nn.Linear(start_size, hidden_size)
        self.gru = nn.GRU(embedding_size + beside, hidden_size, batch_first=True)
        self.output = nn.Linear(hidden_size + beside, vocab_size)

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
        beside: Tensor | None = None,
    ) -> TokenLoss:
        """Likelihood of given responses; the projection to the vocabulary runs on real tokens only.

        Args:
            embedded: (B, T, E) embedded inputs `<s> x_1 ... x_n`.
            targets: (B, T) ids of `x_1 ... x_n </s>`, then anything.
            lengths: (B,) real targets, on the CPU, at least 1.
            state: (B, D).
            dropout: multipliers, in training.
            beside: (B, Z), z where the decoder has skip connections.
        """
        if dropout is not None:
            embedded = embedded * dropout.inputs
        if beside is not None:
            embedded = torch.cat((embedded, beside[:, None].expand(-1, embedded.shape[1], -1)), dim=-1)
        packing = Packing.of(lengths).to(targets.device)
        tokens = packing.sequence, packing.position
        if fused(embedded.device):
            packed = pack_padded_sequence(embedded[packing.order], lengths.sort(descending=True)[0], True)
            hidden = self.gru(packed, state[packing.order][None])[0].data
        else:
            ((weight_in, weight, bias_in, bias),) = self.gru.all_weights
            gates = nn.functional.linear(pad_rows(embedded[tokens]), weight_in, bias_in)[: len(packing.sequence)]
            first = state[packing.order]
            hidden = gru(gates[None], weight[None], bias[None], packing.sizes, first[None])[0]
        if dropout is not None:
            hidden = hidden * dropout.outputs[tokens]
        if beside is not None:
            hidden = torch.cat((hidden, beside[packing.sequence]), dim=-1)
        nll = token_nll(hidden, self.output.weight, self.output.bias, targets[tokens])
        return TokenLoss(nll, packing.sequence)
