"""Matrix products x W^T of a CPU training step, by the fastest library.

Open it if products are slow on a processor. PyTorch multiplies single-precision matrices with MKL, which on processors
that are not Intel's is about half as fast as oneDNN for wide or short products. oneDNN comes with PyTorch, and can keep
a weight in its own layout between products. Without it (other builds, other devices) PyTorch's ordinary product is
used, which gives the same result up to rounding.

Shape legend: M rows, K inputs, N outputs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

ROWS = 64
STEP = 8
DTYPES = (torch.float32, torch.bfloat16)  # types for which oneDNN is used

LinearMap = Callable[[Tensor], Tensor]


def matmul_dtype(tensor: Tensor) -> torch.dtype:
    """The type of matrix products with `tensor`: autocast's, if it is enabled, else the tensor's."""
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype


def padded_rows(rows: int) -> int:
    """The next multiple of `ROWS`, to which products over all tokens of a batch are padded.

    oneDNN compiles a kernel for every new shape, which takes longer than the product itself.
    """
    return -(-rows // ROWS) * ROWS


def rows_to_multiply(rows: int, available: int) -> int:
    """How many of the available rows to multiply if only the first `rows` are needed: a multiple of `STEP`.

    A recurrent layer multiplies with every number of rows from the largest down to 1. With multiples of `STEP`, oneDNN
    can keep all its kernels.
    """
    return min(-(-rows // STEP) * STEP, available)


def pad_rows(x: Tensor) -> Tensor:
    """(M, K) -> (padded_rows(M), K), padded with zeros."""
    return torch.nn.functional.pad(x, (0, 0, 0, padded_rows(len(x)) - len(x)))


def plain_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """X W^T + b, without autograd.

    Args:
        x: (M, K).
        weight: (N, K), of the same type.
        bias: (N,) in single precision, which is then the precision of the result.

    Returns:
        (M, N).
    """
    operations = _onednn(x.dtype) if x.device.type == "cpu" and x.dtype == torch.float32 else None
    if operations is not None:
        return operations.linear(x, weight, bias)
    multiplied = torch.mm(x, weight.t())
    return multiplied if bias is None else multiplied + bias


def packed_linear(weight: Tensor, bias: Tensor | None = None) -> LinearMap:
    """The function x -> x W^T + b for many x (M, K) and one weight (N, K), which is converted to oneDNN's layout once.

    Do not change the weight afterwards: whether this has an effect depends on the library. The bias may change.
    """
    operations = _onednn(weight.dtype) if weight.device.type == "cpu" and weight.dtype in DTYPES else None
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
    """The operations, if they exist for a type and give correct results; some processors lack bfloat16."""
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


def needs_gradient(ctx: Any, index: int) -> bool:
    """Whether the current backward pass needs the gradient of tensor input `index` of a custom function.

    `needs_input_grad` only says that some pass may need it; the refinement of z, for example, runs many backward passes
    that need no weight gradients. True if PyTorch does not say.

    Args:
        ctx: the function's context; its inputs before this one must all be tensors.
        index: of the input.
    """
    if not ctx.needs_input_grad[index]:
        return False
    try:
        answer: bool = torch._C._will_engine_execute_node(ctx.next_functions[index][0])
    except (AttributeError, RuntimeError):  # not in this PyTorch, or the input is a leaf passed to autograd.grad
        return True
    return answer


@cache
def has_fast_matmul(kind: torch.dtype, device: torch.device) -> bool:
    """Whether a device multiplies a type natively and, on a CPU, at least as fast as single precision.

    Some processors have bfloat16 instructions that are only half as fast as single precision's, so that a CPU is
    measured: once per process, some 20 ms.
    """
    if device.type == "cuda":
        return kind != torch.bfloat16 or torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or kind == torch.float32:
        return True
    if _onednn(kind) is None or _onednn(torch.float32) is None:
        return False
    rounds = [(_seconds_of_product(kind), _seconds_of_product(torch.float32)) for _ in range(20)]
    return min(seconds for seconds, _ in rounds) <= min(single for _, single in rounds)


def _seconds_of_product(kind: torch.dtype) -> float:
    """The time of one oneDNN product of a matrix with itself."""
    operations, matrix = _onednn(kind), torch.ones(256, 256, dtype=kind)
    assert operations is not None
    start = time.perf_counter()
    with torch.no_grad():
        operations.linear(matrix, matrix)
    return time.perf_counter() - start
