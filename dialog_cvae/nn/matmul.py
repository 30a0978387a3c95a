"""Matrix products of a CPU training step: x W^T, by the library that does them fastest.

PyTorch multiplies single-precision matrices by MKL, which on processors of other makers reaches about half of what
oneDNN does on wide or short products; oneDNN comes with PyTorch, and also keeps a weight in its own layout between
products. Where PyTorch lacks these operations (other builds, other devices) its ordinary product is taken, which
computes the same up to rounding.

Shape legend: M rows, K inputs, N outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

ROWS = 64
STEP = 8
KINDS = (torch.float32, torch.bfloat16)  # that oneDNN is asked to multiply

Product = Callable[[Tensor], Tensor]


def product_type(tensor: Tensor) -> torch.dtype:
    """The precision of matrix products with `tensor`: autocast's where it is on."""
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype


def padded(rows: int) -> int:
    """The next multiple of `ROWS`: oneDNN compiles a kernel for every new shape, which takes longer than its product.

    Products over as many rows as a batch happens to have tokens are therefore taken over so many.
    """
    return -(-rows // ROWS) * ROWS


def few_shapes(rows: int, there: int) -> int:
    """How many of the rows that are there to multiply where only the first `rows` are wanted.

    A recurrence takes its products with every number of rows from the largest down to 1; multiples of `STEP` let oneDNN
    keep the kernels of all of them.
    """
    return min(-(-rows // STEP) * STEP, there)


def pad_rows(x: Tensor) -> Tensor:
    """(M, K) -> (padded(M), K), with zeros."""
    return torch.nn.functional.pad(x, (0, 0, 0, padded(len(x)) - len(x)))


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The product x W^T + b, outside of autograd.

    Args:
        x: (M, K).
        weight: (N, K), of the same type.
        bias: (N,) in single precision, in which the sum then is.

    Returns:
        (M, N).
    """
    operations = _onednn(x.dtype) if x.device.type == "cpu" and x.dtype == torch.float32 else None
    if operations is not None:
        return operations.linear(x, weight, bias)
    multiplied = torch.mm(x, weight.t())
    return multiplied if bias is None else multiplied + bias


def prepared(weight: Tensor, bias: Tensor | None = None) -> Product:
    """The function x -> x W^T + b for many x (M, K) and one weight (N, K), whose layout is changed once.

    Later changes of the weight may or may not have an effect, those of the bias have.
    """
    operations = _onednn(weight.dtype) if weight.device.type == "cpu" and weight.dtype in KINDS else None
    if operations is None:
        transposed = weight.t().contiguous()
        return lambda x: torch.mm(x, transposed) if bias is None else torch.addmm(bias, x, transposed)
    packed = operations.packed(weight.contiguous())
    return lambda x: operations.linear(x, packed, bias)


class _OneDNN:
    """PyTorch's oneDNN operations, which have no public names."""

    def __init__(self, namespace: Any) -> None:
        self._linear, self._reorder = namespace._linear_pointwise, namespace._reorder_linear_weight

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        result: Tensor = self._linear(x, weight, bias, "none", [], "")
        return result

    def packed(self, weight: Tensor) -> Tensor:
        result: Tensor = self._reorder(weight)
        return result


@cache
def _onednn(kind: torch.dtype) -> _OneDNN | None:
    """The operations, if they are there for a type and multiply as they should; processors may lack bfloat16."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    try:
        operations = _OneDNN(torch.ops.mkldnn)
        with torch.no_grad():
            x, weight = torch.arange(12, dtype=kind).view(3, 4), torch.arange(8, dtype=kind).view(2, 4)
            expected = torch.mm(x, weight.t())
            found = operations.linear(x, weight), operations.linear(x, operations.packed(weight))
            return operations if all(torch.equal(each, expected) for each in found) else None
    except (AttributeError, RuntimeError, TypeError):
        return None


def asked_for(ctx: Any, index: int) -> bool:
    """Within a custom backward pass, whether anyone wants the gradient of tensor input `index` in this very pass.

    `needs_input_grad` only says that someone may; a refinement of z, for one, passes a weight's gradient by many times.
    Whoever can't tell says yes.

    Args:
        ctx: of the function, whose inputs before this one must all be tensors.
        index: of the input.
    """
    if not ctx.needs_input_grad[index]:
        return False
    try:
        answer: bool = torch._C._will_engine_execute_node(ctx.next_functions[index][0])
    except (AttributeError, RuntimeError):  # it isn't there, or the input is a leaf that was asked for by name
        return True
    return answer


def multiplies_fast(kind: torch.dtype, device: torch.device) -> bool:
    """Whether products of a type are what a device is made for, rather than pieced together."""
    if device.type == "cuda":
        return kind != torch.bfloat16 or torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type != "cpu" or _onednn(kind) is not None
