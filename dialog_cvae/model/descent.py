"""Differentiable gradient descent on the parameters of a Gaussian, for any objective; see `svi`.

Open it to change a step of the descent or its gradient. With q's mean and log variance as x, each of K steps is

    p_k = momentum p_{k-1} - clip(gradient at x_k),    x_{k+1} = x_k + rate p_k.

There are two ways to differentiate the descent. `exact` keeps the graph of the K steps and differentiates it, gradients
included. `finite_differences` keeps only the K points and computes each product of a vector and a second derivative as
    H u ~ (gradient at x + r u - gradient at x - r u) / 2r.
It needs the memory of one step, and no operation has to be differentiable twice. The differences are computed in the
precision of x, without autocast: r is so small that between values from products in half precision it would only find
rounding errors.

Shape legend: B examples, Z latent dimensions, K steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dialog_cvae.model_config import SviConfig
from dialog_cvae.types import Gaussian

Objective = Callable[..., Tensor]
"""(mean, logvar, step, *given) -> (B,): beta-weighted negative ELBO of each example, from its own row of (B, Z)."""

_NORM_FLOOR = 1e-6  # added to a norm before dividing by it, as in PyTorch's clipping


def refine(
    nelbo: Objective,
    start: Gaussian,
    config: SviConfig,
    given: Sequence[Tensor] = (),
    weights: Sequence[Tensor] = (),
) -> Gaussian:
    """K steps from `start` towards a lower `nelbo`.

    If gradients are enabled, the result can be differentiated with respect to `start`, `given` and `weights` (with
    `exact`, also anything else that `nelbo` depends on). If they are disabled, the result has no gradient. Disable them
    with `torch.no_grad`, not `inference_mode`, whose tensors autograd refuses.

    Args:
        nelbo: called for steps 0 to K - 1, with `finite_differences` several times per step; see `Objective`. With
            `exact` everything in it must be differentiable twice: `lstm` and `token_nll` are, `gru` is not.
        start: q from the recognition network, (B, Z).
        config: settings of the steps.
        given: further arguments of `nelbo`: computed tensors, such as an encoded context. `nelbo` must take them from
            its arguments.
        weights: weights that `nelbo` uses directly, such as the decoder's; leaves of the graph.

    Returns:
        The refined Gaussian, (B, Z).

    Raises:
        ValueError: `nelbo` does not return (B,), or one of the weights is not a leaf.
    """
    if any(not weight.is_leaf for weight in weights):
        raise ValueError("weights must be leaves of the graph; pass computed tensors as given")
    learning = torch.is_grad_enabled()
    if learning and config.gradient == "finite_differences":
        refined = _Refinement.apply(nelbo, config, len(given), *start, *given, *weights)  # type: ignore[no-untyped-call]
        return Gaussian(*refined)
    with torch.enable_grad():
        return _Descent(nelbo, config, tuple(given)).run(start, learning=learning)[-1].point


class _Step(NamedTuple):
    """The point where a step begins, and the unclipped gradient there (None for the last point)."""

    point: Gaussian
    gradient: Gaussian | None


class _Descent(NamedTuple):
    """An objective and its settings; see `refine`."""

    nelbo: Objective
    config: SviConfig
    given: tuple[Tensor, ...]

    def run(self, start: Gaussian, *, learning: bool) -> list[_Step]:
        """K + 1 points, beginning with `start`; with their graph if `learning`."""
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
        """The scalar to minimise: the batch's mean, or its sum, which gives each example its own gradient."""
        values = self.values(point, step)
        return values.mean() if self.config.scope == "batch" else values.sum()

    def values(self, point: Gaussian, step: int) -> Tensor:
        """(B,) values of the objective."""
        values = self.nelbo(point.mean, point.logvar, step, *self.given)
        if values.shape != point.mean.shape[:1]:
            raise ValueError(f"nelbo must return ({len(point.mean)},), but returns {tuple(values.shape)}")
        return values

    def clipped(self, gradient: Gaussian) -> Gaussian:
        """The gradients of mean and log variance, each scaled down if its norm is above the limit."""
        limit = self.config.clip_norm
        if limit is None:
            return gradient
        axes = (0, 1) if self.config.scope == "batch" else (1,)
        norms = (torch.linalg.vector_norm(tensor, dim=axes, keepdim=True) for tensor in gradient)
        factors = ((limit / (norm + _NORM_FLOOR)).clamp(max=1.0) for norm in norms)
        return Gaussian(*(tensor * factor for tensor, factor in zip(gradient, factors, strict=True)))

    def second_order(self, step: int, point: Gaussian, along: Gaussian, learnt: Sequence[Tensor]) -> list[Tensor]:
        """Gradients with respect to the point and `learnt`, of the slope of the loss at the point along a vector.

        The slope is a central difference. For each example its distance is the cube root of the precision of x,
        relative to the size of x: at this distance the errors from rounding and from curvature are about equal.
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
    """The refinement by `finite_differences`, which saves only its points."""

    @staticmethod
    def forward(
        ctx: Any, nelbo: Objective, config: SviConfig, count: int, mean: Tensor, logvar: Tensor, *rest: Tensor
    ) -> tuple[Tensor, Tensor]:
        # Detached, so that differentiating the objective stops at these tensors.
        given = tuple(tensor.detach().requires_grad_(tensor.requires_grad) for tensor in rest[:count])
        descent = _Descent(nelbo, config, given)
        with torch.enable_grad():
            steps = descent.run(Gaussian(mean.detach(), logvar.detach()), learning=False)
        ctx.save_for_backward(*rest)  # so that autograd notices changes before the backward pass
        ctx.descent, ctx.steps = descent, steps[:-1]
        end = steps[-1].point
        return (
            end.mean.clone(),
            end.logvar.clone(),
        )  # copies: without steps the end is the start, and autograd does not accept an input as output

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
            with torch.enable_grad(), torch.autocast(point.mean.device.type, enabled=False):
                free = Gaussian(*(tensor.detach().requires_grad_() for tensor in gradient))
                to_gradient = Gaussian(*torch.autograd.grad(descent.clipped(free), free, to_velocity))
                found = descent.second_order(step, point, to_gradient, [tensor for tensor, _ in learnt])
            to_point = Gaussian(*(x - h for x, h in zip(to_point, found, strict=False)))
            for (_, total), part in zip(learnt, found[2:], strict=True):
                total -= part
            to_velocity = Gaussian(*(descent.config.momentum * p for p in to_velocity))
        return None, None, None, *to_point, *totals
