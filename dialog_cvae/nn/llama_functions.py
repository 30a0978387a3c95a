"""Operations of a Llama layer whose gradients are written by hand: fewer passes over wide arrays than autograd's own.

Open it if training a language model's adapters needs too much time or memory. On a CPU these operations take as long
as the matrix products if each of them is left to autograd. None can be differentiated twice.

Shape legend: N rows, R rows of a batch, T positions, S positions attended to, D width, K key and value heads, G query
heads that share one, E head size, r rank, F inner size of the MLP.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 128  # positions whose scores are computed together: those after them are left out


def adapted_linear(x: Tensor, weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """X W^T + scale X A^T B^T, of which W gets no gradient.

    Args:
        x: (..., in).
        weight: W, (out, in).
        down: A, (r, in).
        up: B, (out, r).
        scale: of the second product.

    Returns:
        (..., out).
    """
    y: Tensor = _AdaptedLinear.apply(x.flatten(0, -2), weight, down, up, scale)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], -1)


class _AdaptedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
        low = x @ down.t()  # (N, r)
        ctx.save_for_backward(x, weight, down, up, low)
        ctx.scale = scale
        return torch.nn.functional.linear(x, weight).addmm_(low, up.t(), alpha=scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, down, up, low = ctx.saved_tensors
        to_low = (grad @ up).mul_(ctx.scale)
        to_x = (grad @ weight).addmm_(to_low, down) if ctx.needs_input_grad[0] else None
        return to_x, None, to_low.t() @ x, (grad.t() @ low).mul_(ctx.scale), None


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Root mean square normalisation (Zhang and Sennrich, 2019); `weight` (D,) gets no gradient.

    Args:
        x: (..., D).
        weight: (D,), of the same type.
        epsilon: added to the mean square.
    """
    y: Tensor = _RMSNorm.apply(x, weight, epsilon)  # type: ignore[no-untyped-call]
    return y


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        single = torch.promote_types(x.dtype, torch.float32)
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=single)
        inverse = (norm.square() / x.shape[-1] + epsilon).rsqrt()  # (..., 1)
        ctx.save_for_backward(x, weight, inverse)
        return torch.mul(x, inverse, out=torch.empty_like(x)).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        weighted = grad * weight
        along = torch.linalg.vecdot(weighted, x)[..., None].to(inverse.dtype)
        back = (inverse.pow(3) * along / -x.shape[-1]).to(x.dtype)
        return weighted.mul_(inverse.to(x.dtype)).addcmul_(x, back), None, None


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up (Shazeer, 2020): (..., 2F), gate before up, -> (..., F)."""
    y: Tensor = _SwiGLU.apply(gate_up)  # type: ignore[no-untyped-call]
    return y


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        ctx.save_for_backward(gate_up)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        back = torch.empty_like(gate_up)
        to_gate, to_up = back.chunk(2, dim=-1)
        torch.mul(torch.nn.functional.silu(gate), grad, out=to_up)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=to_gate)
        return back


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (Su et al., 2021): the first half of each head's dimensions is rotated with the second.

    Args:
        x: (R, T, K, G, E).
        cos: (R or 1, T, 1, 1, E / 2).
        sin: of the same shape.

    Returns:
        (R, K, T, G, E), contiguous.
    """
    y: Tensor = _Rotated.apply(x, cos, sin)  # type: ignore[no-untyped-call]
    return y


class _Rotated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        rows, count, heads, shared, size = x.shape
        y = x.new_empty(rows, heads, count, shared, size)
        _rotate(x, cos, sin, y.transpose(1, 2))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        rows, heads, count, shared, size = grad.shape
        x = grad.new_empty(rows, count, heads, shared, size)
        _rotate(grad.transpose(1, 2), cos, -sin, x)
        return x, None, None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, into: Tensor) -> None:
    (first, second), (low, high) = x.chunk(2, dim=-1), into.chunk(2, dim=-1)
    torch.mul(first, cos, out=low).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=high).addcmul_(first, sin)


def grouped_attention(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(E) + bias) v.

    Args:
        query: (R, K, T, G, E).
        keys: (R, K, S, E).
        values: (R, K, S, E).
        bias: (R or 1, T, S), 0 or very negative; None lets each position see those up to its own, S being T.

    Returns:
        (R, K, T, G, E).
    """
    if query.device.type != "cpu":
        return _fused_attention(query, keys, values, bias)
    found: Tensor = _GroupedAttention.apply(query, keys, values, bias)  # type: ignore[no-untyped-call]
    return found


def _fused_attention(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """The same by PyTorch's own kernels."""
    heads = query.permute(0, 1, 3, 2, 4).flatten(1, 2)  # (R, K G, T, E)
    mask = None if bias is None else bias[:, None]
    found = torch.nn.functional.scaled_dot_product_attention(
        heads, keys, values, attn_mask=mask, is_causal=bias is None, enable_gqa=True
    )
    rows, groups, count, shared, size = query.shape
    return found.view(rows, groups, shared, count, size).transpose(2, 3)


class _GroupedAttention(torch.autograd.Function):
    """By plain products, which oneDNN makes fast on a CPU; PyTorch's own backward pass there takes five times as long.

    The query heads of a key head are rows of one product. Without a bias the scores of `CHUNK` positions are computed
    together, against the keys up to the last of them. The softmax's values are kept for the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
        rows, heads, count, shared, size = query.shape
        q, k, v = query.reshape(rows * heads, count * shared, size), keys.flatten(0, 1), values.flatten(0, 1)
        scale = 1 / math.sqrt(size)
        found, kept = torch.empty_like(q), []
        for begin, end, seen in _chunks(count, k.shape[1], bias):
            part = slice(begin * shared, end * shared)
            scores = torch.bmm(q[:, part] * scale, k[:, :seen].transpose(1, 2))  # (R K, T G, S)
            by_position = scores.view(rows, heads, end - begin, shared, seen)
            if bias is None:
                by_position[..., begin:].masked_fill_(_later(end - begin, q.device), -math.inf)
            else:
                by_position += bias[:, None, begin:end, None]
            weights = torch.softmax(scores, dim=-1)
            found[:, part] = torch.bmm(weights, v[:, :seen])
            kept.append(weights)
        ctx.save_for_backward(q, k, v, bias, *kept)
        ctx.shape = query.shape
        return found.view(query.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias, *kept = ctx.saved_tensors
        rows, heads, count, shared, size = ctx.shape
        scale = 1 / math.sqrt(size)
        grad = grad.reshape(q.shape)
        to_q, to_k, to_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for (begin, end, seen), weights in zip(_chunks(count, k.shape[1], bias), kept, strict=True):
            part = slice(begin * shared, end * shared)
            to_v[:, :seen] += torch.bmm(weights.transpose(1, 2), grad[:, part])
            to_weights = torch.bmm(grad[:, part], v[:, :seen].transpose(1, 2))
            to_scores = torch._softmax_backward_data(to_weights, weights, -1, weights.dtype)
            to_q[:, part] = torch.bmm(to_scores, k[:, :seen]).mul_(scale)
            to_k[:, :seen] += torch.bmm(to_scores.transpose(1, 2), q[:, part] * scale)
        as_keys = (rows, heads, -1, size)
        return to_q.view(ctx.shape), to_k.view(as_keys), to_v.view(as_keys), None


def _chunks(count: int, seen: int, bias: Tensor | None) -> list[tuple[int, int, int]]:
    """(begin, end, positions seen) of the positions that are computed together."""
    if bias is not None:
        return [(0, count, seen)]
    ends = [min(begin + CHUNK, count) for begin in range(0, count, CHUNK)]
    return [(max(0, end - 1) // CHUNK * CHUNK, end, end) for end in ends]


def _later(count: int, device: torch.device) -> Tensor:
    """(T, 1, T) whether a position is after another."""
    return torch.ones(count, count, dtype=torch.bool, device=device).triu(1)[:, None]
