"""Matrix products and GRUs of a fixed number of rows, each independent of the other rows.

Open it if a reply depends on the other replies of its batch, or to make the PyTorch engine faster. A matrix product's
rounding depends on its shape, and vectorised functions may treat the end of an array apart. Everything here is
therefore computed for `ROWS` rows at a time, the last ones filled up: a row's result is the same whatever other rows
the batch has. Products run in oneDNN, with weights laid out for it once: on a CPU that is three to four times as fast
at 16 rows as PyTorch's own product, which uses MKL, and a row's place and the number of threads change nothing either.

Shape legend: R = ROWS rows, I inputs, O outputs, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dialog_cvae.engines.base import ROWS
from dialog_cvae.nn.matmul import packed_linear


def by_rows(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Apply a function of `ROWS` rows to any number of rows.

    Args:
        function: from tensors (R, ...) to a tensor (R, ...), row by row.
        inputs: (N, ...) each, N at least 1.

    Returns:
        (N, ...).
    """
    count = len(inputs[0])
    missing = -count % ROWS
    if missing:
        inputs = tuple(torch.cat((x, x.new_zeros(missing, *x.shape[1:]))) for x in inputs)
    results = [function(*block) for block in zip(*(torch.split(x, ROWS) for x in inputs), strict=True)]
    return (results[0] if len(results) == 1 else torch.cat(results))[:count]


class RowProduct:
    """x W^T + b of `ROWS` rows.

    Args:
        weight: (O, I), copied to another layout on a CPU, so later changes have no effect.
        bias: (O,), kept.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.outputs = len(weight)
        self._apply = packed_linear(weight.detach(), bias.detach())

    def __call__(self, rows: Tensor) -> Tensor:
        """(R, I) -> (R, O), an array of its own."""
        return self._apply(rows)


class RowGRU:
    """PyTorch's GRU for `ROWS` rows, its input products being given.

    Args:
        weight: (3H, H) recurrent weights, in the order reset, update, new.
        bias: (3H,) recurrent biases.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.hidden = weight.shape[1]
        self._product = RowProduct(weight, bias)

    def step(self, gates: Tensor, state: Tensor) -> Tensor:
        """One step: h' = n + z (h - n), with r, z = sigmoid(x + W h + b) and n = tanh(x + r (W h + b)).

        Slices of the gates are worked on in place: they lie apart in memory, so that each row is a loop of its own.

        Args:
            gates: (R, 3H) input products x with their bias; overwritten.
            state: (R, H).

        Returns:
            (R, H), the next state.
        """
        hidden = self.hidden
        recurrent = self._product(state)
        sigmoid, new = gates[:, : 2 * hidden], gates[:, 2 * hidden :]
        sigmoid.add_(recurrent[:, : 2 * hidden]).sigmoid_()
        new.addcmul_(sigmoid[:, :hidden], recurrent[:, 2 * hidden :]).tanh_()
        return torch.lerp(new, state, sigmoid[:, hidden:])

    def last(self, gates: Callable[[int], Tensor], lengths: Tensor) -> Tensor:
        """The state after each row's last step, (R, H), from zeros.

        Args:
            gates: from a step's number to (R, 3H) as in `step`; rows that have ended may hold anything finite.
            lengths: (R,) steps of each row.
        """
        state = torch.zeros(len(lengths), self.hidden, device=lengths.device)
        for step in range(int(lengths.max())):
            state = torch.where((step < lengths)[:, None], self.step(gates(step), state), state)
        return state
