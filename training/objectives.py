"""From the ELBO's unweighted terms and an explicit beta to the loss."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from dialog_cvae.types import ElboTerms


class Objective(NamedTuple):
    """The loss and its named parts, all scalar tensors.

    Attributes:
        loss: what is minimised.
        parts: means over the batch, unweighted, in nats for each response.
    """

    loss: Tensor
    parts: dict[str, Tensor]


def part_names(bow: bool) -> tuple[str, ...]:
    """The names of an objective's parts, of a model with or without a bag-of-words head."""
    return ("reconstruction", "kl", "bag_of_words") if bow else ("reconstruction", "kl")


def weighted(terms: ElboTerms, beta: float, bow_weight: float, windows: int) -> Objective:
    """Fu et al. (2019), equation 3, with Zhao et al. (2017)'s bag-of-words loss: L_E + beta L_R + w L_bow.

    Args:
        terms: of each example.
        beta: weight of the KL term.
        bow_weight: w; without effect on a model that has no bag-of-words head.
        windows: of the whole batch. Where `terms` are those of a part of it, the objective is that part's share: the
            sum over all parts, and of their gradients, is the whole batch's.
    """
    parts = {"reconstruction": terms.reconstruction.sum() / windows, "kl": terms.kl.sum() / windows}
    loss = parts["reconstruction"] + beta * parts["kl"]
    if terms.bag_of_words is not None:
        parts["bag_of_words"] = terms.bag_of_words.sum() / windows
        loss = loss + bow_weight * parts["bag_of_words"]
    return Objective(loss, parts)
