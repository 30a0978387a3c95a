"""GRUs over packed sequences on a CPU, with a hand-written gradient.

Open it to change how recurrent layers are computed. PyTorch's GRU on a CPU accumulates its weight gradients step by
step and differentiates every small operation of every step. This one is faster:
- The recurrent product is the only matrix product within the loop; the first step, from a zero state, needs none.
- Both directions of a bidirectional GRU advance together.
- The factors of the backward loop are computed for all tokens at once, and each weight gradient is one product.
On a GPU, PyTorch's fused kernels are faster (`use_torch_gru`). Both compute the same from the same parameters.

Autocast affects the products only; states, gates and accumulated gradients stay in single precision.

Shape legend: D directions, S sequences, N tokens of all sequences, n_t sequences longer than t, H hidden units.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dialog_cvae.nn.devices import moved
from dialog_cvae.nn.matmul import matmul_dtype, packed_linear, padded_rows, rows_to_multiply


class Packing(NamedTuple):
    """How sequences are packed: by time, within a step the longest sequences first.

    Attributes:
        sizes: n_t for each step, descending and at least 1.
        sequence: (N,) sequence of each packed token.
        position: (N,) position of the token in its sequence.
        mirrored: (N,) position that the backward direction reads at the same step: length - 1 - position.
        last: (S,) the packed index of each sequence's last token.
        order: (S,) the sequences, longest first.
        rank: (S,) index of each sequence in `order`.
    """

    sizes: tuple[int, ...]
    sequence: Tensor
    position: Tensor
    mirrored: Tensor
    last: Tensor
    order: Tensor
    rank: Tensor

    @classmethod
    def of(cls, lengths: Tensor) -> Packing:
        """The packing of sequences of the given lengths (S,), on the CPU and each at least 1."""
        ordered, order = lengths.sort(descending=True, stable=True)
        steps = torch.arange(int(ordered[0]))
        alive = steps[:, None] < ordered  # (T, S)
        position, rank = alive.nonzero(as_tuple=True)
        sizes = alive.sum(1)
        begins = sizes.cumsum(0) - sizes
        ranks = torch.empty_like(order)
        ranks[order] = torch.arange(len(order))
        last = begins[lengths - 1] + ranks
        return cls(tuple(sizes.tolist()), order[rank], position, ordered[rank] - 1 - position, last, order, ranks)

    def to(self, device: torch.device) -> Packing:
        """The same on another device."""
        return Packing(self.sizes, *(moved(tensor, device) for tensor in self[1:]))


_SECOND_DERIVATIVE = ContextVar("twice", default=False)


@contextmanager
def differentiable_twice() -> Iterator[None]:
    """In this context, recurrent layers can be differentiated twice, on every device; they are slower."""
    token = _SECOND_DERIVATIVE.set(True)
    try:
        with torch.backends.cudnn.flags(enabled=False):  # cuDNN has no second derivatives, PyTorch's own kernels do
            yield
    finally:
        _SECOND_DERIVATIVE.reset(token)


def needs_second_derivative() -> bool:
    """Whether the caller is within `differentiable_twice`."""
    return _SECOND_DERIVATIVE.get()


def use_torch_gru(device: torch.device) -> bool:
    """Whether to use PyTorch's own GRU: on a GPU, where one kernel computes all steps, and for second derivatives."""
    return device.type == "cuda" or needs_second_derivative()


def gru(gates: Tensor, weight: Tensor, bias: Tensor, sizes: tuple[int, ...], initial: Tensor | None = None) -> Tensor:
    """States of a GRU from its input products.

    Args:
        gates: (D, N, 3H) input products with their bias, packed; gate order reset, update, new.
        weight: (D, 3H, H) recurrent weights.
        bias: (D, 3H) recurrent biases.
        sizes: n_t for each step.
        initial: (D, n_0, H) first states, longest sequence first; zeros if None.

    Returns:
        (D, N, H), packed.
    """
    states: Tensor = _GRU.apply(  # type: ignore[no-untyped-call]
        gates, weight, bias, initial, sizes, matmul_dtype(weight)
    )
    return states


class _GRU(torch.autograd.Function):
    """h' = n + z (h - n), with r, z = sigmoid(x + W h + b) and n = tanh(x + r (W h + b)), given x."""

    @staticmethod
    def forward(
        ctx: Any,
        gates: Tensor,
        weight: Tensor,
        bias: Tensor,
        initial: Tensor | None,
        sizes: tuple[int, ...],
        kind: torch.dtype,
    ) -> Tensor:
        hidden = weight.shape[2]
        multiply = [packed_linear(each) for each in weight.to(kind)]  # h -> W h, per direction
        active = gates.to(weight.dtype, copy=True)  # (D, N, 3H): inputs of the gates, overwritten by r, z and n
        active[..., : 2 * hidden] += bias[:, None, : 2 * hidden]
        inner = bias[:, None, 2 * hidden :].repeat(1, gates.shape[1], 1)  # (D, N, H): W h + b of the new gate
        states = torch.empty_like(inner)
        previous = None if initial is None else initial.to(states.dtype)
        for sigmoid, reset, update, new, within, state in _by_step(
            sizes,
            active[..., : 2 * hidden],
            active[..., :hidden],
            active[..., hidden : 2 * hidden],
            active[..., 2 * hidden :],
            inner,
            states,
        ):
            size = state.shape[1]
            if previous is None:
                previous = torch.zeros_like(state)
            else:
                wide = previous[:, : rows_to_multiply(size, previous.shape[1])].to(kind)
                previous = previous[:, :size]
                for rows, times, to_sigmoid, to_new in zip(wide, multiply, sigmoid, within, strict=True):
                    product = times(rows)[:size].to(states.dtype)  # (n, 3H)
                    to_sigmoid += product[:, : 2 * hidden]
                    to_new += product[:, 2 * hidden :]
            sigmoid.sigmoid_()
            _tanh_(new.addcmul_(reset, within))
            previous = torch.lerp(new, previous, update, out=state)
        ctx.save_for_backward(active, inner, states, weight, initial)
        ctx.sizes, ctx.kind = sizes, kind
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        active, inner, states, weight, initial = ctx.saved_tensors
        sizes, kind, hidden = ctx.sizes, ctx.kind, weight.shape[2]
        first = torch.zeros_like(states[:, : sizes[0]]) if initial is None else initial.to(states.dtype)
        earlier = (state[:, :size] for state, size in zip(torch.split(states, list(sizes), 1), sizes[1:], strict=False))
        tokens = states.shape[1]
        spare = states.new_zeros(len(states), padded_rows(tokens) - tokens, hidden)
        before = torch.cat((first, *earlier, spare), dim=1)  # (D, padded N, H): the state before each token
        reset, update, new = active.chunk(3, dim=-1)
        to_new = (1 - new * new).mul_(1 - update)  # factor from the gradient of h' to that of tanh's input
        # Factors from the gradient of h' to that of W h + b.
        factors = torch.empty(*states.shape[:2], 3, hidden, dtype=states.dtype, device=states.device)
        to_inner = torch.mul(to_new, reset, out=factors[:, :, 2])
        torch.mul(to_inner * inner, 1 - reset, out=factors[:, :, 0])
        torch.mul((before[:, :tokens] - new).mul_(update), 1 - update, out=factors[:, :, 1])
        grad_states = grads[0].to(states.dtype, copy=True)
        room = torch.empty(len(states), before.shape[1], 3 * hidden, dtype=kind, device=states.device)
        room[:, tokens:] = 0
        grad_products = room[:, :tokens]  # (D, N, 3H)
        carried = _back_through_time(
            grad_states, room, factors, update, weight.to(kind), sizes, to_start=initial is not None
        )
        grad_weight = grad_bias = None
        if ctx.needs_input_grad[1]:
            grad_weight = torch.bmm(room.transpose(1, 2), before.to(kind)).to(weight.dtype)
        if ctx.needs_input_grad[2]:
            grad_bias = grad_products.sum(1, dtype=weight.dtype)
        torch.mul(grad_states, to_new, out=grad_products[..., 2 * hidden :])  # the reset gate does not apply to x
        return grad_products, grad_weight, grad_bias, carried, None, None


def _back_through_time(
    grad_states: Tensor,
    room: Tensor,
    factors: Tensor,
    update: Tensor,
    weight: Tensor,
    sizes: tuple[int, ...],
    *,
    to_start: bool,
) -> Tensor | None:
    """The loop of the backward pass.

    Args:
        grad_states: (D, N, H), gradient of the loss for each state; the gradients from later states are added.
        room: (D, at least N, 3H), an output; the first N rows are written.
        factors: (D, N, 3, H), derivatives of a state by its three recurrent products.
        update: (D, N, H), z.
        weight: (D, 3H, H) in the precision of the products.
        sizes: n_t.
        to_start: whether to return the gradient of the first states.

    Returns:
        (D, n_0, H), the gradient of the first states, or None.
    """
    multiply = [packed_linear(each.t()) for each in weight]  # g -> g W, per direction
    products = room[:, : sum(sizes)].unflatten(2, (3, -1))  # type: ignore[no-untyped-call]
    begins = accumulate(sizes, initial=0)
    steps = list(zip(begins, _by_step(sizes, grad_states, products, factors, update), strict=False))
    carried: list[Tensor] = []
    for begin, (grad, product, factor, kept) in reversed(steps):
        for rows, later in zip(grad, carried, strict=bool(carried)):
            rows[: len(later)] += later
        torch.mul(factor, grad[:, :, None], out=product)
        if begin or to_start:
            size = grad.shape[1]
            wide = room[:, begin : begin + rows_to_multiply(size, room.shape[1] - begin)]
            carried = [
                times(rows)[:size].to(own.dtype).addcmul_(own, stays)
                for times, rows, own, stays in zip(multiply, wide, grad, kept, strict=True)
            ]
    return torch.stack(carried) if to_start else None


def _by_step(sizes: tuple[int, ...], *packed: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of packed tensors (D, N, ...): for each step the rows of its n_t sequences."""
    return zip(*(torch.split(tensor, list(sizes), 1) for tensor in packed), strict=True)


def _tanh_(x: Tensor) -> Tensor:
    """Tanh in place, computed by the sigmoid, whose kernel is several times faster; the error is at most 1e-7."""
    return x.mul_(2).sigmoid_().mul_(2).sub_(1)
