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

    def detached(self) -> Objective:
        """The same values without the graph that led to them."""
        return Objective(self.loss.detach(), {name: value.detach() for name, value in self.parts.items()})


def weighted(terms: ElboTerms, beta: float, bow_weight: float) -> Objective:
    """Fu et al. (2019), equation 3, with Zhao et al. (2017)'s bag-of-words loss: L_E + beta L_R + w L_bow.

    Args:
        terms: of each example.
        beta: weight of the KL term.
        bow_weight: w; without effect on a model that has no bag-of-words head.
    """
    parts = {"reconstruction": terms.reconstruction.mean(), "kl": terms.kl.mean()}
    loss = parts["reconstruction"] + beta * parts["kl"]
    if terms.bag_of_words is not None:
        parts["bag_of_words"] = terms.bag_of_words.mean()
        loss = loss + bow_weight * parts["bag_of_words"]
    return Objective(loss, parts)
