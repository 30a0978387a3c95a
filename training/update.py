"""One step of gradient descent on the weighted objective.

Open this to change how gradients are computed, summed or clipped.

Shape legend: F figures of an update, see `figure_names`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.model.svi import refinement, total_kl
from dialog_cvae.nn.posterior_norm import PosteriorNorm
from dialog_cvae.types import ElboTerms
from training.adam import GuardedAdam
from training.batch import Batch, Extras, MicroBatch
from training.config import TrainConfig
from training.distributed import SINGLE_PROCESS, World
from training.objectives import kl_with_free_bits, part_names, weighted
from training.phases import Trained


def figure_names(bow: bool, without_z: bool = False) -> tuple[str, ...]:
    """What `update` returns, in order."""
    return ("loss", *part_names(bow, without_z), "interrupted", "gradient_norm")


def update(
    model: LatentModel,
    optimiser: GuardedAdam,
    batch: Batch,
    config: TrainConfig,
    beta_now: float,
    world: World = SINGLE_PROCESS,
    interrupted: bool = False,
    trained: Trained = "all",
) -> Tensor:
    """Change the weights by the gradient of a batch, without waiting for the device.

    Args:
        model: its weights and running statistics are changed, unless the loss or the gradient of this or an earlier
            update is not finite.
        optimiser: of its weights, with the learning rate of this update.
        batch: this process's part.
        config: clip norm and weight of the bag-of-words loss.
        beta_now: weight of the KL term.
        world: the processes that share the batch.
        interrupted: whether this process must stop; the others receive it with the figures.
        trained: the weights to change; the gradient's norm is over these.

    Returns:
        (F,) the figures of `figure_names` for the whole batch; `interrupted` counts processes, and the norm is that of
        the gradient before clipping.
    """
    optimiser.zero_grad(set_to_none=True)
    parameters = list(model.parameters())
    figures = torch.zeros(len(figure_names(model.config.bow, model.has_plain_loss)) - 1, device=parameters[0].device)
    figures[-1] = float(interrupted)
    for part, extras in zip(batch.parts, batch.extras, strict=True):
        with torch.autocast(part.noise.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            terms = terms_of(model, part, extras, config, beta_now)
        free = config.free_bits, config.free_bits_in
        objective = weighted(terms, beta_now, config.bow_weight, batch.size, *free, model.plain_weight)
        objective.loss.backward()  # type: ignore[no-untyped-call]
        figures[:-1] += torch.stack((objective.loss.detach(), *(part.detach() for part in objective.parts.values())))
    if world.size > 1:
        figures = _summed(figures, parameters, world)
    if trained != "all":
        _forget_all_but(trained, model)
    norm = torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm, foreach=True)
    optimiser.forbid_unless(torch.isfinite(norm) & torch.isfinite(figures[0]))
    optimiser.step()
    for module in model.modules():
        if isinstance(module, PosteriorNorm):
            module.settle(optimiser.found_inf == 0)
    return torch.cat((figures, norm[None]))


def terms_of(model: LatentModel, part: MicroBatch, extras: Extras, config: TrainConfig, beta_now: float) -> ElboTerms:
    """The terms of a part of a batch: the KL by dimension if free bits need it; refined posteriors if configured."""
    asked: dict[str, Any] = {}
    if config.free_bits and config.free_bits_in == "dimension":
        asked["kl_by_dimension"] = True
    if extras.refining is not None:
        free = partial(kl_with_free_bits, free_bits=config.free_bits, free_bits_in=config.free_bits_in)
        charge = free if config.free_bits else total_kl
        asked["refine"] = refinement(model, part.windows, config.svi, extras.refining, beta_now, extras.dropout, charge)
    dropout = () if extras.dropout is None else (extras.dropout,)
    terms: ElboTerms = model(part.windows, part.noise, *dropout, **asked)
    return terms


def _summed(figures: Tensor, parameters: list[nn.Parameter], world: World) -> Tensor:
    """Sum figures (F - 1,) and gradients over all processes.

    There is one sum of everything after the backward pass, while DistributedDataParallel sums buckets during it. So a
    process without windows and parts of a batch need no special care, and the figures are summed too.
    """
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    summed = world.all_reduce(torch.cat((figures, *(gradient.flatten() for gradient in gradients))))
    figures, *flat = torch.split(summed, [len(figures), *(p.numel() for p in parameters)])
    for parameter, gradient in zip(parameters, flat, strict=True):
        parameter.grad = gradient.view_as(parameter)
    return figures


def _forget_all_but(trained: Trained, model: LatentModel) -> None:
    """Drop the gradients of the weights that this update does not change."""
    inference = {id(parameter) for parameter in model.inference_parameters()}
    for parameter in model.parameters():
        if (id(parameter) in inference) != (trained == "inference"):
            parameter.grad = None
