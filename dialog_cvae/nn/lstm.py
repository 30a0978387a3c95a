"""An LSTM over packed sequences that can be differentiated twice, on every device.

Open it to change the LSTM's forward pass, or when PyTorch's own LSTM is used instead. cuDNN's LSTM has no second
derivative, and PyTorch's own on a CPU computes it operation by operation. Here forward pass, gradient and second
derivative are all hand-written. Each is one loop over the steps whose only matrix product is the recurrent one; the
loops' factors are computed for all tokens at once, and each gradient of the weight is one product at the end. For a
first derivative alone PyTorch's own LSTM is faster (`lstm_layers`).

With i, f, o = sigmoid(a) and g = tanh(a) for a_t = x_t + W h_{t-1}: c_t = f c_{t-1} + i g, m_t = tanh(c_t),
h_t = o m_t. Gates have PyTorch's order, i, f, g, o. Autocast affects the products only, as in `gru`.

Shape legend: N tokens of all sequences, n_t sequences longer than t, H hidden units.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dialog_cvae.nn.gru import needs_second_derivative
from dialog_cvae.nn.lstm_gradient import Gradient, previous_step, split_gates, steps, tanh
from dialog_cvae.nn.matmul import matmul_dtype, needs_gradient, packed_linear, rows_to_multiply


def lstm(
    gates: Tensor,
    weight: Tensor,
    sizes: tuple[int, ...],
    hidden: Tensor | None = None,
    cell: Tensor | None = None,
) -> Tensor:
    """States of an LSTM from its input products.

    Args:
        gates: (N, 4H) input products with both biases, packed by time as `gru.Packing` does.
        weight: (4H, H) recurrent weights.
        sizes: n_t for each step, descending.
        hidden: (n_0, H) first states, longest sequence first; zeros if None.
        cell: (n_0, H) first cells; zeros if None.

    Returns:
        (N, H), packed. Can be differentiated twice.
    """
    states: Tensor = _LSTM.apply(gates, weight, hidden, cell, sizes, matmul_dtype(weight))[0]  # type: ignore[no-untyped-call]
    return states


def lstm_layers(module: nn.LSTM, inputs: Tensor, hidden: Tensor | None = None) -> Tensor:
    """States of the last layer of a module over sequences of one length, from zero cells.

    PyTorch's LSTM computes them, except within `gru.differentiable_twice` and in half precision on a CPU.

    Args:
        module: of one direction, batch first.
        inputs: (B, T, I).
        hidden: (B, H) first states of a module of one layer; zeros if None.

    Returns:
        (B, T, H).
    """
    halved = inputs.device.type == "cpu" and torch.is_autocast_enabled("cpu")  # PyTorch's LSTM may lack it
    if not (halved or needs_second_derivative()):
        states: Tensor = module(inputs, None if hidden is None else (hidden[None], torch.zeros_like(hidden)[None]))[0]
        return states
    batch, length = inputs.shape[:2]
    by_time = inputs.transpose(0, 1).flatten(0, 1)  # (T B, I)
    for weight_in, weight, bias_in, bias in module.all_weights:
        gates = nn.functional.linear(by_time, weight_in, bias_in + bias)
        by_time = lstm(gates, weight, (batch,) * length, hidden)
    return by_time.view(length, batch, -1).transpose(0, 1)


class _LSTM(torch.autograd.Function):
    """States from input products; gates and cells are outputs too, because the gradient depends on them."""

    @staticmethod
    def forward(
        ctx: Any,
        gates: Tensor,
        weight: Tensor,
        hidden: Tensor | None,
        cell: Tensor | None,
        sizes: tuple[int, ...],
        kind: torch.dtype,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        size = weight.shape[1]
        double = torch.ones(4, 1, dtype=weight.dtype, device=weight.device)
        double[2] = 2.0  # tanh(x) = 2 sigmoid(2x) - 1: one kernel for all gates, and faster than tanh's
        active = (split_gates(gates.to(weight.dtype)) * double).flatten(1)
        times = packed_linear((weight.reshape(4, size, size) * double[:, None]).flatten(0, 1).to(kind))  # h -> W h
        states, cells = active.new_empty(len(active), size), active.new_empty(len(active), size)
        earlier, inner = hidden, cell
        for gate, state, own in steps(sizes, active, states, cells):
            rows = len(gate)
            if earlier is not None:
                gate += times(earlier[: rows_to_multiply(rows, len(earlier))].to(kind))[:rows].to(gate.dtype)
            i, f, g, o = gate.sigmoid_().chunk(4, dim=1)
            g.mul_(2).sub_(1)
            torch.mul(i, g, out=own)
            if inner is not None:
                own.addcmul_(f, inner[:rows])
            earlier = torch.mul(o, tanh(own), out=state)
            inner = own
        ctx.save_for_backward(states, active, cells, weight, hidden, cell)
        ctx.sizes, ctx.kind = sizes, kind
        return states, active, cells

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        states, active, cells, weight, hidden, cell = ctx.saved_tensors
        grad_states = torch.zeros_like(states) if grads[0] is None else grads[0]
        found = Gradient.apply(  # type: ignore[no-untyped-call]
            grad_states, weight, active, cells, grads[1], grads[2], hidden is not None, cell, ctx.sizes, ctx.kind
        )
        grad_gates, grad_hidden, grad_cell = found
        grad_weight = None
        if needs_gradient(ctx, 1):
            rows = previous_step(states, hidden, ctx.sizes).to(ctx.kind)
            grad_weight = torch.mm(grad_gates.t().to(ctx.kind), rows).to(weight.dtype)
        return grad_gates, grad_weight, grad_hidden, grad_cell, None, None
