"""Batch normalisation of posterior means (BN-VAE), which guarantees a lower bound of the KL.

Open it to change how posterior means are normalised, or to see for which models the bound holds. Zhu et al. (2020), "A
Batch Normalized Inference Network Keeps the KL Vanishing Away", equation 5: with means normalised over the data to
standard deviation gamma and mean b in each dimension, the expected KL to N(0, I) is at least
sum_d (gamma^2 + b_d^2) / 2, for any encoder.

If the prior N(m, s^2) is learnt too, as in a conditional VAE, no statistics of the posterior mean alone bound the KL,
because the prior can follow. Then the distance of the mean from m, in units of s, is normalised: with the posterior
mean m + s n, the KL in a dimension is (n^2 + r - log r - 1) / 2, where r is the ratio of the variances, and the bound
above holds for n, for any recognition and prior network. For the prior N(0, I) this is BN-VAE. (The generalisation is
ours, not that of Zhu et al.)

The bound does not hold for posteriors that are refined afterwards (`dialog_cvae.model.svi`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MOMENTUM = 0.1  # share of a batch in the running mean and variance
EPSILON = 1e-10  # with PyTorch's 1e-5 an encoder whose means vary less would fall below gamma, and so the bound


class PosteriorNorm(nn.Module):
    """gamma (mean - batch mean) / batch standard deviation + b; gamma is fixed and b is learnt.

    In training, the statistics are those of the rows of one call. Their running means are used in evaluation, and for a
    single row, which has no standard deviation. `settle` changes them, so that a refused update does not.

    Args:
        size: Z, dimensions.
        gamma: standard deviation of the normalised means.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, size: int, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma
        self.bias = nn.Parameter(torch.zeros(size))
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_variance", torch.ones(size))
        self._pending: tuple[Tensor, Tensor] | None = None  # the next running mean and variance

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Set b to 0."""
        self.bias.zero_()

    def forward(self, mean: Tensor) -> Tensor:
        """(B, Z) -> (B, Z)."""
        centre, variance = self.running_mean, self.running_variance
        if self.training and len(mean) > 1:
            centre, variance = mean.mean(0), mean.var(0, unbiased=False)
            with torch.no_grad():
                before = self._pending or (self.running_mean, self.running_variance)
                self._pending = before[0].lerp(centre, MOMENTUM), before[1].lerp(variance, MOMENTUM)
        return self.gamma * (mean - centre) * torch.rsqrt(variance + EPSILON) + self.bias

    @torch.no_grad()
    def settle(self, accepted: Tensor) -> None:
        """Put the calls since the last `settle` into the running means, or forget them.

        Args:
            accepted: a truth value on the device: whether the update that these calls belong to is accepted.
        """
        if self._pending is not None:
            for running, following in zip((self.running_mean, self.running_variance), self._pending, strict=True):
                running.copy_(torch.where(accepted, following, running))
            self._pending = None
