"""Gaussians against torch.distributions."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.nn import distributions
from dialog_cvae.types import Gaussian


def pair(seed: int, scale: float) -> tuple[Gaussian, Gaussian]:
    generator = torch.Generator().manual_seed(seed)
    draw = [scale * torch.randn(4, 6, generator=generator, dtype=torch.float64) for _ in range(4)]
    return Gaussian(draw[0], draw[1]), Gaussian(draw[2], draw[3])


def normal(g: Gaussian) -> torch.distributions.Normal:
    return torch.distributions.Normal(g.mean, (0.5 * g.logvar).exp())


@settings(deadline=None, derandomize=True, max_examples=40)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 3.0))
def test_kl_and_log_prob(seed: int, scale: float) -> None:
    q, p = pair(seed, scale)
    divergence = distributions.kl(q, p)
    assert (divergence >= -1e-12).all()
    torch.testing.assert_close(divergence, torch.distributions.kl_divergence(normal(q), normal(p)))
    torch.testing.assert_close(distributions.kl(q, q), torch.zeros(4, 6, dtype=torch.float64))
    torch.testing.assert_close(distributions.log_prob(q, p.mean), normal(q).log_prob(p.mean).sum(-1))


def test_sample_moves_and_scales_the_noise() -> None:
    gaussian = Gaussian(torch.tensor([1.0, -2.0]), torch.tensor([0.0, 2 * torch.log(torch.tensor(3.0))]))
    torch.testing.assert_close(distributions.sample(gaussian, torch.tensor([0.5, -1.0])), torch.tensor([1.5, -5.0]))
