"""Pure functions of diagonal Gaussians, `Gaussian(mean, logvar)`; Z is the last axis.

Open it to check the formula of a sample, a log density or a KL.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dialog_cvae.types import Gaussian


def sample(gaussian: Gaussian, noise: Tensor) -> Tensor:
    """Reparameterised sample: mean + exp(logvar / 2) * noise, with standard normal `noise` of the mean's shape."""
    return gaussian.mean + torch.exp(0.5 * gaussian.logvar) * noise


def log_prob(gaussian: Gaussian, value: Tensor) -> Tensor:
    """Log density of `value` in nats, summed over Z: (..., Z) -> (...)."""
    squared = (value - gaussian.mean).square() * torch.exp(-gaussian.logvar)
    return -0.5 * (squared + gaussian.logvar + math.log(2 * math.pi)).sum(-1)


def kl(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q || p) in nats for each latent dimension, (..., Z); its sum over the last axis is the total KL."""
    difference = (q.mean - p.mean).square() * torch.exp(-p.logvar)
    return 0.5 * (p.logvar - q.logvar + torch.exp(q.logvar - p.logvar) + difference - 1.0)
