"""An LSTM over packed sequences whose gradient can be differentiated again, on every device.

cuDNN's LSTM has no second derivative, and PyTorch's own on a CPU takes it operation by operation. Here the gradient is
an operation of its own with a gradient of its own, all three written out: each is one loop over the steps whose only
matrix product is the recurrent one, what the loops multiply by is computed for all tokens at once, and each gradient of
the weight is one product at the end. For a first derivative alone PyTorch's own is the faster one (`lstm_layer`).

With i, f, o = sigmoid(a) and g = tanh(a) of a_t = x_t + W h_{t-1}, x being given: c_t = f c_{t-1} + i g,
m_t = tanh(c_t), h_t = o m_t. Gates stand in PyTorch's order, i, f, g, o. Under autocast the products run in its
precision, as in `recurrence`.

Shape legend: N tokens of all sequences, n_t sequences longer than t, H hidden units.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dialog_cvae.products import asked_for, few_shapes, prepared, product_type
from dialog_cvae.recurrence import needed_twice


def lstm(
    gates: Tensor,
    weight: Tensor,
    sizes: tuple[int, ...],
    hidden: Tensor | None = None,
    cell: Tensor | None = None,
) -> Tensor:
    """States of an LSTM whose input products are given.

    Args:
        gates: (N, 4H) input products with both biases, packed by time as `recurrence.Packing` does.
        weight: (4H, H) recurrent weights.
        sizes: n_t for each step, descending.
        hidden: (n_0, H) first states, longest sequence first; zeros if None.
        cell: (n_0, H) first cells; zeros if None.

    Returns:
        (N, H), packed. Can be differentiated twice.
    """
    states: Tensor = _LSTM.apply(gates, weight, hidden, cell, sizes, product_type(weight))[0]  # type: ignore[no-untyped-call]
    return states


def lstm_layer(layer: nn.LSTM, inputs: Tensor, hidden: Tensor) -> Tensor:
    """States of a layer over sequences of one length, from zero cells: PyTorch's where that is the better one.

    Which it isn't within `recurrence.differentiable_twice`, nor in half precision on a CPU.

    Args:
        layer: one layer of one direction, batch first.
        inputs: (B, T, I).
        hidden: (B, H) first states.

    Returns:
        (B, T, H).
    """
    halved = inputs.device.type == "cpu" and torch.is_autocast_enabled("cpu")  # which PyTorch's refuses on some
    if not (halved or needed_twice()):
        states: Tensor = layer(inputs, (hidden[None], torch.zeros_like(hidden)[None]))[0]
        return states
    ((weight_in, weight, bias_in, bias),) = layer.all_weights
    batch, steps = inputs.shape[:2]
    gates = nn.functional.linear(inputs.transpose(0, 1).flatten(0, 1), weight_in, bias_in + bias)
    return lstm(gates, weight, (batch,) * steps, hidden).view(steps, batch, -1).transpose(0, 1)


class _LSTM(torch.autograd.Function):
    """From input products to states; gates and cells are outputs too, since the gradient depends on them."""

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
        double[2] = 2.0  # tanh(x) = 2 sigmoid(2x) - 1: one kernel for all gates, and a faster one than the tanh's
        active = (_by_gate(gates.to(weight.dtype)) * double).flatten(1)
        times = prepared((weight.reshape(4, size, size) * double[:, None]).flatten(0, 1).to(kind))  # h -> W h
        states, cells = active.new_empty(len(active), size), active.new_empty(len(active), size)
        before, inner = hidden, cell
        for gate, state, own in _steps(sizes, active, states, cells):
            rows = len(gate)
            if before is not None:
                gate += times(before[: few_shapes(rows, len(before))].to(kind))[:rows].to(gate.dtype)
            i, f, g, o = gate.sigmoid_().chunk(4, dim=1)
            g.mul_(2).sub_(1)
            torch.mul(i, g, out=own)
            if inner is not None:
                own.addcmul_(f, inner[:rows])
            before = torch.mul(o, _tanh(own), out=state)
            inner = own
        ctx.save_for_backward(states, active, cells, weight, hidden, cell)
        ctx.sizes, ctx.kind = sizes, kind
        return states, active, cells

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        states, active, cells, weight, hidden, cell = ctx.saved_tensors
        grad_states = torch.zeros_like(states) if grads[0] is None else grads[0]
        found = _Gradient.apply(  # type: ignore[no-untyped-call]
            grad_states, weight, active, cells, grads[1], grads[2], hidden is not None, cell, ctx.sizes, ctx.kind
        )
        grad_gates, grad_hidden, grad_cell = found
        grad_weight = None
        if asked_for(ctx, 1):
            before = _before(states, hidden, ctx.sizes)
            grad_weight = torch.mm(grad_gates.t().to(ctx.kind), before.to(ctx.kind)).to(weight.dtype)
        return grad_gates, grad_weight, grad_hidden, grad_cell, None, None


class _Gradient(torch.autograd.Function):
    """From the gradients of states, and maybe of gates and cells, to those of the gates' inputs and first states.

    With d for gradients: dh_t = given + da_{t+1} W, dc_t = given + dh_t o (1 - m^2) + dc_{t+1} f_{t+1}, and da_t what
    both are of the gates' inputs.
    """

    @staticmethod
    def forward(
        ctx: Any,
        grad_states: Tensor,
        weight: Tensor,
        active: Tensor,
        cells: Tensor,
        grad_active: Tensor | None,
        grad_cells: Tensor | None,
        starts: bool,
        cell: Tensor | None,
        sizes: tuple[int, ...],
        kind: torch.dtype,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        ctx.set_materialize_grads(False)
        factors = _factors(active, cells, _before(cells, cell, sizes))
        to_hidden = _copy(grad_states, active)  # dh, of which so far only what is given
        to_cell = torch.zeros_like(cells) if grad_cells is None else _copy(grad_cells, cells)  # dc
        to_gates = torch.empty_like(active)  # da
        given = None if grad_active is None else _split(grad_active * factors.slopes, sizes)
        times = prepared(weight.t().to(kind))  # da -> da W
        begins = [*accumulate(sizes)]  # of each next step
        parts = _steps(sizes, to_hidden, to_cell, _by_gate(to_gates), *factors[1:])
        forget = _split(active.chunk(4, dim=1)[1], sizes)
        for t, (dh, dc, da, by_cell, by_hidden, inward) in reversed([*enumerate(parts)]):
            if t + 1 < len(sizes):
                rows, begin = sizes[t + 1], begins[t]
                wide = to_gates[begin : begin + few_shapes(rows, len(to_gates) - begin)]
                dh[:rows] += times(wide.to(kind))[:rows].to(dh.dtype)
                dc[:rows].addcmul_(to_cell[begin : begin + rows], forget[t + 1])
            dc.addcmul_(dh, inward)
            torch.mul(by_cell, dc[:, None], out=da[:, :3])
            torch.mul(by_hidden, dh, out=da[:, 3])
            if given is not None:
                da += _by_gate(given[t])
        ctx.save_for_backward(grad_active, active, cells, weight, cell, to_hidden, to_cell, to_gates)
        ctx.sizes, ctx.kind = sizes, kind
        first = slice(0, sizes[0])
        to_start = times(to_gates[first].to(kind)).to(active.dtype) if starts else None
        return to_gates, to_start, None if cell is None else to_cell[first] * forget[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # `once_differentiable` lets autograd.grad pass, whose answer would lack a part
            raise RuntimeError("lstm can be differentiated twice, not three times")
        # Against the direction of the gradient: a is the gradient of da, k of dc and e of dh, with
        # a_t = given + W e_{t-1}, k_t = k_{t-1} f_t + (by_cell a).sum, e_t = k_t inward + a_o by_hidden.
        grad_active, active, cells, weight, cell, to_hidden, to_cell, to_gates = ctx.saved_tensors
        sizes, kind = ctx.sizes, ctx.kind
        earlier = _before(cells, cell, sizes)
        factors = _factors(active, cells, earlier)
        a = torch.zeros_like(active) if grads[0] is None else _copy(grads[0], active)
        k, e = torch.empty_like(cells), torch.empty_like(cells)
        hidden_before, cell_before = grads[1], grads[2]
        times = prepared(weight.to(kind))
        forget = active.chunk(4, dim=1)[1]
        parts = _steps(sizes, a, _by_gate(a), k, e, forget, *factors[1:])
        for flat, own, to_dc, to_dh, keep, by_cell, by_hidden, inward in parts:
            rows = len(flat)
            if hidden_before is not None:
                wide = hidden_before[: few_shapes(rows, len(hidden_before))].to(kind)
                flat += times(wide)[:rows].to(flat.dtype)
            torch.sum(own[:, :3] * by_cell, dim=1, out=to_dc)
            if cell_before is not None:
                to_dc.addcmul_(cell_before[:rows], keep)
            torch.mul(own[:, 3], by_hidden, out=to_dh)
            to_dh.addcmul_(to_dc, inward)
            hidden_before, cell_before = to_dh, to_dc
        to_active, to_cells, to_earlier = _second(
            factors, active, cells, earlier, a, k, to_hidden, to_cell, grad_active
        )
        to_active[:, 1] += _before(k, grads[2], sizes) * to_cell
        first, *others = _split(to_earlier, sizes)
        for step, other in zip(_split(to_cells, sizes), others, strict=False):
            step[: len(other)] += other
        to_weight = None
        if asked_for(ctx, 1):
            before = _before(e, grads[1], sizes)
            to_weight = torch.mm(to_gates.t().to(kind), before.to(kind)).to(weight.dtype)
        return (
            e,
            to_weight,
            to_active.flatten(1),
            to_cells,
            None,
            None,
            None,
            None if cell is None else first,
            None,
            None,
        )


class _Factors(NamedTuple):
    """What the loops multiply by.

    Attributes:
        slopes: (N, 4H) of the gates' functions.
        by_cell: (N, 3, H) from dc to da of i, f and g.
        by_hidden: (N, H) from dh to da of o.
        inward: (N, H) from dh to dc.
    """

    slopes: Tensor
    by_cell: Tensor
    by_hidden: Tensor
    inward: Tensor


def _factors(active: Tensor, cells: Tensor, earlier: Tensor) -> _Factors:
    """From gates (N, 4H), cells (N, H) and those before them (N, H)."""
    i, _, g, o = active.chunk(4, dim=1)
    m = _tanh(cells)
    slopes = torch.addcmul(active, active, active, value=-1)  # x (1 - x)
    torch.addcmul(torch.ones_like(g), g, g, value=-1, out=slopes.chunk(4, dim=1)[2])
    to_i, to_f, to_g, to_o = slopes.chunk(4, dim=1)
    by_cell = torch.stack((g * to_i, earlier * to_f, i * to_g), dim=1)
    return _Factors(slopes, by_cell, m * to_o, o - o * m * m)


def _second(
    factors: _Factors,
    active: Tensor,
    cells: Tensor,
    earlier: Tensor,
    a: Tensor,
    k: Tensor,
    to_hidden: Tensor,
    to_cell: Tensor,
    grad_active: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What the gradient's own gradient is with respect to gates (N, 4, H), cells and the cells before them (N, H).

    The part of f that comes from the cells' own recursion is left out.
    """
    i, f, g, o = active.chunk(4, dim=1)
    m = _tanh(cells)
    flat = 1 - m * m
    inner = [to_cell * g, to_cell * earlier, to_cell * i, to_hidden * m]  # the gradients of the gates
    if grad_active is not None:
        inner = [one + more for one, more in zip(inner, grad_active.chunk(4, dim=1), strict=True)]
    curve = torch.stack((1 - 2 * i, 1 - 2 * f, -2 * g, 1 - 2 * o), dim=1)
    to_active = _by_gate(a) * torch.stack(inner, dim=1) * curve
    by_i, by_f, by_g, by_o = (a * factors.slopes).chunk(4, dim=1)
    to_active[:, 0] += by_g * to_cell
    to_active[:, 2] += by_i * to_cell
    passed = to_hidden * flat
    to_active[:, 3] += k * passed
    return to_active, (by_o - 2 * k * o * m) * passed, by_f * to_cell


def _copy(tensor: Tensor, like: Tensor) -> Tensor:
    """To write into."""
    return tensor.to(like.dtype, copy=True, memory_format=torch.contiguous_format)


def _by_gate(packed: Tensor) -> Tensor:
    """(N, 4H) as (N, 4, H)."""
    return packed.reshape(len(packed), 4, -1)


def _split(packed: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Views of each step's rows."""
    return torch.split(packed, list(sizes))


def _steps(sizes: tuple[int, ...], *packed: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of packed tensors (N, ...), for each step those of its n_t sequences."""
    return zip(*(_split(tensor, sizes) for tensor in packed), strict=True)


def _before(packed: Tensor, first: Tensor | None, sizes: tuple[int, ...]) -> Tensor:
    """(N, H) what stood at each token's sequence one step earlier; zeros before the first if None."""
    start = packed.new_zeros(sizes[0], packed.shape[1]) if first is None else first.to(packed.dtype)
    earlier = (step[:size] for step, size in zip(_split(packed, sizes), sizes[1:], strict=False))
    return torch.cat((start, *earlier))


def _tanh(x: Tensor) -> Tensor:
    """The tanh, by way of the sigmoid, whose kernel is several times faster; off by 1e-7 at most."""
    return x.mul(2).sigmoid_().mul_(2).sub_(1)
