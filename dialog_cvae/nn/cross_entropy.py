"""Softmax cross entropy over a large vocabulary, projection included, with a hand-written gradient.

Open it if the loss over the vocabulary needs too much time or memory. The logits of all tokens are never in memory at
once: for each block of rows only the softmax's gradient is kept, in the precision of the products. The backward pass
then needs only two matrix products. It can itself be differentiated, for inference by gradient descent on the
likelihood.

Shape legend: N tokens, D hidden units, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dialog_cvae.nn.matmul import matmul_dtype, needs_gradient, pad_rows, plain_linear

BLOCK = 256  # rows of logits at a time: 10 MB for a vocabulary of 10,000


def token_nll(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """-log softmax(hidden weight^T + bias) at the targets.

    Args:
        hidden: (N, D).
        weight: (V, D).
        bias: (V,).
        targets: (N,) ids.

    Returns:
        (N,) nats, in single precision; autocast affects the products only. Can be differentiated twice.
    """
    learning = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (hidden, weight, bias))
    nll: Tensor = _TokenNLL.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, targets, matmul_dtype(weight), learning
    )[0]
    return nll


class _TokenNLL(torch.autograd.Function):
    """Saves softmax - one-hot (N, V), which the backward pass scales row by row with the incoming gradient.

    This residual is also an output, because the gradient depends on it: the second derivative arrives as its gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, kind: torch.dtype, learning: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        single = torch.promote_types(weight.dtype, torch.float32)
        count, rows, low = len(hidden), pad_rows(hidden.to(kind)), weight.to(kind)
        labels = torch.nn.functional.pad(targets, (0, len(rows) - count))
        nll = torch.empty(len(rows), dtype=single, device=rows.device)
        residual = torch.empty(len(rows) if learning else 0, len(low), dtype=kind, device=rows.device)
        minus_one = torch.full((BLOCK, 1), -1.0, dtype=single, device=rows.device)
        for begin in range(0, len(rows), BLOCK):
            block = slice(begin, begin + BLOCK)
            logits = plain_linear(rows[block], low, bias)  # single precision
            probs = torch.softmax(logits, dim=-1)
            normaliser = logits.amax(dim=-1) - probs.amax(dim=-1).log()
            nll[block] = normaliser - logits.gather(1, labels[block, None])[:, 0]
            if learning:
                probs.scatter_add_(1, labels[block, None], minus_one[: len(probs)])  # before rounding to `kind`
                residual[block] = probs
        if learning:
            residual[count:] = 0
        ctx.save_for_backward(hidden, weight, labels, rows, low, residual)
        ctx.types = hidden.dtype, weight.dtype
        return nll[:count], residual

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if grads[0] is None and grads[1] is None:
            return (None,) * 6
        hidden, weight, labels, rows, low, residual = ctx.saved_tensors
        hidden_type, weight_type = ctx.types
        count = len(hidden)
        multiply: Callable[[Tensor, Tensor], Tensor] = plain_linear
        if torch.is_grad_enabled():  # the result will be differentiated: use autograd's operations
            rows, low, multiply = pad_rows(hidden.to(residual.dtype)), weight.to(residual.dtype), _autograd_linear
        scale = None if grads[0] is None else torch.nn.functional.pad(grads[0], (0, len(rows) - count))
        if grads[1] is not None:
            residual, scale = _to_logits(residual, labels, scale, grads[1]), None
        grad_hidden = grad_weight = grad_bias = None
        if needs_gradient(ctx, 0):
            grad_hidden = multiply(residual, low.t())[:count].to(hidden_type)
            grad_hidden = grad_hidden if scale is None else grad_hidden * scale[:count, None]
        if needs_gradient(ctx, 1):
            scaled = rows if scale is None else rows * scale[:, None].to(rows.dtype)
            grad_weight = torch.mm(residual.t(), scaled).to(weight_type)
        if needs_gradient(ctx, 2):
            ones = torch.ones_like(residual[:, 0]) if scale is None else scale.to(residual.dtype)
            grad_bias = torch.mm(ones[None], residual)[0].to(weight_type)
        return grad_hidden, grad_weight, grad_bias, None, None, None


def _autograd_linear(x: Tensor, weight: Tensor) -> Tensor:
    """X W^T by an operation that autograd can differentiate."""
    return torch.mm(x, weight.t())


def _to_logits(residual: Tensor, labels: Tensor, scale: Tensor | None, to_residual: Tensor) -> Tensor:
    """The gradient of the logits (N, V): p (d - p . d) for the softmax's gradient d, plus the loss's own, if any."""
    if torch.is_grad_enabled():
        raise RuntimeError("token_nll can be differentiated twice, not three times")
    probs = residual.scatter_add(
        1, labels[:, None], torch.ones_like(residual[:, :1])
    )  # padding rows are wrong and unused
    to_logits = probs * to_residual
    total = to_logits.sum(dim=1, keepdim=True)
    to_logits = to_logits.addcmul_(probs, total, value=-1)
    return to_logits if scale is None else to_logits.addcmul_(residual, scale[:, None].to(residual.dtype))
