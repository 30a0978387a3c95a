"""The hand-written LSTM against PyTorch's: states, every gradient, and every second derivative."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dialog_cvae.nn.gru import Packing, differentiable_twice
from dialog_cvae.nn.lstm import lstm, lstm_layers

INPUTS, HIDDEN = 4, 5
lengths_of_sequences = st.lists(st.integers(1, 8), min_size=1, max_size=9)
CHECKED = settings(max_examples=25, deadline=None, derandomize=True)
Starts = tuple[Tensor, Tensor] | None


def inputs_of(lengths: list[int]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(len(lengths))
    shapes = ((len(lengths), max(lengths), INPUTS), (len(lengths), HIDDEN), (len(lengths), HIDDEN))
    x, hidden, cell = (
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes
    )
    return x, (hidden, cell)


def module() -> nn.LSTM:
    torch.manual_seed(3)
    return nn.LSTM(INPUTS, HIDDEN, batch_first=True).double()


def ours(model: nn.LSTM, x: Tensor, lengths: list[int], starts: Starts) -> Tensor:
    packing = Packing.of(torch.tensor(lengths))
    ((weight_in, weight, bias_in, bias),) = model.all_weights
    gates = linear(x[packing.sequence, packing.position], weight_in, bias_in + bias)
    first = (None, None) if starts is None else tuple(start[packing.order] for start in starts)
    return lstm(gates, weight, packing.sizes, *first)


def theirs(model: nn.LSTM, x: Tensor, lengths: list[int], starts: Starts) -> Tensor:
    packing = Packing.of(torch.tensor(lengths))
    packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    states, _ = model(packed, None if starts is None else tuple(start[None] for start in starts))
    return pad_packed_sequence(states, batch_first=True)[0][packing.sequence, packing.position]


@given(lengths_of_sequences, st.booleans())
@CHECKED
def test_states_and_gradients_agree_with_pytorch(lengths: list[int], started: bool) -> None:
    model, (x, starts) = module(), inputs_of(lengths)
    given_starts = starts if started else None
    learnt = (x, *(starts if started else ()), *model.parameters())
    found = ours(model, x, lengths, given_starts)
    expected = theirs(model, x, lengths, given_starts)
    torch.testing.assert_close(found, expected)
    into = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad((found * into).sum(), learnt), torch.autograd.grad((expected * into).sum(), learnt)
    )


@given(lengths_of_sequences, st.booleans())
@CHECKED
def test_second_derivatives_agree_with_pytorch(lengths: list[int], started: bool) -> None:
    model, (x, starts) = module(), inputs_of(lengths)
    given_starts = starts if started else None
    learnt = (x, *(starts if started else ()), *model.parameters())
    found = []
    for function in (ours, theirs):
        states = function(model, x, lengths, given_starts)
        slope = (states.square() * torch.linspace(-1, 1, states.numel(), dtype=states.dtype).view_as(states)).sum()
        first = torch.autograd.grad(slope, learnt, create_graph=True)
        size = sum((part.sin() * (1 + index)).sum() for index, part in enumerate(first)) + states.cos().sum()
        found.append(torch.autograd.grad(size, learnt))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("starts", ["none", "hidden", "both"])
def test_the_derivatives_are_those_of_finite_differences(starts: str) -> None:
    sizes, generator = (2, 2, 1), torch.Generator().manual_seed(1)
    shapes = [(5, 4 * 2), (4 * 2, 2)]
    shapes += {"none": [], "hidden": [(2, 2)], "both": [(2, 2)] * 2}[starts]
    tensors = [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]

    def function(gates: Tensor, weight: Tensor, *first: Tensor) -> Tensor:
        return lstm(gates, weight, sizes, *first)

    assert torch.autograd.gradcheck(function, tensors)
    assert torch.autograd.gradgradcheck(function, tensors)


def test_a_third_derivative_is_refused() -> None:
    x = torch.randn(3, 4 * HIDDEN, requires_grad=True)
    weight = torch.randn(4 * HIDDEN, HIDDEN)
    (first,) = torch.autograd.grad(lstm(x, weight, (2, 1)).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="twice, not three times"):
        torch.autograd.grad(first.square().sum(), x, create_graph=True)


def test_only_needed_gradients_are_computed() -> None:
    x = torch.randn(3, 4 * HIDDEN, requires_grad=True)
    weight = torch.randn(4 * HIDDEN, HIDDEN, requires_grad=True)
    counts = []
    for wanted in ((x,), (x, weight)):
        states = lstm(x, weight, (2, 1))
        with torch.profiler.profile() as profile:
            torch.autograd.grad(states.sum(), wanted)
        counts.append(sum(event.count for event in profile.key_averages() if event.key == "aten::mm"))
    assert counts[1] == counts[0] + 1


@pytest.mark.parametrize("layers", [1, 2])
def test_layers_agree_with_pytorch_where_its_own_cannot_serve(layers: int) -> None:
    torch.manual_seed(5)
    model = nn.LSTM(INPUTS, HIDDEN, layers, batch_first=True).double()
    x = torch.randn(3, 4, INPUTS, dtype=torch.float64, requires_grad=True)
    first = torch.randn(3, HIDDEN, dtype=torch.float64, requires_grad=True) if layers == 1 else None
    learnt = (x, *model.parameters(), *(() if first is None else (first,)))
    called, found = [], []
    model.register_forward_hook(lambda *_: called.append(True))
    for context in (nullcontext(), differentiable_twice()):
        with context:
            states = lstm_layers(model, x, first)
        assert len(called) == 1, "only the first way is PyTorch's"
        found.append((states, torch.autograd.grad((states * states.detach().cos()).sum(), learnt)))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("hidden", [3, 40])
def test_products_in_half_precision_stay_close(hidden: int) -> None:
    sizes = (6, 5, 5, 2)
    tensors = [torch.randn(shape) * 0.3 for shape in ((18, 4 * hidden), (4 * hidden, hidden), (6, hidden))]
    exact, rough = ([tensor.clone().requires_grad_() for tensor in tensors] for _ in range(2))
    into = torch.randn(18, hidden)
    expected = lstm(*exact[:2], sizes, exact[2])
    with torch.autocast("cpu", torch.bfloat16):
        found = lstm(*rough[:2], sizes, rough[2])
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected), "autocast is what chooses the precision"
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    pairs = zip(
        torch.autograd.grad((found * into).sum(), rough),
        torch.autograd.grad((expected * into).sum(), exact),
        strict=True,
    )
    assert all((rough_one - one).norm() < 0.02 * one.norm() for rough_one, one in pairs)


def test_the_memory_layout_of_the_inputs_does_not_matter() -> None:
    sizes = (3, 2)
    shapes = ((5, 4 * HIDDEN), (4 * HIDDEN, HIDDEN), (3, HIDDEN), (3, HIDDEN))
    generator = torch.Generator().manual_seed(1)
    straight = [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]
    into, found = torch.randn(HIDDEN, 5, dtype=torch.float64), []
    for flipped in (False, True):
        gates, weight, *starts = (one.t().contiguous().t() if flipped else one for one in straight)
        states = lstm(gates, weight, sizes, *starts)
        upstream = into.t() if flipped else into.t().contiguous()
        first = torch.autograd.grad(states, straight, upstream, create_graph=True)
        swapped = [one.detach().t().contiguous().t() if flipped else one.detach() for one in first]
        found.append((states, first, torch.autograd.grad(first, straight, swapped)))
    torch.testing.assert_close(*found)
