"""Batch normalisation of posterior means (BN-VAE): a lower bound of the KL that holds by construction.

Zhu et al. (2020), "A Batch Normalized Inference Network Keeps the KL Vanishing Away", equation 5: with means
normalised over the data to standard deviation gamma and mean b in each dimension, the expected KL to N(0, I) is at
least sum_d (gamma^2 + b_d^2) / 2, whatever the encoder does.

Where the prior N(m, s^2) is learnt too, as a conditional VAE's is, no statistics of the posterior's mean alone bound
the KL, since the prior may follow. There what is normalised is the mean's distance from m in units of s: with the
posterior's mean m + s n, the KL in a dimension is (n^2 + r - log r - 1) / 2 for the variances' ratio r, and the bound
above holds for n whatever recognition and prior network do. For N(0, I) it is BN-VAE. (Ours, not the way of Zhu et al.)

Posteriors that are refined afterwards (`dialog_cvae.model.svi`) are not bound by it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MOMENTUM = 0.1  # share of a batch in the running mean and variance
EPSILON = 1e-10  # with PyTorch's 1e-5 an encoder whose means vary less would fall below gamma, and so the bound


class PosteriorNorm(nn.Module):
    """gamma (mean - batch mean) / batch standard deviation + b; gamma is fixed and b is learnt.

    In training, statistics are those of the batch's rows that are given together, and a running mean of them is kept
    for evaluation, and for a batch of a single row, which has no deviation of its own.

    Args:
        size: Z, dimensions.
        gamma: their standard deviation.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, size: int, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma
        self.bias = nn.Parameter(torch.zeros(size))
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_variance", torch.ones(size))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Put b to 0."""
        self.bias.zero_()

    def forward(self, mean: Tensor) -> Tensor:
        """(B, Z) -> (B, Z)."""
        centre, variance = self.running_mean, self.running_variance
        if self.training and len(mean) > 1:
            centre, variance = mean.mean(0), mean.var(0, unbiased=False)
            with torch.no_grad():
                self.running_mean.lerp_(centre, MOMENTUM)
                self.running_variance.lerp_(variance, MOMENTUM)
        return self.gamma * (mean - centre) * torch.rsqrt(variance + EPSILON) + self.bias
