"""The loss, from the ELBO's unweighted terms and an explicit beta.

Open this to change the loss.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

from dialog_cvae.types import ElboTerms


class Objective(NamedTuple):
    """The loss and its named parts, all scalar tensors.

    Attributes:
        loss: to minimise.
        parts: means over the batch, unweighted, in nats for each response.
    """

    loss: Tensor
    parts: dict[str, Tensor]


def part_names(bow: bool, without_z: bool = False) -> tuple[str, ...]:
    """The names of an objective's parts, for a model with or without a bag-of-words head and a loss without z."""
    return (
        "reconstruction",
        "kl",
        *(("bag_of_words",) if bow else ()),
        *(("without_z",) if without_z else ()),
    )


def kl_at_least(kl: Tensor, free_bits: float) -> Tensor:
    """The KL of the loss with free bits: max(free_bits, KL), which has no gradient below `free_bits`.

    Li et al. (2019, "A Surprisingly Effective Fix for Deep Latent Variable Modeling of Text", equation 3) take the
    maximum for each example, so that it does not depend on how a batch is divided. Kingma et al. (2016, "Improved
    Variational Inference with Inverse Autoregressive Flow", equation 15) first take the mean over a batch.

    Args:
        kl: (B,) in total, or (B, Z) for each dimension, each of which then has `free_bits` nats.
        free_bits: nats.

    Returns:
        (B,).
    """
    free = kl.clamp_min(free_bits)
    return free if free.dim() == 1 else free.sum(-1)


def kl_with_free_bits(kl: Tensor, free_bits: float, free_bits_in: Literal["total", "dimension"]) -> Tensor:
    """The KL (B,) that beta multiplies. `kl` is (B,), or (B, Z) for free bits by dimension."""
    kl = kl.sum(-1) if free_bits_in == "total" and kl.dim() == 2 else kl
    return kl_at_least(kl, free_bits)


def weighted(
    terms: ElboTerms,
    beta: float,
    bow_weight: float,
    windows: int,
    free_bits: float = 0.0,
    free_bits_in: Literal["total", "dimension"] = "total",
    plain_weight: float = 0.0,
) -> Objective:
    """Fu et al. (2019), equation 3, with Zhao et al. (2017)'s bag-of-words loss: L_E + beta L_R + w L_bow.

    A model that also works without z adds u L_plain, the loss of the same replies without z.

    Args:
        terms: of each example.
        beta: weight of the KL term.
        bow_weight: w; no effect on a model without a bag-of-words head.
        windows: number of windows of the whole batch. If `terms` are those of a part, the objective is that part's
            share: losses and gradients of all parts add up to those of the batch.
        free_bits: lowest KL in the loss, in nats; the part `kl` is the KL itself.
        free_bits_in: whether this is for an example's whole KL or for each dimension; `terms.kl` is then (B, Z).
        plain_weight: u; no effect on a model that does not work without z.
    """
    parts = {"reconstruction": terms.reconstruction.sum() / windows, "kl": terms.kl.sum() / windows}
    loss = parts["reconstruction"] + beta * parts["kl"]
    if free_bits:
        loss = parts["reconstruction"] + beta * (kl_with_free_bits(terms.kl, free_bits, free_bits_in).sum() / windows)
    if terms.bag_of_words is not None:
        parts["bag_of_words"] = terms.bag_of_words.sum() / windows
        loss = loss + bow_weight * parts["bag_of_words"]
    if terms.without_z is not None:
        parts["without_z"] = terms.without_z.sum() / windows
        loss = loss + plain_weight * parts["without_z"]
    return Objective(loss, parts)
