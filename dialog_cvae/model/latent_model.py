"""The interface of models with a latent code, conditional or not, for training and evaluation.

Open it to see what a new model must implement.

Shape legend: B examples of a batch, C dimensions of the condition (may be 0), Z latent dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from dialog_cvae.data.windows import Integers
from dialog_cvae.nn import distributions
from dialog_cvae.nn.decoder import Dropout
from dialog_cvae.nn.devices import moved
from dialog_cvae.types import ElboTerms, Gaussian


class Examples(Protocol):
    """An encoded corpus; its examples are windows of conversations, or sentences."""

    @property
    def responses(self) -> Integers:
        """(N,) indices of all examples."""
        ...

    def first(self, count: int | None) -> Integers:
        """The first `count` examples of the corpus, or all, in the order of `responses`."""
        ...

    def chunks(self, chosen: Integers, size: int) -> list[Integers]:
        """The examples in the given order, in parts of at most `size` that can form a batch."""
        ...


class Encoded(Protocol):
    """What the encoders know of a batch; a model may add what its own decoder needs."""

    @property
    def condition(self) -> Tensor:
        """(B, C)."""
        ...

    @property
    def response(self) -> Tensor:
        """(B, 2H) each response's vector."""
        ...


class Vectors(NamedTuple):
    """`Encoded` and nothing more: the condition (B, C) and each response's vector (B, 2H)."""

    condition: Tensor
    response: Tensor


class Inferred(NamedTuple):
    """An encoded batch, and posterior and prior of z, Gaussians of (B, Z)."""

    encoded: Any
    posterior: Gaussian
    prior: Gaussian


Refine = Callable[[Encoded, Gaussian, Gaussian], Gaussian]
"""(encoded, posterior, prior) -> refined posterior; see `dialog_cvae.model.svi`."""


class LatentModel(nn.Module, ABC):
    """z ~ p(z | c), x ~ p(x | z, c), q(z | x, c); each model has its own types of batch and corpus.

    Calling it gives the terms of the ELBO; see `forward`.

    Attributes:
        config: sizes, `latent_size` and `bow` among them.
        has_plain_loss: whether `without_z` gives a loss.
        plain_weight: weight of that loss in training.
    """

    config: Any
    has_plain_loss: bool = False
    plain_weight: float = 0.0

    @abstractmethod
    def batch(self, corpus: Any, chosen: Integers, device: torch.device | str = "cpu") -> Any:
        """The batch of the examples `chosen` (B,) of a corpus, on a device."""

    def scoring_batch(self, corpus: Any, chosen: Integers, device: torch.device | str = "cpu") -> Any:
        """As `batch`, but an example's context does not depend on which others are chosen.

        Only a language model differs from `batch`: replies of a training batch share the reading of their conversation,
        and the chosen replies decide where it begins.
        """
        return self.batch(corpus, chosen, device)

    @abstractmethod
    def encode(self, batch: Any) -> Encoded:
        """Encode condition and response of every example."""

    @abstractmethod
    def prior(self, condition: Tensor) -> Gaussian:
        """p(z | c): Gaussian of (B, Z)."""

    @abstractmethod
    def posterior(self, encoded: Encoded) -> Gaussian:
        """q(z | x, c): Gaussian of (B, Z)."""

    def infer(self, batch: Any, refine: Refine | None = None) -> Inferred:
        """Encode a batch, and infer z from it; `refine` refines the posterior."""
        encoded = self.encode(batch)
        posterior, prior = self.posterior(encoded), self.prior(encoded.condition)
        return Inferred(encoded, posterior if refine is None else refine(encoded, posterior, prior), prior)

    @abstractmethod
    def reconstruction(self, batch: Any, encoded: Any, z: Tensor, dropout: Dropout | None = None) -> Tensor:
        """(B,) -log p(x | z, c) in nats, summed over tokens and the end; `encoded` is what `encode` returned."""

    def reconstructions(self, batch: Any, encoded: Any, z: Tensor, rows: int = 512) -> Tensor:
        """(B, K) `reconstruction` from K codes of each example, z (B, K, Z); nothing is encoded again.

        Args:
            batch: of B examples.
            encoded: what `encode` returned for it.
            z: the codes.
            rows: most pairs of an example and a code that are decoded together; limits memory.
        """
        codes, draws = z.flatten(0, 1), z.shape[1]
        found = []
        for part in torch.split(torch.arange(len(codes)), rows):
            example = part // draws
            condition = encoded.condition[moved(example, z.device)]
            known = Vectors(condition, condition[:, :0])  # a decoder has no use for the response's vector
            found.append(self.reconstruction(batch.repeated(example), known, codes[moved(part, z.device)]))
        return torch.cat(found).view(z.shape[:2])

    @abstractmethod
    def bag_of_words(self, batch: Any, encoded: Any, z: Tensor) -> Tensor | None:
        """(B,) loss of the bag-of-words head; None without the head."""

    def without_z(self, batch: Any, encoded: Any) -> Tensor | None:
        """(B,) -log p(x | c) in nats of the same network without z; None if the model always needs z."""
        return None

    def forward(
        self,
        batch: Any,
        noise: Tensor,
        dropout: Dropout | None = None,
        *,
        kl_by_dimension: bool = False,
        refine: Refine | None = None,
    ) -> ElboTerms:
        """The terms of the ELBO with z = mean + std * noise from the posterior.

        Args:
            batch: B examples of the model's own kind.
            noise: (B, Z), standard normal.
            dropout: of the decoder, in training.
            kl_by_dimension: return the KL of each dimension, (B, Z), instead of their sum.
            refine: refines the recognition network's posterior.
        """
        encoded, posterior, prior = self.infer(batch, refine)
        z, divergence = distributions.sample(posterior, noise), distributions.kl(posterior, prior)
        return ElboTerms(
            reconstruction=self.reconstruction(batch, encoded, z, dropout),
            kl=divergence if kl_by_dimension else divergence.sum(-1),
            bag_of_words=self.bag_of_words(batch, encoded, z),
            tokens=moved(batch.target_lengths, z.device),
            without_z=self.without_z(batch, encoded),
        )

    @abstractmethod
    def inference_parameters(self) -> Iterator[nn.Parameter]:
        """phi: the weights of q(z | x, c) alone."""

    @abstractmethod
    def generation_modules(self) -> Sequence[nn.Module]:
        """theta: the modules that only p(x | z, c) uses."""

    @abstractmethod
    def initialise(self, modules: Sequence[nn.Module]) -> None:
        """Initialise the weights of parts of the model as its configuration says."""

    def restart_generation(self) -> list[nn.Parameter]:
        """Reinitialise theta; returns its weights."""
        parts = self.generation_modules()
        for part in parts:
            for module in part.modules():
                if callable(reset := getattr(module, "reset_parameters", None)):
                    reset()
        self.initialise(parts)
        return [parameter for part in parts for parameter in part.parameters()]
