"""Semi-amortized variational inference (Kim et al., 2018): posteriors refined by gradient descent on the ELBO.

The recognition network gives the initial mean and log variance; a few steps of gradient descent improve them, and
encoder and decoder learn through these steps (`descent` has the steps and their gradient). Open it to refine the
posteriors of a model, in training (`refinement`) or in evaluation (`Refiner`).

Differences from the released code (harvardnlp/sa-vae, `optim_n2n.py`), some of which the paper does not mention:
- Its objective is the mean over the batch, so its rate of 1 is a rate of 1 / B per sentence. It clips the norm over the
  batch, separately for mean and log variance. That is `scope` "batch" here. With "example" each sentence has its own
  gradient and norm, so its refinement does not depend on the other sentences of the batch.
- It draws new reparameterisation noise and dropout masks for each step and its backward pass, and again for the loss
  after the last step. Here the noise of the steps is `fixed` (one draw for all) or `fresh`, the steps use the dropout
  masks of the loss, and the loss has its own noise.
- It uses forward differences with a fixed r = 1e-5, of clipped gradients (with one norm for weights and q's parameters,
  unlike in the forward pass), and clips the gradients again at every step of the backward pass. Here differences are
  central and computed without autocast, r depends on the precision of x and on the size of x and u, the clipping is
  differentiated exactly, and nothing else is clipped.

Shape legend: B examples, Z latent dimensions, K steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dialog_cvae.model.descent import refine
from dialog_cvae.model.latent_model import Encoded, LatentModel, Refine, Vectors
from dialog_cvae.model_config import SviConfig
from dialog_cvae.nn import distributions
from dialog_cvae.nn.decoder import Dropout
from dialog_cvae.nn.devices import moved
from dialog_cvae.nn.gru import differentiable_twice
from dialog_cvae.types import Gaussian


def in_effect(config: SviConfig | None, model: LatentModel) -> SviConfig | None:
    """The refinement that applies to a model: None if it has no steps, or the model has no latent dimension."""
    return config if config is not None and config.steps and model.config.latent_size else None


REFINED_TOGETHER = 32
"""Examples whose mean is one objective in evaluation, with `scope` "batch": the released code's batch."""


def evaluation_batch_size(config: SviConfig | None, most: int) -> int:
    """How many examples to evaluate together, at most `most`.

    With `scope` "batch" a refined posterior depends on the other examples, so all figures of a model must take equally
    many together.
    """
    return REFINED_TOGETHER if config is not None and config.is_joint else most


class Refiner:
    """Refines a model's posteriors in evaluation, at beta 1; without steps it changes nothing.

    Within `scoring`, draw the noise of each batch with `noise` and pass the result of `refine` to the model.

    Args:
        model: the evaluated model.
        config: settings of the refinement, if any.
    """

    def __init__(self, model: LatentModel, config: SviConfig | None) -> None:
        self._model, self._config = model, in_effect(config, model)

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Evaluate without gradients: in `inference_mode`, or in `no_grad` if the refinement itself needs gradients."""
        with torch.inference_mode(self._config is None), torch.no_grad():
            yield

    def noise(self, rngs: Iterable[np.random.Generator]) -> Tensor | None:
        """Noise of B examples, (S, B, Z), on the CPU.

        Args:
            rngs: the generator of each example, in order; one generator may serve several examples.
        """
        if self._config is None:
            return None
        latent = self._model.config.latent_size
        return torch.cat([noise_of_steps(self._config, rng, (1, latent)) for rng in rngs], dim=1)

    def refine(self, batch: Any, noise: Tensor | None) -> Refine | None:
        """The refinement of a batch's posteriors with noise (S, B, Z) from `noise`; None if nothing is refined."""
        if self._config is None or noise is None:
            return None
        device = next(self._model.parameters()).device
        return refinement(self._model, batch, self._config, moved(noise, device), beta=1.0)


def total_kl(kl: Tensor) -> Tensor:
    """The sum over latent dimensions, (B, Z) -> (B,)."""
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
    """The refinement of a model's posteriors for a batch; its objective leaves out the bag of words.

    The loss must use other noise: a posterior that was refined for one draw of z depends on that draw, so with the same
    noise the loss would not be a bound.

    Args:
        model: the model, whose weights are learnt through the refinement.
        batch: of the model's kind.
        config: settings of the steps.
        noise: (S, B, Z), where S is 1 (one draw for all steps) or K; see `noise_of_steps`.
        beta: weight of the KL.
        dropout: of the decoder, in training; the same in all steps.
        divergence: the KL that beta weighs, (B,), from that of each dimension, (B, Z); by default their sum.
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
    """Noise (S, B, Z) of a refinement, for size (B, Z); drawn example by example."""
    steps = config.steps if config.noise == "fresh" else 1
    drawn = rng.standard_normal((size[0], steps, size[1]), dtype=np.float32)
    return torch.from_numpy(drawn).transpose(0, 1)


_STEP_COST = {"exact": 6.0, "finite_differences": 8.0}


def update_cost(once: float, each_step: float, config: SviConfig) -> float:
    """Minimum number of matrix products of a refined update, divided by that of an ordinary update.

    An ordinary update needs 3 products per weight: forward, gradient of the inputs, gradient of the weights. A refined
    update needs the same at its end. Before that, each step needs 2: forward, and the gradient of z. With `exact`, each
    of these 2 is differentiated with respect to its inputs and the weights: 4 more. With `finite_differences`, forward
    pass and both gradients are computed at two points: 6 more.

    Args:
        once: multiplications in the forward pass that do not depend on z: the encoder and, if the steps share them, the
            decoder's products with its input words.
        each_step: multiplications of the rest of the decoder.
        config: settings of the steps.
    """
    return 1.0 + config.steps * _STEP_COST[config.gradient] / 3.0 * each_step / (once + each_step)
