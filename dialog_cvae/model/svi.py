"""Semi-amortized variational inference (Kim et al., 2018): q's parameters refined by gradient descent on the ELBO.

The recognition network gives the start. Each of K steps, all on q's mean and log variance x,

    p_k = momentum p_{k-1} - clip(gradient at x_k),    x_{k+1} = x_k + rate p_k,

and encoder and decoder learn through all of them. `refine` does this for any objective, by one of two ways to the
gradient of the whole: `exact` keeps the graph of the K steps and differentiates it, gradients included, a second time;
`finite_differences` keeps the K points alone and takes each product of a vector and a second derivative, by
    H u ~ (gradient at x + r u - gradient at x - r u) / 2r,
so that the memory is that of one step and no operation need be differentiable twice.

What the released code (harvardnlp/sa-vae, `optim_n2n.py`) does otherwise, or leaves unsaid in the paper:
- Its objective is the mean over the batch, so a rate of 1 is one of 1 / B for each sentence, and it clips the norm over
  the batch, of mean and log variance each on its own. That is `scope` "batch" here; with "example" each sentence has
  its own gradient and norm, and its refinement doesn't depend on what it is batched with.
- It draws the reparameterisation noise and the dropout masks anew for every step, keeps those of a step for the
  backward pass, and draws once more for the loss after the last step. Here the noise of the steps is `fixed` (one draw
  for all) or `fresh`, dropout is that of the loss, and the loss has noise of its own.
- Its finite differences are forward ones at a fixed r = 1e-5, of clipped gradients (with weights and q's parameters in
  one norm, unlike the forward pass), and what flows back is clipped again at every step. Here they are central, r
  follows the precision and the size of x and u, the clipping is differentiated exactly, and nothing else is clipped.

Shape legend: B examples, Z latent dimensions, K steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dialog_cvae.config import SviConfig
from dialog_cvae.model.latent_model import Encoded, LatentModel, Refine, Vectors
from dialog_cvae.nn import distributions
from dialog_cvae.nn.decoder import Dropout
from dialog_cvae.nn.gru import differentiable_twice
from dialog_cvae.types import Gaussian

Objective = Callable[..., Tensor]
"""(mean, logvar, step, *given) -> (B,): each example's beta-weighted negative ELBO, by its own row of (B, Z) alone."""

_NORM_FLOOR = 1e-6  # added to a norm before it divides, as PyTorch's clipping does


def refine(
    nelbo: Objective,
    start: Gaussian,
    config: SviConfig,
    given: Sequence[Tensor] = (),
    weights: Sequence[Tensor] = (),
) -> Gaussian:
    """K steps from `start` towards a lower `nelbo`.

    Where gradients are enabled the result can be differentiated with respect to `start`, `given` and `weights` (by
    `exact` anything else that `nelbo` is made of is learnt too). Where they are disabled (`torch.no_grad`; not
    `inference_mode`, whose tensors autograd refuses), it is computed all the same and is but a value.

    Args:
        nelbo: called for steps 0 to K - 1, by `finite_differences` several times for each; see `Objective`. By `exact`
            everything in it must be differentiable twice: `lstm` and `token_nll` are, `recurrence.gru` is not.
        start: of the recognition network, (B, Z).
        config: of the steps.
        given: what `nelbo` is given beside q and the step: tensors that were computed, such as what an encoder made of
            a context. `nelbo` must take them from its arguments.
        weights: that `nelbo` uses by itself, such as the decoder's: leaves of the graph.

    Returns:
        The refined Gaussian, (B, Z).

    Raises:
        ValueError: `nelbo` returns something other than (B,), or one of the weights is none.
    """
    if any(not weight.is_leaf for weight in weights):
        raise ValueError("weights must be leaves of the graph; what was computed is given")
    learning = torch.is_grad_enabled()
    if learning and config.gradient == "finite_differences":
        refined = _Refinement.apply(nelbo, config, len(given), *start, *given, *weights)  # type: ignore[no-untyped-call]
        return Gaussian(*refined)
    with torch.enable_grad():
        return _Descent(nelbo, config, tuple(given)).run(start, learning=learning)[-1].point


def in_effect(config: SviConfig | None, model: LatentModel) -> SviConfig | None:
    """The refinement of a model's posteriors; None where it has no steps, or the model no latent dimension."""
    return config if config is not None and config.steps and model.config.latent_size else None


@contextmanager
def without_learning(config: SviConfig | None) -> Iterator[None]:
    """What is scored here is not learnt from: `inference_mode`, but where posteriors are refined, whose gradients are
    taken and whose tensors autograd must accept.
    """
    with torch.inference_mode(config is None), torch.no_grad():
        yield


def in_total(kl: Tensor) -> Tensor:
    """(B, Z) -> (B,)."""
    return kl.sum(-1)


def refinement(
    model: LatentModel,
    batch: Any,
    config: SviConfig,
    noise: Tensor,
    beta: float,
    dropout: Dropout | None = None,
    divergence: Callable[[Tensor], Tensor] = in_total,
) -> Refine:
    """The refinement of a model's posteriors of a batch; the bag of words has no part in its objective.

    The loss must have noise of its own: what was refined for a draw of z is no posterior for that draw any more, and
    the sum of its terms no bound.

    Args:
        model: whose weights are learnt through it.
        batch: of the model's kind.
        config: of the steps.
        noise: (S, B, Z), S being 1 for all steps together or K; see `noise_of_steps`.
        beta: weight of the KL.
        dropout: in the decoder, in training: the same in all steps.
        divergence: from each dimension's KL, (B, Z), to what beta weighs, (B,), where that is not their sum.
    """
    twice = torch.is_grad_enabled() and config.gradient == "exact"

    def nelbo(mean: Tensor, logvar: Tensor, step: int, condition: Tensor, *prior: Tensor) -> Tensor:
        q = Gaussian(mean, logvar)
        z = distributions.sample(q, noise[step % len(noise)])
        known = Vectors(condition, condition[:, :0])  # a decoder has no use for the response's vector
        with differentiable_twice() if twice else nullcontext():
            reconstruction = model.reconstruction(batch, known, z, dropout)
        return reconstruction + beta * divergence(distributions.kl(q, Gaussian(*prior)))

    def refined(encoded: Encoded, posterior: Gaussian, prior: Gaussian) -> Gaussian:
        weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return refine(nelbo, posterior, config, (encoded.condition, *prior), weights)

    return refined


def noise_of_steps(config: SviConfig, rng: np.random.Generator, size: tuple[int, int]) -> Tensor:
    """The noise that a refinement takes for (B, Z): (S, B, Z), drawn example by example."""
    steps = config.steps if config.noise == "fresh" else 1
    drawn = rng.standard_normal((size[0], steps, size[1]), dtype=np.float32)
    return torch.from_numpy(drawn).transpose(0, 1)


_OF_A_STEP = {"exact": 6.0, "finite_differences": 8.0}


def work(once: float, each_step: float, config: SviConfig) -> float:
    """Matrix products of an update that refines, in units of those of one that does not: the least by such steps.

    An ordinary update goes forward, back to the inputs and back to the weights: 3 products of everything. A refined one
    does that too, at the end. Before, each step goes forward and back to z: 2. Differentiated exactly, either of these
    is gone back through to what was multiplied and to the weights: 4 more. By finite differences, forward, back to the
    inputs and to the weights at two places: 6 more.

    Args:
        once: multiplications with weights in the forward pass of what z has no part in: the encoder and, where they are
            shared by the steps, the decoder's products with its input words.
        each_step: those of the rest of the decoder.
        config: of the steps.
    """
    return 1.0 + config.steps * _OF_A_STEP[config.gradient] / 3.0 * each_step / (once + each_step)


class _Step(NamedTuple):
    """Where a step begins, and the gradient there before clipping; both of the last one are (point, None)."""

    point: Gaussian
    gradient: Gaussian | None


class _Descent(NamedTuple):
    """See `refine`."""

    nelbo: Objective
    config: SviConfig
    given: tuple[Tensor, ...]

    def run(self, start: Gaussian, *, learning: bool) -> list[_Step]:
        """K + 1 points, the first the start; with their graph if `learning`."""
        point, velocity = start, Gaussian(torch.zeros_like(start.mean), torch.zeros_like(start.logvar))
        steps = []
        for step in range(self.config.steps):
            if not learning:
                point = Gaussian(*(tensor.detach() for tensor in point))
            here = Gaussian(*(tensor if tensor.requires_grad else tensor.detach().requires_grad_() for tensor in point))
            gradient = Gaussian(*torch.autograd.grad(self.loss(here, step), here, create_graph=learning))
            steps.append(_Step(point, gradient))
            clipped = self.clipped(gradient)
            velocity = Gaussian(*(self.config.momentum * p - g for p, g in zip(velocity, clipped, strict=True)))
            point = Gaussian(*(x + self.config.rate * p for x, p in zip(here, velocity, strict=True)))
        if not learning:
            point = Gaussian(*(tensor.detach() for tensor in point))
        return [*steps, _Step(point, None)]

    def loss(self, point: Gaussian, step: int) -> Tensor:
        """The scalar to descend on: the batch's mean, or, whose gradients are each example's own, its sum."""
        values = self.values(point, step)
        return values.mean() if self.config.scope == "batch" else values.sum()

    def values(self, point: Gaussian, step: int) -> Tensor:
        """(B,) what `nelbo` says."""
        values = self.nelbo(point.mean, point.logvar, step, *self.given)
        if values.shape != point.mean.shape[:1]:
            raise ValueError(f"nelbo must return ({len(point.mean)},), but returns {tuple(values.shape)}")
        return values

    def clipped(self, gradient: Gaussian) -> Gaussian:
        """Mean's and log variance's gradients, each scaled down where its norm is above the limit."""
        limit = self.config.clip_norm
        if limit is None:
            return gradient
        axes = (0, 1) if self.config.scope == "batch" else (1,)
        norms = (torch.linalg.vector_norm(tensor, dim=axes, keepdim=True) for tensor in gradient)
        factors = ((limit / (norm + _NORM_FLOOR)).clamp(max=1.0) for norm in norms)
        return Gaussian(*(tensor * factor for tensor, factor in zip(gradient, factors, strict=True)))

    def second_order(self, step: int, point: Gaussian, along: Gaussian, learnt: Sequence[Tensor]) -> list[Tensor]:
        """The gradients, of the point and of what is learnt, of the loss's slope at the point along a vector.

        That slope is taken by central differences, over a distance that is for each example the cube root of the
        precision, relative to the size of its x: there rounding and curvature err alike.
        """
        size = torch.cat(point, dim=1).norm(dim=1) + 1.0
        norm = torch.cat(along, dim=1).norm(dim=1)
        radius = torch.finfo(norm.dtype).eps ** (1 / 3) * size / torch.where(norm > 0, norm, 1.0)  # (B,)
        here = Gaussian(*(tensor.detach().requires_grad_() for tensor in point))
        ends = []
        for sign in (1.0, -1.0):
            moved = (x + sign * radius[:, None] * u for x, u in zip(here, along, strict=True))
            ends.append(self.values(Gaussian(*moved), step))
        slopes = (ends[0] - ends[1]) / (2.0 * radius)
        slope = slopes.mean() if self.config.scope == "batch" else slopes.sum()
        return list(torch.autograd.grad(slope, (*here, *learnt), allow_unused=True, materialize_grads=True))


class _Refinement(torch.autograd.Function):
    """The refinement that remembers its points alone."""

    @staticmethod
    def forward(
        ctx: Any, nelbo: Objective, config: SviConfig, count: int, mean: Tensor, logvar: Tensor, *rest: Tensor
    ) -> tuple[Tensor, Tensor]:
        # What is given is cut from its graph, so that differentiating the objective ends at it.
        given = tuple(tensor.detach().requires_grad_(tensor.requires_grad) for tensor in rest[:count])
        descent = _Descent(nelbo, config, given)
        with torch.enable_grad():
            steps = descent.run(Gaussian(mean.detach(), logvar.detach()), learning=False)
        ctx.save_for_backward(*rest)  # so that autograd sees whether they were changed in the meantime
        ctx.descent, ctx.steps = descent, steps[:-1]
        end = steps[-1].point
        return (
            end.mean.clone(),
            end.logvar.clone(),
        )  # by no steps it is the start, and autograd takes no output for input

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        descent, rest = ctx.descent, ctx.saved_tensors
        inner = (*descent.given, *rest[len(descent.given) :])
        totals = [torch.zeros_like(tensor) if tensor.requires_grad else None for tensor in inner]
        learnt = [(tensor, total) for tensor, total in zip(inner, totals, strict=True) if total is not None]
        to_point = Gaussian(*grads)
        to_velocity = Gaussian(*(torch.zeros_like(grad) for grad in grads))
        for step in reversed(range(len(ctx.steps))):
            point, gradient = ctx.steps[step]
            to_velocity = Gaussian(*(p + descent.config.rate * x for p, x in zip(to_velocity, to_point, strict=True)))
            with torch.enable_grad():
                free = Gaussian(*(tensor.detach().requires_grad_() for tensor in gradient))
                to_gradient = Gaussian(*torch.autograd.grad(descent.clipped(free), free, to_velocity))
                found = descent.second_order(step, point, to_gradient, [tensor for tensor, _ in learnt])
            to_point = Gaussian(*(x - h for x, h in zip(to_point, found, strict=False)))
            for (_, total), part in zip(learnt, found[2:], strict=True):
                total -= part
            to_velocity = Gaussian(*(descent.config.momentum * p for p in to_velocity))
        return None, None, None, *to_point, *totals
