"""The gradient of an LSTM, as an operation that can itself be differentiated; see `lstm`.

Open it if a first or second derivative of the LSTM is wrong or slow.

Shape legend: N tokens of all sequences, n_t sequences longer than t, H hidden units.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dialog_cvae.nn.matmul import LinearMap, needs_gradient, packed_linear, rows_to_multiply


class Gradient(torch.autograd.Function):
    """Gradients of the gates' inputs and first states from those of states and, optionally, of gates and cells.

    With d for gradients: dh_t = given + da_{t+1} W, dc_t = given + dh_t o (1 - m^2) + dc_{t+1} f_{t+1}, and da_t
    follows from both by the chain rule.
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
        """The gradient."""
        ctx.set_materialize_grads(False)
        factors = _factors(active, cells, previous_step(cells, cell, sizes))
        to_hidden = _copy(grad_states, active)  # dh, so far only the given part
        to_cell = torch.zeros_like(cells) if grad_cells is None else _copy(grad_cells, cells)  # dc
        to_gates = torch.empty_like(active)  # da
        given = None if grad_active is None else grad_active * factors.slopes
        forget = active.chunk(4, dim=1)[1]
        times = packed_linear(weight.t().to(kind))  # da -> da W
        _back_through_time((to_hidden, to_cell, to_gates), factors, forget, given, times, sizes, kind)
        ctx.save_for_backward(grad_active, active, cells, weight, cell, to_hidden, to_cell, to_gates)
        ctx.sizes, ctx.kind = sizes, kind
        first = slice(0, sizes[0])
        to_start = times(to_gates[first].to(kind)).to(active.dtype) if starts else None
        return to_gates, to_start, None if cell is None else to_cell[first] * forget[first]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradient of the gradient."""
        if torch.is_grad_enabled():  # `once_differentiable` does not stop autograd.grad
            raise RuntimeError("lstm can be differentiated twice, not three times")
        grad_active, active, cells, weight, cell, to_hidden, to_cell, to_gates = ctx.saved_tensors
        sizes, kind = ctx.sizes, ctx.kind
        earlier = previous_step(cells, cell, sizes)
        factors = _factors(active, cells, earlier)
        a = torch.zeros_like(active) if grads[0] is None else _copy(grads[0], active)
        k, e = _along_time(a, (grads[1], grads[2]), factors, active.chunk(4, dim=1)[1], weight, sizes, kind)
        to_active, to_cells, to_earlier = _second_derivative(
            factors, active, cells, earlier, a, k, to_hidden, to_cell, grad_active
        )
        to_active[:, 1] += previous_step(k, grads[2], sizes) * to_cell
        first, *others = split(to_earlier, sizes)
        for step, other in zip(split(to_cells, sizes), others, strict=False):
            step[: len(other)] += other
        to_weight = None
        if needs_gradient(ctx, 1):
            to_weight = torch.mm(to_gates.t().to(kind), previous_step(e, grads[1], sizes).to(kind)).to(weight.dtype)
        to_start = None if cell is None else first
        return e, to_weight, to_active.flatten(1), to_cells, None, None, None, to_start, None, None


def _back_through_time(
    gradients: tuple[Tensor, Tensor, Tensor],
    factors: _Factors,
    forget: Tensor,
    given: Tensor | None,
    times: LinearMap,
    sizes: tuple[int, ...],
    kind: torch.dtype,
) -> None:
    """The loop of the gradient.

    Args:
        gradients: dh and dc (N, H), which hold the given parts, and da (N, 4H); all are updated in place.
        factors: see `_Factors`.
        forget: (N, H), f.
        given: (N, 4H), the given part of da, if any.
        times: da -> da W.
        sizes: n_t.
        kind: the precision of the products.
    """
    to_hidden, to_cell, to_gates = gradients
    begins = [*accumulate(sizes)]  # first row of each next step
    parts = steps(sizes, to_hidden, to_cell, split_gates(to_gates), *factors[1:])
    for t, (dh, dc, da, by_cell, by_hidden, inward) in reversed([*enumerate(parts)]):
        if t + 1 < len(sizes):
            rows, begin = sizes[t + 1], begins[t]
            wide = to_gates[begin : begin + rows_to_multiply(rows, len(to_gates) - begin)]
            dh[:rows] += times(wide.to(kind))[:rows].to(dh.dtype)
            dc[:rows].addcmul_(to_cell[begin : begin + rows], forget[begin : begin + rows])
        dc.addcmul_(dh, inward)
        torch.mul(by_cell, dc[:, None], out=da[:, :3])
        torch.mul(by_hidden, dh, out=da[:, 3])
        if given is not None:
            da += split_gates(given[begins[t] - len(da) : begins[t]])


def _along_time(
    a: Tensor,
    starts: tuple[Tensor | None, Tensor | None],
    factors: _Factors,
    forget: Tensor,
    weight: Tensor,
    sizes: tuple[int, ...],
    kind: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """The loop of the gradient's gradient, which runs the other way.

    With a, k and e the gradients of da, dc and dh: a_t = given + W e_{t-1}, k_t = k_{t-1} f_t + (by_cell a).sum,
    e_t = k_t inward + a_o by_hidden.

    Args:
        a: (N, 4H), which holds what is given; written.
        starts: e and k before the first step, (n_0, H).
        factors: see `_Factors`.
        forget: (N, H), f.
        weight: (4H, H).
        sizes: n_t.
        kind: the precision of the products.

    Returns:
        k and e, (N, H).
    """
    k, e = torch.empty_like(forget), torch.empty_like(forget)
    hidden_before, cell_before = starts
    times = packed_linear(weight.to(kind))  # e -> W e
    parts = steps(sizes, a, split_gates(a), k, e, forget, *factors[1:])
    for flat, own, to_dc, to_dh, keep, by_cell, by_hidden, inward in parts:
        rows = len(flat)
        if hidden_before is not None:
            wide = hidden_before[: rows_to_multiply(rows, len(hidden_before))].to(kind)
            flat += times(wide)[:rows].to(flat.dtype)
        torch.sum(own[:, :3] * by_cell, dim=1, out=to_dc)
        if cell_before is not None:
            to_dc.addcmul_(cell_before[:rows], keep)
        torch.mul(own[:, 3], by_hidden, out=to_dh)
        to_dh.addcmul_(to_dc, inward)
        hidden_before, cell_before = to_dh, to_dc
    return k, e


class _Factors(NamedTuple):
    """The factors in the loops.

    Attributes:
        slopes: (N, 4H) derivatives of the gates' functions.
        by_cell: (N, 3, H) from dc to da of i, f and g.
        by_hidden: (N, H) from dh to da of o.
        inward: (N, H) from dh to dc.
    """

    slopes: Tensor
    by_cell: Tensor
    by_hidden: Tensor
    inward: Tensor


def _factors(active: Tensor, cells: Tensor, earlier: Tensor) -> _Factors:
    """The factors, computed from gates (N, 4H), cells (N, H) and previous cells (N, H)."""
    i, _, g, o = active.chunk(4, dim=1)
    m = tanh(cells)
    slopes = torch.addcmul(active, active, active, value=-1)  # x (1 - x)
    torch.addcmul(torch.ones_like(g), g, g, value=-1, out=slopes.chunk(4, dim=1)[2])
    to_i, to_f, to_g, to_o = slopes.chunk(4, dim=1)
    by_cell = torch.stack((g * to_i, earlier * to_f, i * to_g), dim=1)
    return _Factors(slopes, by_cell, m * to_o, o - o * m * m)


def _second_derivative(
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
    """The gradient of the gradient by gates (N, 4, H), cells and previous cells (N, H).

    The part of f from the recursion of the cells is left out.
    """
    i, f, g, o = active.chunk(4, dim=1)
    m = tanh(cells)
    flat = 1 - m * m
    inner = [to_cell * g, to_cell * earlier, to_cell * i, to_hidden * m]  # the gradients of the gates
    if grad_active is not None:
        inner = [one + more for one, more in zip(inner, grad_active.chunk(4, dim=1), strict=True)]
    curve = torch.stack((1 - 2 * i, 1 - 2 * f, -2 * g, 1 - 2 * o), dim=1)
    to_active = split_gates(a) * torch.stack(inner, dim=1) * curve
    by_i, by_f, by_g, by_o = (a * factors.slopes).chunk(4, dim=1)
    to_active[:, 0] += by_g * to_cell
    to_active[:, 2] += by_i * to_cell
    passed = to_hidden * flat
    to_active[:, 3] += k * passed
    return to_active, (by_o - 2 * k * o * m) * passed, by_f * to_cell


def _copy(tensor: Tensor, like: Tensor) -> Tensor:
    """A contiguous copy, to write into."""
    return tensor.to(like.dtype, copy=True, memory_format=torch.contiguous_format)


def split_gates(packed: Tensor) -> Tensor:
    """(N, 4H) as (N, 4, H)."""
    return packed.reshape(len(packed), 4, -1)


def split(packed: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Views of each step's rows."""
    return torch.split(packed, list(sizes))


def steps(sizes: tuple[int, ...], *packed: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of packed tensors (N, ...): for each step the rows of its n_t sequences."""
    return zip(*(split(tensor, sizes) for tensor in packed), strict=True)


def previous_step(packed: Tensor, first: Tensor | None, sizes: tuple[int, ...]) -> Tensor:
    """(N, H), the value one step earlier in each token's sequence; zeros at the first step if `first` is None."""
    start = packed.new_zeros(sizes[0], packed.shape[1]) if first is None else first.to(packed.dtype)
    earlier = (step[:size] for step, size in zip(split(packed, sizes), sizes[1:], strict=False))
    return torch.cat((start, *earlier))


def tanh(x: Tensor) -> Tensor:
    """tanh, computed by the sigmoid, whose kernel is several times faster; the error is at most 1e-7."""
    return x.mul(2).sigmoid_().mul_(2).sub_(1)
