"""Semi-amortized variational inference (Kim et al., 2018): posteriors refined by gradient descent on the ELBO.

The recognition network gives the initial mean and log variance; a few steps of gradient descent improve them, and
encoder and decoder learn through these steps (`descent` has the steps and their gradient). Open it to refine the
posteriors of a model, in training (`refinement`) or in evaluation (`Refiner`).

Differences from the released code (harvardnlp/sa-vae, `optim_n2n.py`), some of which the paper does not mention:
- Its objective is the mean over the batch, so its rate of 1 is a rate of 1 / B per sentence. It clips the norm over the
  batch, separately for mean and log variance. That is `scope` "batch" here. With "example" each sentence has its own
  gradient and norm, so its refinement does not depend on the other sentences of the batch.
- It draws new reparameterisation noise and dropout masks for each step, keeps them for the step's backward pass, and
  draws again for the loss after the last step. Here the noise of the steps is `fixed` (one draw for all) or `fresh`,
  the steps use the dropout masks of the loss, and the loss has its own noise.
- It uses forward differences with a fixed r = 1e-5, of clipped gradients (with one norm for weights and q's parameters,
  unlike in the forward pass), and clips the gradients again at every step of the backward pass. Here differences are
  central, r depends on the precision and on the size of x and u, the clipping is differentiated exactly, and nothing
  else is clipped.

Shape legend: B examples, Z latent dimensions, K steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dialog_cvae.config import SviConfig
from dialog_cvae.model.descent import refine
from dialog_cvae.model.latent_model import Encoded, LatentModel, Refine
from dialog_cvae.nn import distributions
from dialog_cvae.nn.decoder import Dropout
from dialog_cvae.nn.devices import moved
from dialog_cvae.nn.gru import differentiable_twice
from dialog_cvae.types import Gaussian


def in_effect(config: SviConfig | None, model: LatentModel) -> SviConfig | None:
    """The refinement of a model's posteriors; None where it has no steps, or the model no latent dimension."""
    return config if config is not None and config.steps and model.config.latent_size else None


class Refiner:
    """The refinement of a model's posteriors while it is scored, at beta 1; without steps it changes nothing.

    Draw the noise of each batch with `noise` and pass what `refine` returns to the model, all within `scoring`.

    Args:
        model: that is scored.
        config: of the refinement, if any.
    """

    def __init__(self, model: LatentModel, config: SviConfig | None) -> None:
        self._model, self._config = model, in_effect(config, model)

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Score without learning: in `inference_mode`, or in `no_grad` where refinement itself takes gradients."""
        with torch.inference_mode(self._config is None), torch.no_grad():
            yield

    def noise(self, rngs: Iterable[np.random.Generator]) -> Tensor | None:
        """Noise of B examples, (S, B, Z), on the CPU.

        Args:
            rngs: the generator of each example, in order; it may be the same for all.
        """
        if self._config is None:
            return None
        latent = self._model.config.latent_size
        return torch.cat([noise_of_steps(self._config, rng, (1, latent)) for rng in rngs], dim=1)

    def refine(self, batch: Any, noise: Tensor | None) -> Refine | None:
        """The refinement of a batch's posteriors with noise (S, B, Z) of `noise`; None where nothing is refined."""
        if self._config is None or noise is None:
            return None
        device = next(self._model.parameters()).device
        return refinement(self._model, batch, self._config, moved(noise, device), beta=1.0)


def total_kl(kl: Tensor) -> Tensor:
    """(B, Z) -> (B,)."""
    return kl.sum(-1)


def refinement(
    model: LatentModel,
    batch: Any,
    config: SviConfig,
    noise: Tensor,
    beta: float,
    dropout: Dropout | None = None,
    divergence: Callable[[Tensor], Tensor] = total_kl,
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
        with differentiable_twice() if twice else nullcontext():
            reconstruction = model.reconstruction(batch, condition, z, dropout)
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


_STEP_COST = {"exact": 6.0, "finite_differences": 8.0}


def update_cost(once: float, each_step: float, config: SviConfig) -> float:
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
    return 1.0 + config.steps * _STEP_COST[config.gradient] / 3.0 * each_step / (once + each_step)
