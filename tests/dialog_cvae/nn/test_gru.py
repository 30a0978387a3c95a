"""The hand-written recurrence against PyTorch's GRU: states and every gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dialog_cvae.nn.gru import Packing, gru

INPUTS, HIDDEN = 5, 7
lengths_of_sequences = st.lists(st.integers(1, 12), min_size=1, max_size=9)
CHECKED = settings(max_examples=25, deadline=None, derandomize=True)


def inputs_of(lengths: list[int], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(lengths), max(lengths), INPUTS, generator=generator, dtype=torch.float64, requires_grad=True)


def reference(bidirectional: bool) -> nn.GRU:
    torch.manual_seed(3)
    return nn.GRU(INPUTS, HIDDEN, batch_first=True, bidirectional=bidirectional).double()


def gradients(loss: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, of)


@given(lengths_of_sequences)
@CHECKED
def test_both_directions_agree_with_pytorch(lengths: list[int]) -> None:
    module, x, counts = reference(bidirectional=True), inputs_of(lengths), torch.tensor(lengths)
    packing = Packing.of(counts)
    gates = torch.stack(
        (
            linear(x[packing.sequence, packing.position], module.weight_ih_l0, module.bias_ih_l0),
            linear(x[packing.sequence, packing.mirrored], module.weight_ih_l0_reverse, module.bias_ih_l0_reverse),
        )
    )
    weight = torch.stack((module.weight_hh_l0, module.weight_hh_l0_reverse))
    bias = torch.stack((module.bias_hh_l0, module.bias_hh_l0_reverse))
    found = gru(gates, weight, bias, packing.sizes)[:, packing.last]
    packed = pack_padded_sequence(x, counts, batch_first=True, enforce_sorted=False)
    _, expected = module(packed)
    torch.testing.assert_close(found, expected)
    into = torch.randn_like(expected)
    learnt = (x, *module.parameters())
    for ours, theirs in zip(
        gradients((found * into).sum(), *learnt), gradients((expected * into).sum(), *learnt), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@given(lengths_of_sequences)
@CHECKED
def test_every_state_from_a_first_one_agrees_with_pytorch(lengths: list[int]) -> None:
    module, x, counts = reference(bidirectional=False), inputs_of(lengths), torch.tensor(lengths)
    first = torch.randn(len(lengths), HIDDEN, dtype=torch.float64, requires_grad=True)
    packing = Packing.of(counts)
    gates = linear(x[packing.sequence, packing.position], module.weight_ih_l0, module.bias_ih_l0)
    found = gru(
        gates[None], module.weight_hh_l0[None], module.bias_hh_l0[None], packing.sizes, first[packing.order][None]
    )[0]
    packed = pack_padded_sequence(x, counts, batch_first=True, enforce_sorted=False)
    padded, _ = pad_packed_sequence(module(packed, first[None])[0], batch_first=True)
    expected = padded[packing.sequence, packing.position]
    torch.testing.assert_close(found, expected)
    into = torch.randn_like(expected)
    learnt = (x, first, *module.parameters())
    for ours, theirs in zip(
        gradients((found * into).sum(), *learnt), gradients((expected * into).sum(), *learnt), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@given(lengths_of_sequences)
@CHECKED
def test_packing_names_every_token_once(lengths: list[int]) -> None:
    packing = Packing.of(torch.tensor(lengths))
    tokens = list(zip(packing.sequence.tolist(), packing.position.tolist(), strict=True))
    assert sorted(tokens) == [(s, t) for s, length in enumerate(lengths) for t in range(length)]
    assert [t for _, t in tokens] == sorted(t for _, t in tokens)
    assert packing.sizes == tuple(sum(length > t for length in lengths) for t in range(max(lengths)))
    assert [tokens[i] for i in packing.last.tolist()] == [(s, length - 1) for s, length in enumerate(lengths)]
    assert packing.mirrored.tolist() == [lengths[s] - 1 - t for s, t in tokens]
    assert packing.order.tolist() == sorted(range(len(lengths)), key=lambda s: -lengths[s])


def test_the_gradient_is_that_of_finite_differences() -> None:
    sizes = (3, 2, 2)
    gates = torch.randn(2, 7, 3 * 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3 * 4, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, 3 * 4, dtype=torch.float64, requires_grad=True)
    first = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *tensors: gru(*tensors[:3], sizes, tensors[3]), (gates, weight, bias, first))


@pytest.mark.parametrize("hidden", [3, 40])
def test_products_in_half_precision_stay_close(hidden: int) -> None:
    sizes = (6, 5, 5, 2)
    tensors = [torch.randn(shape) * 0.3 for shape in ((2, 18, 3 * hidden), (2, 3 * hidden, hidden), (2, 3 * hidden))]
    exact = [tensor.clone().requires_grad_() for tensor in tensors]
    rough = [tensor.clone().requires_grad_() for tensor in tensors]
    into = torch.randn(2, 18, hidden)
    expected = gru(exact[0], exact[1], exact[2], sizes)
    with torch.autocast("cpu", torch.bfloat16):
        found = gru(rough[0], rough[1], rough[2], sizes)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected), "autocast is what chooses the precision"
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    for ours, theirs in zip(
        gradients((found * into).sum(), *rough), gradients((expected * into).sum(), *exact), strict=True
    ):
        assert (ours - theirs).norm() < 0.02 * theirs.norm()
