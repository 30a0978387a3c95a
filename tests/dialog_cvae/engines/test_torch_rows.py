"""Products and recurrences by rows: PyTorch's results, and to the bit the same whatever surrounds a row."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from dialog_cvae.engines.base import ROWS
from dialog_cvae.engines.torch_rows import RowGRU, RowProduct, by_rows

WIDTHS = [(1, 1), (16, 20), (37, 131), (64, 997), (200, 1200), (400, 10005), (838, 400), (300, 6001)]

pytestmark = pytest.mark.usefixtures("any_threads")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def a_product(inputs: int, outputs: int) -> tuple[RowProduct, Tensor, Tensor]:
    weight, bias = random(outputs, inputs, seed=1), random(outputs, seed=2)
    return RowProduct(weight, bias), weight, bias


def a_recurrence(inputs: int, hidden: int) -> tuple[torch.nn.GRU, Callable[[Tensor, Tensor], Tensor]]:
    """PyTorch's GRU and one step of ours with its parameters."""
    torch.manual_seed(3)
    reference = torch.nn.GRU(inputs, hidden, batch_first=True)
    product = RowProduct(reference.weight_ih_l0, reference.bias_ih_l0)
    gru = RowGRU(reference.weight_hh_l0, reference.bias_hh_l0)
    return reference, torch.no_grad()(lambda x, state: gru.step(product(x), state))


@pytest.mark.parametrize(("inputs", "outputs"), WIDTHS)
@pytest.mark.parametrize("rows", [1, ROWS, 2 * ROWS + 3])
def test_a_product_is_the_product(inputs, outputs, rows):
    product, weight, bias = a_product(inputs, outputs)
    x = random(rows, inputs)
    expected = x.double() @ weight.double().T + bias.double()
    found = by_rows(product, x)
    assert found.shape == (rows, outputs)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5 * inputs**0.5)


@pytest.mark.parametrize(("inputs", "outputs"), WIDTHS)
def test_neither_company_nor_place_nor_threads_change_a_bit_of_a_product(inputs, outputs):
    product, _, _ = a_product(inputs, outputs)
    x = random(3 * ROWS, inputs)
    torch.set_num_threads(1)
    expected = by_rows(product, x)
    for count in (1, 2, ROWS - 1, ROWS + 1, 2 * ROWS):
        assert torch.equal(by_rows(product, x[:count]), expected[:count])
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        order = torch.randperm(3 * ROWS, generator=torch.Generator().manual_seed(threads))
        assert torch.equal(by_rows(product, x[order]), expected[order])


@pytest.mark.parametrize(("inputs", "hidden"), [(1, 1), (3, 5), (12, 37), (200, 400), (64, 129), (20, 1100)])
def test_neither_company_nor_place_nor_threads_change_a_bit_of_a_recurrence(inputs, hidden):
    _, step = a_recurrence(inputs, hidden)
    x, state = random(2 * ROWS, inputs), random(2 * ROWS, hidden, seed=4)
    torch.set_num_threads(1)
    expected = by_rows(step, x, state)
    assert torch.equal(by_rows(step, x[:3], state[:3]), expected[:3])
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        for shift in range(1, ROWS):
            assert torch.equal(by_rows(step, x.roll(shift, 0), state.roll(shift, 0)), expected.roll(shift, 0))


@settings(deadline=None, derandomize=True, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=ROWS), inputs=st.integers(1, 9), hidden=st.integers(1, 9)
)
def test_a_recurrence_is_pytorchs_up_to_the_end_of_each_row(lengths, inputs, hidden):
    reference, _ = a_recurrence(inputs, hidden)
    gru = RowGRU(reference.weight_hh_l0, reference.bias_hh_l0)
    lengths = torch.tensor(lengths + [0] * (ROWS - len(lengths)))
    x = random(ROWS, 7, inputs)
    with torch.no_grad():
        gates = torch.nn.functional.linear(x, reference.weight_ih_l0, reference.bias_ih_l0)
        found = gru.last(lambda step: gates[:, step].clone(), lengths)
        states = torch.cat((torch.zeros(ROWS, 1, hidden), reference(x)[0]), dim=1)
    torch.testing.assert_close(found, states[torch.arange(ROWS), lengths], rtol=1e-5, atol=1e-6)


def test_a_function_is_given_its_rows_16_at_a_time():
    shapes = []

    def double(x: Tensor, y: Tensor) -> Tensor:
        shapes.append((tuple(x.shape), tuple(y.shape)))
        return x + y[:, 0]

    x = torch.arange(2 * ROWS + 1)
    torch.testing.assert_close(by_rows(double, x, x[:, None]), 2 * x)
    assert shapes == [((ROWS,), (ROWS, 1))] * 3


def test_a_product_without_onednn_is_the_same_but_for_rounding(monkeypatch):
    product, weight, bias = a_product(40, 50)
    monkeypatch.setattr("dialog_cvae.nn.matmul._onednn", lambda _: None)
    plain = RowProduct(weight, bias)
    x = random(ROWS, 40)
    torch.testing.assert_close(plain(x), product(x))
