"""The fused cross entropy and the products it is made of, against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, linear

from dialog_cvae.nn import matmul
from dialog_cvae.nn.cross_entropy import BLOCK, token_nll
from dialog_cvae.nn.matmul import ROWS, packed_linear, pad_rows, padded_rows, plain_linear


def operands(rows: int, hidden: int, vocabulary: int, scale: float = 1.0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(rows + vocabulary)
    shapes = ((rows, hidden), (vocabulary, hidden), (vocabulary,))
    x, weight, bias = (torch.randn(shape, generator=generator) * scale for shape in shapes)
    targets = torch.randint(vocabulary, (rows,), generator=generator)
    return x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_(), targets


@given(st.integers(1, 2 * BLOCK + 3), st.integers(1, 70))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_agrees_with_cross_entropy(rows: int, vocabulary: int) -> None:
    x, weight, bias, targets = operands(rows, 9, vocabulary)
    found = token_nll(x, weight, bias, targets)
    expected = cross_entropy(linear(x, weight, bias), targets, reduction="none")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    into = torch.rand(rows)  # each token has its own share in the loss
    ours = torch.autograd.grad((found * into).sum(), (x, weight, bias))
    theirs = torch.autograd.grad((expected * into).sum(), (x, weight, bias))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_is_finite_where_the_softmax_underflows() -> None:
    x, weight, bias, targets = operands(5, 9, 30, scale=30.0)
    expected = cross_entropy(linear(x, weight, bias).double(), targets, reduction="none")
    assert expected.max() > 200  # exp(-200) is 0 in single precision
    torch.testing.assert_close(token_nll(x, weight, bias, targets).double(), expected, rtol=1e-5, atol=1e-3)


def test_half_precision_is_close_and_adds_up_in_single() -> None:
    x, weight, bias, targets = operands(300, 40, 500, scale=0.3)
    expected = cross_entropy(linear(x, weight, bias), targets, reduction="none")
    with torch.autocast("cpu", torch.bfloat16):
        found = token_nll(x, weight, bias, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.05)
    ours = torch.autograd.grad(found.mean(), (x, weight, bias))
    theirs = torch.autograd.grad(expected.mean(), (x, weight, bias))
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.02 * other.norm()


def test_an_unneeded_gradient_takes_no_memory() -> None:
    x, weight, bias, targets = operands(40, 9, 30)
    with torch.no_grad():
        found = token_nll(x, weight, bias, targets)
    assert found.grad_fn is None
    torch.testing.assert_close(found, cross_entropy(linear(x, weight, bias), targets, reduction="none"))


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 3, 64, 65])
def test_products_agree_with_torch(onednn: bool, kind: torch.dtype, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not onednn:
        monkeypatch.setattr(matmul, "_onednn", lambda _: None)
    x, weight, bias = torch.randn(rows, 20).to(kind), torch.randn(33, 20).to(kind), torch.randn(33)
    expected = x.float() @ weight.float().t()
    close = {"rtol": 0.02, "atol": 0.05} if kind == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(plain_linear(x, weight).float(), expected, **close)
    torch.testing.assert_close(plain_linear(x, weight, bias).float(), expected + bias, **close)
    torch.testing.assert_close(packed_linear(weight)(x).float(), expected, **close)


def test_onednn_is_not_used_if_its_results_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul._onednn.cache_clear()
    monkeypatch.setattr(matmul._OneDNN, "linear", lambda _, x, weight, bias=None: x @ weight.t() + 1)
    assert matmul._onednn(torch.float32) is None
    matmul._onednn.cache_clear()


def test_rows_are_padded_with_zeros() -> None:
    assert [padded_rows(rows) for rows in (1, ROWS, ROWS + 1)] == [ROWS, ROWS, 2 * ROWS]
    x = torch.ones(3, 2)
    assert pad_rows(x).shape == (ROWS, 2)
    assert pad_rows(x).sum() == 6


def test_a_certain_token_still_has_its_gradient_in_half_precision() -> None:
    weight = torch.tensor([[6.5], [0.0]], requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss = token_nll(torch.ones(1, 1), weight, torch.zeros(2), torch.tensor([0]))
    loss.sum().backward()
    torch.testing.assert_close(weight.grad, torch.tensor([[-0.0015], [0.0015]]), rtol=0.01, atol=0)


def test_second_derivatives_are_those_of_finite_differences() -> None:
    x, weight, bias, targets = operands(5, 3, 7)
    learnt = tuple(tensor.detach().double().requires_grad_() for tensor in (x, weight, bias))
    assert torch.autograd.gradgradcheck(lambda *tensors: token_nll(*tensors, targets), learnt)


@given(st.integers(1, BLOCK + 3), st.integers(1, 70))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_second_derivatives_agree_with_cross_entropy(rows: int, vocabulary: int) -> None:
    x, weight, bias, targets = operands(rows, 9, vocabulary, scale=0.5)
    found = []
    for nll in (
        token_nll(x, weight, bias, targets),
        cross_entropy(linear(x, weight, bias), targets, reduction="none"),
    ):
        into = torch.linspace(0, 1, rows)
        (first,) = torch.autograd.grad((nll * into).sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum() + nll.sum(), (x, weight, bias)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)


def test_a_third_derivative_is_refused() -> None:
    x, weight, bias, targets = operands(4, 3, 7)
    (first,) = torch.autograd.grad(token_nll(x, weight, bias, targets).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="twice, not three times"):
        torch.autograd.grad(first.square().sum(), x, create_graph=True)


def test_a_gradient_that_is_not_needed_is_not_computed() -> None:
    x, weight, bias, targets = operands(40, 9, 30)
    counts = []
    for wanted in ("all", "x", "x, weight"):
        inputs = [tensor * 1.0 for tensor in (x, weight, bias)]
        loss = token_nll(*inputs, targets).sum()
        with torch.profiler.profile() as profile:
            torch.autograd.grad(loss, {"all": inputs, "x": inputs[:1], "x, weight": inputs[:2]}[wanted])
        counts.append(sum(event.count for event in profile.key_averages() if event.key == "aten::mm"))
    assert counts[0] == counts[2] + 1 == counts[1] + 2


def test_frozen_weights_get_no_gradient() -> None:
    x, weight, bias, targets = operands(40, 9, 30)
    expected = torch.autograd.grad(token_nll(x, weight, bias, targets).sum(), x)[0]
    found = torch.autograd.grad(token_nll(x, weight.detach(), bias.detach(), targets).sum(), x)[0]
    torch.testing.assert_close(found, expected)


def test_a_processor_without_bfloat16_keeps_onednn_for_single(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul._onednn.cache_clear()
    matmul.has_fast_matmul.cache_clear()
    linear = matmul._OneDNN.linear

    def without(self: matmul._OneDNN, x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        if x.dtype == torch.bfloat16:
            raise RuntimeError("bf16 path needs the cpu support avx512")
        return linear(self, x, *rest)

    monkeypatch.setattr(matmul._OneDNN, "linear", without)
    available = torch.backends.mkldnn.is_available()
    assert (matmul._onednn(torch.float32) is not None) == available
    assert matmul._onednn(torch.bfloat16) is None
    assert not matmul.has_fast_matmul(torch.bfloat16, torch.device("cpu"))
    matmul._onednn.cache_clear()
    matmul.has_fast_matmul.cache_clear()


@pytest.mark.parametrize(("seconds", "fast"), [(0.5, True), (2.0, False)])
def test_bfloat16_is_fast_only_where_its_products_take_less_time(
    seconds: float, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    matmul.has_fast_matmul.cache_clear()
    monkeypatch.setattr(matmul, "_onednn", lambda kind: object())  # so that the processor has both
    monkeypatch.setattr(matmul, "_seconds_of_product", lambda kind: seconds if kind == torch.bfloat16 else 1.0)
    assert matmul.has_fast_matmul(torch.bfloat16, torch.device("cpu")) == fast
    assert matmul.has_fast_matmul(torch.float32, torch.device("cpu"))
    matmul.has_fast_matmul.cache_clear()
