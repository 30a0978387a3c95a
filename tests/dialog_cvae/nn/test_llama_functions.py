"""Each operation is held against PyTorch's own, in values and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dialog_cvae.nn import llama_functions
from dialog_cvae.nn.llama_functions import adapted_linear, grouped_attention, rms_norm, rotated, swiglu

Operation = Callable[..., Tensor]


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def check(ours: Operation, plain: Operation, *inputs: Tensor) -> None:
    """The same value, and the same gradient of every input for the same gradient of the output."""
    found = []
    for operation in (ours, plain):
        leaves = [each.clone().requires_grad_() for each in inputs]
        value = operation(*leaves)
        weights = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view(value.shape)
        found.append((value.detach(), *torch.autograd.grad((value * weights).sum(), leaves)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_adapted_linear() -> None:
    weight = drawn(7, 5)
    check(
        lambda x, down, up: adapted_linear(x, weight, down, up, 0.5),
        lambda x, down, up: x @ weight.T + 0.5 * (x @ down.T @ up.T),
        drawn(2, 3, 5),
        drawn(2, 5),
        drawn(7, 2),
    )


def test_rms_norm() -> None:
    weight = drawn(6)
    check(
        lambda x: rms_norm(x, weight, 1e-3),
        lambda x: torch.nn.functional.rms_norm(x, (6,), weight, 1e-3),
        drawn(2, 4, 6) * torch.tensor([1.0, 1e-2]).view(2, 1, 1),
    )


def test_rms_norm_in_bfloat16_is_as_near_as_its_type() -> None:
    x, weight = drawn(64, 96).bfloat16(), drawn(96).bfloat16()
    exact = torch.nn.functional.rms_norm(x.double(), (96,), weight.double(), 1e-5)
    torch.testing.assert_close(rms_norm(x, weight, 1e-5).double(), exact, rtol=2**-7, atol=1e-6)


def test_swiglu() -> None:
    check(swiglu, lambda x: torch.nn.functional.silu(x[..., :4]) * x[..., 4:], drawn(3, 2, 8))


def test_rotated() -> None:
    angles = drawn(1, 5, 1, 1, 3)
    cos, sin = angles.cos(), angles.sin()

    def plain(x: Tensor) -> Tensor:
        first, second = x[..., :3], x[..., 3:]
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).transpose(1, 2)

    check(lambda x: rotated(x, cos, sin), plain, drawn(2, 5, 2, 3, 6))


def plain_attention(visible: Tensor) -> Operation:
    def attention(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = torch.einsum("rktge,rkse->rktgs", query, keys) / query.shape[-1] ** 0.5
        weights = scores.masked_fill(~visible[:, None, :, None], -torch.inf).softmax(-1)
        return torch.einsum("rktgs,rkse->rktge", weights, values)

    return attention


@pytest.mark.parametrize("chunk", [1, 3, 4, 128])
def test_attention_to_what_came_before(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(llama_functions, "CHUNK", chunk)
    causal = torch.ones(1, 7, 7, dtype=torch.bool).tril()
    check(
        lambda query, keys, values: grouped_attention(query, keys, values, None),
        plain_attention(causal),
        drawn(2, 2, 7, 3, 4),
        drawn(2, 2, 7, 4),
        drawn(2, 2, 7, 4),
    )


@pytest.mark.parametrize("operation", [grouped_attention, llama_functions._fused_attention])
def test_attention_where_a_bias_lets_it(operation: Operation) -> None:
    visible = torch.rand(2, 5, 9, generator=torch.Generator().manual_seed(0)) < 0.6
    visible[..., 0] = True
    bias = torch.zeros(2, 5, 9, dtype=torch.float64).masked_fill_(~visible, -1e4)
    check(
        lambda query, keys, values: operation(query, keys, values, bias),
        plain_attention(visible),
        drawn(2, 2, 5, 3, 4),
        drawn(2, 2, 9, 4),
        drawn(2, 2, 9, 4),
    )
