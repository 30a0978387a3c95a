"""Semi-amortized inference: closed forms, and the gradient of the whole against its finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dialog_cvae.data.batches import collate
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.model.cvae import CVAE, TensorBatch
from dialog_cvae.model.descent import Objective, refine
from dialog_cvae.model.latent_model import Vectors
from dialog_cvae.model.svi import Refiner, noise_of_steps
from dialog_cvae.model_config import SviConfig
from dialog_cvae.nn import distributions
from dialog_cvae.nn.cross_entropy import token_nll
from dialog_cvae.nn.lstm import lstm
from dialog_cvae.types import Gaussian

B, Z, V = 3, 2, 4
WAYS: tuple[Literal["exact", "finite_differences"], ...] = ("exact", "finite_differences")
SCOPES: tuple[Literal["batch", "example"], ...] = ("batch", "example")


def drawn(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def words(weight: Tensor, bias: Tensor, counts: Tensor, noise: Tensor, beta: float = 0.7) -> Objective:
    """Negative ELBO of a bag of words whose logits are a nonlinear map of z; noise is (K, B, Z)."""

    def nelbo(mean: Tensor, logvar: Tensor, step: int) -> Tensor:
        q = Gaussian(mean, logvar)
        z = distributions.sample(q, noise[step])
        logits = torch.tanh(z @ weight.t() + bias) * 3.0
        prior = Gaussian(torch.zeros_like(mean), torch.zeros_like(mean))
        return -(torch.log_softmax(logits, -1) * counts).sum(-1) + beta * distributions.kl(q, prior).sum(-1)

    return nelbo


def tensors(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """mean, logvar, weight, bias."""
    shapes = ((B, Z), (B, Z), (V, Z), (V,))
    return tuple(drawn(*shape, seed=seed + i).requires_grad_() for i, shape in enumerate(shapes))  # type: ignore[return-value]


def unrolled(config: SviConfig, *, noise_steps: int) -> Callable[..., tuple[Tensor, ...]]:
    """The whole map from start and weights to what is learnt from: the refined parameters."""
    counts = torch.tensor([[3.0, 0, 1, 0], [0, 2, 2, 1], [9, 0, 0, 5]], dtype=torch.float64)
    noise = drawn(noise_steps, B, Z, seed=9)

    def whole(mean: Tensor, logvar: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        return refine(words(weight, bias, counts, noise), Gaussian(mean, logvar), config, weights=(weight, bias))

    return whole


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("clip_norm", [None, 0.3, 2.0])
@pytest.mark.parametrize("gradient", WAYS)
def test_the_gradient_is_that_of_finite_differences_of_the_whole(scope, clip_norm, gradient):
    config = SviConfig(steps=4, rate=0.3, momentum=0.5, clip_norm=clip_norm, scope=scope, gradient=gradient)
    assert torch.autograd.gradcheck(unrolled(config, noise_steps=4), tensors(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("scope", SCOPES)
def test_some_of_these_gradients_were_clipped_and_some_not(scope):
    ends = {
        limit: unrolled(SviConfig(steps=1, rate=0.3, clip_norm=limit, scope=scope), noise_steps=1)(*tensors())
        for limit in (None, 0.3, 2.0, 1e6)
    }
    torch.testing.assert_close(ends[1e6], ends[None])
    moved = {limit: (Gaussian(*end).mean - tensors()[0]).detach() / 0.3 for limit, end in ends.items()}
    norm = (lambda x: x.norm(dim=1)) if scope == "example" else (lambda x: x.norm()[None])
    torch.testing.assert_close(norm(moved[0.3]), torch.full_like(norm(moved[0.3]), 0.3), rtol=1e-5, atol=0)
    torch.testing.assert_close(norm(moved[2.0]), norm(moved[None]).clamp(max=2.0), rtol=1e-5, atol=0)
    assert norm(moved[None]).min() > 0.3
    assert (norm(moved[None]).max() > 2.0, norm(moved[None]).min() > 2.0) == (True, scope == "batch")


@given(
    steps=st.integers(0, 6),
    rate=st.floats(0.05, 1.0),
    momentum=st.floats(0.0, 0.9),
    clip_norm=st.none() | st.floats(0.05, 5.0),
    scope=st.sampled_from(SCOPES),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_both_ways_give_one_value_and_one_gradient(steps, rate, momentum, clip_norm, scope, seed):
    found = []
    for gradient in WAYS:
        config = SviConfig(
            steps=steps, rate=rate, momentum=momentum, clip_norm=clip_norm, scope=scope, gradient=gradient
        )
        learnt = tensors(seed)
        end = unrolled(config, noise_steps=max(steps, 1))(*learnt)
        into = [drawn(B, Z, seed=seed + 50), drawn(B, Z, seed=seed + 51)]
        slope = sum((x * y).sum() for x, y in zip(end, into, strict=True))
        found.append((end, torch.autograd.grad(slope, learnt, allow_unused=True, materialize_grads=True)))
    (exact, exact_gradient), (other, other_gradient) = found
    torch.testing.assert_close(other, exact)
    scale = max(float(g.abs().max()) for g in exact_gradient)
    torch.testing.assert_close(other_gradient, exact_gradient, rtol=1e-5, atol=1e-6 * max(1.0, scale))


def quadratic(hessian: Tensor) -> Objective:
    """(x - a)^T A (x - a) / 2 with x = [mean; logvar]."""

    def nelbo(mean: Tensor, logvar: Tensor, step: int, a: Tensor) -> Tensor:
        difference = torch.cat((mean, logvar), dim=1) - a
        return 0.5 * ((difference @ hessian) * difference).sum(1)

    return nelbo


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("gradient", WAYS)
def test_on_a_quadratic_it_is_a_power_of_a_matrix(scope, gradient):
    steps, rate, momentum = 7, 0.4, 0.6
    root = drawn(2 * Z, 2 * Z, seed=4, scale=0.5)
    hessian, a = root @ root.t(), drawn(B, 2 * Z, seed=5).requires_grad_()
    start = drawn(B, 2 * Z, seed=6).requires_grad_()
    config = SviConfig(steps=steps, rate=rate, momentum=momentum, clip_norm=None, scope=scope, gradient=gradient)
    refined = torch.cat(refine(quadratic(hessian), Gaussian(*start.chunk(2, dim=1)), config, (a,)), dim=1)
    # (x - a, p) -> (x - a + rate p', p') with p' = momentum p - A (x - a)
    step_hessian = hessian / B if scope == "batch" else hessian
    unit = torch.eye(2 * Z, dtype=torch.float64)
    once = torch.cat(
        (
            torch.cat((unit - rate * step_hessian, rate * momentum * unit), dim=1),
            torch.cat((-step_hessian, momentum * unit), dim=1),
        )
    )
    power = torch.linalg.matrix_power(once, steps)[: 2 * Z, : 2 * Z]  # the first p is 0
    torch.testing.assert_close(refined, a + (start - a) @ power.t())
    into = drawn(B, 2 * Z, seed=7)
    to_start, to_a = torch.autograd.grad((refined * into).sum(), (start, a))
    torch.testing.assert_close(to_start, into @ power)
    torch.testing.assert_close(to_a, into - into @ power)


def test_a_step_by_hand():
    # gradients 3 and 4 of the examples' means, 0 of the log variances; the batch's mean halves them: norm 2.5
    def nelbo(mean: Tensor, logvar: Tensor, step: int) -> Tensor:
        return (mean * torch.tensor([[3.0], [4.0]])).sum(1) + 0.0 * logvar.sum(1)

    start = Gaussian(torch.zeros(2, 1), torch.zeros(2, 1))
    shared = SviConfig(steps=1, rate=2.0, clip_norm=1.0, scope="batch")
    found = refine(nelbo, start, shared)
    torch.testing.assert_close(found.mean, -2.0 * torch.tensor([[1.5], [2.0]]) / 2.5, rtol=1e-5, atol=0)
    torch.testing.assert_close(found.logvar, torch.zeros(2, 1))
    alone = shared.model_copy(update={"scope": "example", "clip_norm": 3.5})
    torch.testing.assert_close(refine(nelbo, start, alone).mean, -2.0 * torch.tensor([[3.0], [3.5]]), rtol=1e-5, atol=0)
    # momentum: p is 3, then .5 * 3 + 3
    twice = SviConfig(steps=2, rate=1.0, clip_norm=None, scope="example")
    torch.testing.assert_close(refine(nelbo, start, twice).mean, -torch.tensor([[7.5], [10.0]]))


@pytest.mark.parametrize("gradient", WAYS)
def test_it_lowers_the_objective_and_needs_no_gradient_to_be_enabled(gradient):
    mean, logvar, weight, bias = tensors()
    counts, noise = torch.ones(B, V, dtype=torch.float64) * 4, drawn(1, B, Z, seed=9).expand(20, B, Z)
    nelbo = words(weight, bias, counts, noise)
    config = SviConfig(steps=20, rate=0.1, clip_norm=5.0, scope="example", gradient=gradient)
    learnt = refine(nelbo, Gaussian(mean, logvar), config, weights=(weight, bias))
    with torch.no_grad():
        value = refine(nelbo, Gaussian(mean, logvar), config, weights=(weight, bias))
        assert (nelbo(*value, 0) < nelbo(mean, logvar, 0)).all()
    assert not value.mean.requires_grad
    torch.testing.assert_close(tuple(value), tuple(tensor.detach() for tensor in learnt))


def test_an_example_of_its_own_scope_does_not_see_the_others():
    config = SviConfig(steps=5, rate=0.4, clip_norm=0.5, scope="example")
    mean, logvar, weight, bias = tensors()
    counts, noise = torch.ones(B, V, dtype=torch.float64) * 4, drawn(5, B, Z, seed=9)
    together = refine(words(weight, bias, counts, noise), Gaussian(mean, logvar), config)
    for i in range(B):
        one = slice(i, i + 1)
        alone = refine(words(weight, bias, counts[one], noise[:, one]), Gaussian(mean[one], logvar[one]), config)
        torch.testing.assert_close(alone.mean, together.mean[one])


@pytest.mark.parametrize("gradient", WAYS)
def test_no_steps_change_nothing_and_pass_the_gradient_on(gradient):
    mean, logvar, weight, bias = tensors()
    config = SviConfig(steps=0, gradient=gradient)
    end = unrolled(config, noise_steps=1)(mean, logvar, weight, bias)
    assert torch.equal(end[0], mean)
    assert torch.equal(torch.autograd.grad(end[1].sum(), logvar)[0], torch.ones(B, Z, dtype=torch.float64))


def test_what_is_given_may_come_from_the_weights_and_may_need_no_gradient():
    mean, logvar, weight, bias = tensors()
    counts, noise = torch.ones(B, V, dtype=torch.float64), drawn(3, B, Z, seed=9)
    gradients = []
    for way in WAYS:
        doubled, fixed = weight.sin() * 2, bias.detach()
        config = SviConfig(steps=3, rate=0.3, gradient=way)

        def nelbo(mean: Tensor, logvar: Tensor, step: int, one: Tensor, other: Tensor) -> Tensor:
            return words(one + 0.1 * weight, other, counts, noise)(mean, logvar, step)

        end = refine(nelbo, Gaussian(mean, logvar), config, (doubled, fixed), (weight,))
        gradients.append(torch.autograd.grad(end[0].square().sum() + doubled.sum(), (mean, weight)))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-6)


def test_a_weight_that_was_computed_is_refused():
    mean, logvar, weight, bias = tensors()
    nelbo = words(weight, bias, torch.ones(B, V), drawn(1, B, Z))
    with pytest.raises(ValueError, match="weights must be leaves"):
        refine(nelbo, Gaussian(mean, logvar), SviConfig(steps=1), weights=(weight * 2,))


def test_a_weight_changed_before_the_backward_pass_is_seen():
    mean, logvar, weight, bias = tensors()
    config = SviConfig(steps=2, gradient="finite_differences")
    end = unrolled(config, noise_steps=2)(mean, logvar, weight, bias)
    with torch.no_grad():
        weight += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        end[0].sum().backward()


def test_an_objective_of_another_shape_is_refused():
    start = Gaussian(torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"nelbo must return \(3,\), but returns \(3, 2\)"):
        refine(lambda mean, logvar, step: mean + logvar, start, SviConfig(steps=1))


@pytest.mark.parametrize(("field", "value"), [("steps", -1), ("rate", 0.0), ("momentum", 1.0), ("clip_norm", 0.0)])
def test_what_makes_no_descent_is_refused(field, value):
    with pytest.raises(ValueError, match=field):
        SviConfig(**{field: value})


def test_single_precision_comes_close():
    found = []
    for kind, way in ((torch.float64, "exact"), (torch.float32, "exact"), (torch.float32, "finite_differences")):
        mean, logvar, weight, bias = (tensor.detach().to(kind).requires_grad_() for tensor in tensors())
        counts, noise = torch.ones(B, V, dtype=kind) * 4, drawn(5, B, Z, seed=9).to(kind)
        config = SviConfig(steps=5, rate=0.3, gradient=way)
        end = refine(words(weight, bias, counts, noise), Gaussian(mean, logvar), config, weights=(weight, bias))
        loss = end.mean.sum() + end.logvar.square().sum()
        found.append(torch.cat([g.flatten().double() for g in torch.autograd.grad(loss, (mean, logvar, weight, bias))]))
    reference, exact, differences = found
    assert (exact - reference).norm() < 1e-5 * reference.norm()
    assert (differences - reference).norm() < 1e-3 * reference.norm()


def test_differences_are_in_single_precision_even_if_the_backward_pass_is_under_autocast():
    found = []
    for way, half, half_backward in (
        ("exact", False, False),
        *((WAYS[1], True, backward) for backward in (False, True)),
    ):
        mean, logvar, weight, bias = (tensor.detach().float().requires_grad_() for tensor in tensors())
        counts, noise = torch.ones(B, V) * 4, drawn(1, B, Z, seed=9).float()
        config = SviConfig(steps=1, rate=0.3, clip_norm=None, gradient=way)  # one step, at the same point in all cases
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            end = refine(words(weight, bias, counts, noise), Gaussian(mean, logvar), config, weights=(weight, bias))
        loss = end.mean.sum() + end.logvar.square().sum()
        with torch.autocast("cpu", torch.bfloat16, enabled=half_backward):
            found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, (mean, logvar, weight, bias))]))
    reference, outside, inside = found
    assert torch.equal(inside, outside)
    assert (inside - reference).norm() < 0.03 * reference.norm()


def sentence_nelbo(mean: Tensor, logvar: Tensor, weights: list[Tensor], noise: Tensor) -> Tensor:
    """Negative ELBO of three sentences by an LSTM that z starts, in the operations that sentence models are made of."""
    sizes, sequence = (3, 2, 1), torch.tensor([0, 1, 2, 0, 1, 0])  # lengths 3, 2, 1
    targets = torch.tensor([1, 4, 2, 0, 3, 3])
    inputs, weight, start, output, bias = weights
    q = Gaussian(mean, logvar)
    hidden = distributions.sample(q, noise) @ start.t()
    states = lstm(inputs, weight, sizes, hidden)
    nll = token_nll(states, output, bias, targets)
    prior = Gaussian(torch.zeros_like(mean), torch.zeros_like(mean))
    return nll.new_zeros(B).index_add(0, sequence, nll) + distributions.kl(q, prior).sum(-1)


@pytest.mark.parametrize("gradient", WAYS)
def test_through_an_lstm_and_a_softmax_everything_is_learnt(gradient):
    hidden, vocabulary = 3, 5
    shapes = [(B, Z), (B, Z), (6, 4 * hidden), (4 * hidden, hidden), (hidden, Z), (vocabulary, hidden), (vocabulary,)]
    learnt = [drawn(*shape, seed=20 + i).requires_grad_() for i, shape in enumerate(shapes)]
    config = SviConfig(steps=3, rate=0.5, clip_norm=0.4, scope="example", gradient=gradient)
    noise = drawn(4, B, Z, seed=8)

    def loss(mean: Tensor, logvar: Tensor, *weights: Tensor) -> Tensor:
        def nelbo(one: Tensor, other: Tensor, step: int) -> Tensor:
            return sentence_nelbo(one, other, list(weights), noise[step])

        return sentence_nelbo(
            *refine(nelbo, Gaussian(mean, logvar), config, weights=weights), list(weights), noise[3]
        ).mean()

    assert torch.autograd.gradcheck(loss, learnt, atol=1e-6, rtol=1e-4, fast_mode=True)


def test_the_dialog_model_learns_through_it(encoded: EncodedCorpus, tiny_model: CVAE):
    model = tiny_model.double()
    batch = TensorBatch.from_arrays(collate(encoded, encoded.responses[:4], model.config.max_context))
    noise = drawn(2, 4, model.config.latent_size)
    config = SviConfig(steps=3, rate=0.5, clip_norm=0.5, scope="example", gradient="finite_differences")

    def loss() -> Tensor:
        encoded_batch = model.encode(batch)
        prior, condition = model.prior(encoded_batch.condition), encoded_batch.condition

        def nelbo(mean: Tensor, logvar: Tensor, step: int, condition: Tensor, *prior: Tensor) -> Tensor:
            z = distributions.sample(Gaussian(mean, logvar), noise[0])
            kl = distributions.kl(Gaussian(mean, logvar), Gaussian(*prior)).sum(-1)
            return model.reconstruction(batch, Vectors(condition, condition), z) + 0.5 * kl

        weights = (*model.embedding.parameters(), *model.decoder.parameters())
        refined = refine(nelbo, model.posterior(encoded_batch), config, (condition, *prior), weights)
        z = distributions.sample(refined, noise[1])
        return (
            model.reconstruction(batch, Vectors(condition, condition), z) + distributions.kl(refined, prior).sum(-1)
        ).mean()

    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss(), parameters, allow_unused=True, materialize_grads=True)
    along = [torch.randn_like(parameter) for parameter in parameters]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, along, strict=True))
    ends = []
    for step in (1e-5, -2e-5):
        with torch.no_grad():
            for parameter, direction in zip(parameters, along, strict=True):
                parameter += step * direction
            ends.append(float(loss()))
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope, rel=1e-5)


# Refinement while a model is scored.


@pytest.mark.parametrize("noise", ["fixed", "fresh"])
def test_noise_of_a_batch_is_drawn_example_by_example(tiny_model: CVAE, noise: Literal["fixed", "fresh"]) -> None:
    """One generator for a whole batch, in one draw or one example at a time; or one generator for each."""
    config, latent = SviConfig(steps=3, noise=noise), tiny_model.config.latent_size
    refiner = Refiner(tiny_model, config)
    rng = np.random.default_rng(5)
    found = refiner.noise([rng] * 4)
    assert found is not None
    assert torch.equal(found, noise_of_steps(config, np.random.default_rng(5), (4, latent)))
    own = refiner.noise(np.random.default_rng(seed) for seed in range(4))
    assert own is not None
    assert torch.equal(own[:, 2:3], noise_of_steps(config, np.random.default_rng(2), (1, latent)))


@pytest.mark.parametrize("config", [None, SviConfig(steps=0)])
def test_without_steps_nothing_is_refined(tiny_model: CVAE, config: SviConfig | None) -> None:
    refiner = Refiner(tiny_model, config)
    with refiner.scoring():
        assert torch.is_inference_mode_enabled()
    assert refiner.noise([np.random.default_rng(0)]) is None
    assert refiner.refine(None, None) is None
    with Refiner(tiny_model, SviConfig(steps=1)).scoring():
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_grad_enabled()
