"""Softmax cross entropy over a large vocabulary, projection included, with the gradient written out.

The logits of all tokens are never held at once: of each block of rows only the softmax's gradient stays, in the
precision of the products. The backward pass is then two matrix products and no pass over (N, V) of its own.

Shape legend: N tokens, D hidden units, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dialog_cvae.products import pad_rows, product, product_type

BLOCK = 256  # rows of logits at a time: 10 MB of a vocabulary of 10,000


def token_nll(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """-log softmax(hidden weight^T + bias) at the targets.

    Args:
        hidden: (N, D).
        weight: (V, D).
        bias: (V,).
        targets: (N,) ids.

    Returns:
        (N,) nats, in single precision; under autocast only the products are in its precision.
    """
    learning = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (hidden, weight, bias))
    nll: Tensor = _TokenNLL.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, targets, product_type(weight), learning
    )
    return nll


class _TokenNLL(torch.autograd.Function):
    """Keeps softmax - one-hot (N, V), which the upstream gradient scales row by row."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, kind: torch.dtype, learning: bool
    ) -> Tensor:
        count, rows, low = len(hidden), pad_rows(hidden.to(kind)), weight.to(kind)
        labels = torch.nn.functional.pad(targets, (0, len(rows) - count))
        nll = torch.empty(len(rows), dtype=weight.dtype, device=rows.device)
        residual = torch.empty(len(rows) if learning else 0, len(low), dtype=kind, device=rows.device)
        minus_one = torch.full((BLOCK, 1), -1.0, dtype=weight.dtype, device=rows.device)
        for begin in range(0, len(rows), BLOCK):
            block = slice(begin, begin + BLOCK)
            logits = product(rows[block], low, bias)  # single precision
            probs = torch.softmax(logits, dim=-1)
            normaliser = logits.amax(dim=-1) - probs.amax(dim=-1).log()
            nll[block] = normaliser - logits.gather(1, labels[block, None])[:, 0]
            if learning:
                probs.scatter_add_(1, labels[block, None], minus_one[: len(probs)])  # before it is rounded to `kind`
                residual[block] = probs
        if learning:
            residual[count:] = 0
        ctx.save_for_backward(rows, low, residual)
        ctx.types = hidden.dtype, weight.dtype
        return nll[:count]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, low, residual = ctx.saved_tensors
        hidden_type, weight_type = ctx.types
        count = len(grads[0])
        scale = torch.nn.functional.pad(grads[0], (0, len(rows) - count))
        wanted = ctx.needs_input_grad
        grad_hidden = grad_weight = grad_bias = None
        if wanted[0]:
            grad_hidden = product(residual, low.t())[:count].to(hidden_type) * grads[0][:, None]
        if wanted[1]:
            grad_weight = torch.mm(residual.t(), rows * scale[:, None].to(rows.dtype)).to(weight_type)
        if wanted[2]:
            grad_bias = torch.mm(scale[None].to(residual.dtype), residual)[0].to(weight_type)
        return grad_hidden, grad_weight, grad_bias, None, None, None
