"""Measures of the latent code against closed forms, quadrature and a loop over all pairs."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from eval.latent.information import Posteriors, kl_per_dimension, mutual_information


def posteriors_of(n: int = 9, latent: int = 3, seed: int = 0, scale: float = 1.0) -> Posteriors:
    rng = np.random.default_rng(seed)
    mean, logvar, prior_mean, prior_logvar = rng.standard_normal((4, n, latent)) * scale
    return Posteriors(mean, logvar, prior_mean, prior_logvar)


def shared_prior(mean: np.ndarray, logvar: np.ndarray) -> Posteriors:
    """With the standard normal as every window's prior."""
    return Posteriors(mean, logvar, np.zeros_like(mean), np.zeros_like(mean))


def naive(posteriors: Posteriors, seed: int, samples: int) -> dict[str, float]:
    """Every density by itself, from the definitions."""
    n = len(posteriors.posterior_mean)
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {"plug_in": [], "leave_one_out": [], "marginal_kl": [], "from_context": []}

    def density(z: np.ndarray, mean: np.ndarray, logvar: np.ndarray) -> float:
        return float(norm.logpdf(z, mean, np.exp(logvar / 2)).sum())

    def mixture(logs: list[float]) -> float:
        top = max(logs)
        return top + math.log(math.fsum(math.exp(each - top) for each in logs) / len(logs))

    for _ in range(samples):
        noise = rng.standard_normal(posteriors.posterior_mean.shape)
        for i in range(n):
            z = posteriors.posterior_mean[i] + np.exp(posteriors.posterior_logvar[i] / 2) * noise[i]
            q = [density(z, posteriors.posterior_mean[j], posteriors.posterior_logvar[j]) for j in range(n)]
            p = [density(z, posteriors.prior_mean[j], posteriors.prior_logvar[j]) for j in range(n)]
            found["plug_in"].append(q[i] - mixture(q))
            found["leave_one_out"].append(q[i] - mixture(q[:i] + q[i + 1 :]))
            found["marginal_kl"].append(mixture(q) - mixture(p))
            found["from_context"].append(p[i] - mixture(p))
    return {name: math.fsum(values) / len(values) for name, values in found.items()}


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_against_a_loop_over_all_pairs(scale: float, samples: int) -> None:
    posteriors = posteriors_of(scale=scale)
    found = mutual_information(posteriors, seed=5, samples=samples)
    for name, value in naive(posteriors, 5, samples).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-10, abs=1e-10), name
    assert (found.n, found.cap) == (9, math.log(9))


@pytest.mark.parametrize(("offset", "spread"), [(1e6, 1e-3), (1e4, 1e-9), (0.0, 1e8), (1e9, 1.0)])
def test_nothing_cancels_where_means_are_far_apart_in_standard_deviations(offset: float, spread: float) -> None:
    """Two clusters in one dimension, each of components so close that the expanded squares would lose them."""
    rng = np.random.default_rng(1)
    mean = np.where(np.arange(8)[:, None] % 2, offset, -offset) + spread * rng.standard_normal((8, 2))
    logvar = np.full((8, 2), 2 * math.log(spread))
    posteriors = Posteriors(mean, logvar, mean[::-1].copy(), logvar + 1)
    found = mutual_information(posteriors, seed=2)
    for name, value in naive(posteriors, 2, 1).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-6, abs=1e-6), name


def test_blocks_change_nothing_and_keep_memory_small(monkeypatch: pytest.MonkeyPatch) -> None:
    posteriors = posteriors_of(n=1500, latent=4)
    tracemalloc.start()
    found = mutual_information(posteriors)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * 2**20  # two matrices of all pairs would take 36 MiB, and there are several temporaries of each
    monkeypatch.setattr("eval.latent.information._ENTRIES", 7 * 1500)
    assert mutual_information(posteriors) == pytest.approx(found, rel=1e-12)


def test_identical_posteriors_have_no_mutual_information() -> None:
    same = np.tile(np.array([[0.3, -2.0]]), (50, 1))
    found = mutual_information(Posteriors(same, same / 2, same, same / 2), samples=4)
    assert found[:4] == pytest.approx((0.0, 0.0, 0.0, 0.0), abs=1e-12)


def test_posteriors_far_apart_identify_their_window() -> None:
    mean = 1000.0 * np.arange(20.0)[:, None]
    found = mutual_information(shared_prior(mean, np.zeros((20, 1))))
    assert found.plug_in == pytest.approx(math.log(20), abs=1e-12)
    assert found.plug_in <= found.cap
    assert found.leave_one_out > 1e5


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_two_clusters_in_one_dimension_against_quadrature(shift: float) -> None:
    mean = np.where(np.arange(400)[:, None] % 2, shift, -shift)
    found = mutual_information(shared_prior(mean, np.zeros_like(mean)), samples=50)

    def expected(same: float) -> float:
        """E log q(z | n) / (same q(z | n) + (1 - same) q(z | other cluster)), z from q(z | n)."""

        def integrand(z: float) -> float:
            own, other = norm.pdf(z, shift), norm.pdf(z, -shift)
            return float(own * (norm.logpdf(z, shift) - math.log(same * own + (1 - same) * other)))

        return float(quad(integrand, shift - 9, shift + 9)[0])

    assert found.plug_in == pytest.approx(expected(0.5), abs=0.01)
    assert found.leave_one_out == pytest.approx(expected(199 / 399), abs=0.01)
    assert found.plug_in + found.marginal_kl == pytest.approx(shift**2 / 2, abs=0.03)  # equation 8: the KL
    assert found.from_context == pytest.approx(0.0, abs=1e-12)


def test_the_estimates_enclose_the_information_of_a_gaussian_channel() -> None:
    """z = m + noise with m ~ N(0, s^2): I = log(1 + s^2) / 2, and q(z) is N(0, 1 + s^2) in the population."""
    rng = np.random.default_rng(3)
    truth = math.log(1 + 3.0**2) / 2
    gaps = []
    for windows, corpora in ((15, 400), (600, 10)):
        drawn = [3.0 * rng.standard_normal((windows, 1)) for _ in range(corpora)]
        found = [mutual_information(shared_prior(mean, np.zeros_like(mean)), seed=i) for i, mean in enumerate(drawn)]
        low, high = (float(np.mean([getattr(one, name) for one in found])) for name in ("plug_in", "leave_one_out"))
        gaps.append((truth - low, high - truth))
    assert min(gaps[0]) > 0.05  # few windows: wide apart, on either side of the truth
    assert np.abs(gaps[1]).max() < 0.05  # many: close to it
    assert np.mean([one.marginal_kl for one in found]) == pytest.approx(3.0**2 / 2 - truth, abs=0.3)


def test_priors_equal_to_posteriors_leave_no_marginal_kl() -> None:
    mean, logvar = posteriors_of(n=30)[:2]
    found = mutual_information(Posteriors(mean, logvar, mean, logvar))
    assert found.marginal_kl == pytest.approx(0.0, abs=1e-12)
    assert found.from_context == pytest.approx(found.plug_in, abs=1e-12)


def test_the_parts_sum_up_to_the_kl() -> None:
    posteriors = posteriors_of(n=200, scale=0.5)
    found = mutual_information(posteriors, samples=100)
    total = found.plug_in + found.marginal_kl - found.from_context
    assert total == pytest.approx(kl_per_dimension(posteriors).sum(), rel=0.02)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    n=st.integers(2, 30),
    latent=st.integers(0, 5),
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 10.0, 100.0]),
)
def test_the_plug_in_never_exceeds_its_cap(n: int, latent: int, seed: int, scale: float) -> None:
    found = mutual_information(posteriors_of(n, latent, seed, scale), seed=seed)
    assert found.plug_in <= found.cap + 1e-9
    assert all(math.isfinite(value) for value in found)
    if latent == 0:
        assert found[:4] == pytest.approx((0.0, 0.0, 0.0, 0.0), abs=1e-12)


def test_the_seed_decides() -> None:
    posteriors = posteriors_of()
    assert mutual_information(posteriors, seed=1) == mutual_information(posteriors, seed=1)
    assert mutual_information(posteriors, seed=1) != mutual_information(posteriors, seed=2)
    single = Posteriors(*(array.astype(np.float32) for array in posteriors))
    assert mutual_information(single, seed=1) == pytest.approx(mutual_information(posteriors, seed=1), rel=1e-5)


def test_kl_by_dimension() -> None:
    posteriors = posteriors_of()
    q, p = (
        torch.distributions.Normal(torch.from_numpy(mean), torch.from_numpy(np.exp(logvar / 2)))
        for mean, logvar in (posteriors[:2], posteriors[2:])
    )
    expected = torch.distributions.kl_divergence(q, p).mean(0).numpy()
    np.testing.assert_allclose(kl_per_dimension(posteriors), expected, rtol=1e-12)
    by_hand = kl_per_dimension(shared_prior(np.array([[1.0, 0.0], [3.0, 0.0]]), np.zeros((2, 2))))
    np.testing.assert_allclose(by_hand, [2.5, 0.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prior_mean": np.zeros((9, 2))}, r"one shape \(N, Z\), N at least 1, got \[\(9, 2\), \(9, 3\)\]"),
        ({"prior_logvar": np.full((9, 3), np.nan)}, "prior_logvar has values that are not finite"),
        (
            {"posterior_logvar": np.full((9, 3), -700.0)},
            "posterior_logvar must be within -600 and 600, but reaches 700",
        ),
    ],
)
def test_broken_arrays_are_refused(change: dict[str, np.ndarray], message: str) -> None:
    for measure in (kl_per_dimension, mutual_information):
        with pytest.raises(ValueError, match=message):
            measure(posteriors_of()._replace(**change))


def test_a_single_window_or_no_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 windows and 1 sample, got 1 and 1"):
        mutual_information(posteriors_of(n=1))
    with pytest.raises(ValueError, match="at least 2 windows and 1 sample, got 9 and 0"):
        mutual_information(posteriors_of(), samples=0)
    with pytest.raises(ValueError, match=r"N at least 1, got \[\(0, 3\)\]"):
        kl_per_dimension(posteriors_of(n=0))
