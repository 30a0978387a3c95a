"""How much information latent codes have: KL by dimension, and the parts of the KL in section 3.3 of Fu et al. (2019).

Open it to see how mutual information is estimated.

Shape legend: N windows, Z latent dimensions.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
_LOGVAR_LIMIT = 600.0  # beyond it, the square of a variance or of its inverse is not finite in double precision
_ENTRIES = 2**20  # entries of the (N, N) densities in memory at a time: 8 MiB
# Squared distance in standard deviations above which expanding a dimension's squares loses more than 2e-8 nats.
_EXPANDABLE = 1e8


class Posteriors(NamedTuple):
    """Parameters of q(z | x, c) and p(z | c) for the same windows in the same order; all (N, Z)."""

    posterior_mean: Floats
    posterior_logvar: Floats
    prior_mean: Floats
    prior_logvar: Floats


class MutualInformation(NamedTuple):
    """Estimates of the paper's section 3.3 for N windows, in nats.

    With n uniform on the windows, q(z | n) = q(z | x_n, c_n), the aggregated posterior q(z) = sum of q(z | n) / N and,
    likewise, p(z) = sum of p(z | c_n) / N. Everything here is marginal: nothing is conditional on the context. I(z; n)
    is the information of z about response and context together, including what the prior gives. I(z; x | c) cannot be
    estimated from one response to each context; the mean KL is an upper bound of it.

    The paper's equation 8 holds for a prior that is the same for all windows. In general
    mean KL(q(z | n) || p(z | c_n)) = I(z; n) + KL(q(z) || p(z)) - E[log p(z | c_n) / p(z)].

    Attributes:
        plug_in: I(z; n) = E[log q(z | n) / q(z)] with all N components in q(z): exact for these windows up to the
            sampling of z, and at most log N. It is a lower bound for the population of windows.
        leave_one_out: the same without the window's own component in its q(z). It is not limited by log N, and is an
            upper bound for the population (Poole et al., 2019, section 2.2). If the two agree, N is large enough.
        marginal_kl: KL(q(z) || p(z)), all components in both mixtures.
        from_context: E[log p(z | c_n) / p(z)], z from q(z | n): how well the prior predicts z from the context;
            negative if it misleads, 0 if the prior is the same for all windows.
        n: N.
        cap: log N.
    """

    plug_in: float
    leave_one_out: float
    marginal_kl: float
    from_context: float
    n: int
    cap: float


def kl_per_dimension(posteriors: Posteriors) -> Doubles:
    """Mean over the windows of KL(q(z_d | x, c) || p(z_d | c)) in nats, (Z,).

    Raises:
        ValueError: see `mutual_information`.
    """
    mean, logvar, prior_mean, prior_logvar = _checked(posteriors)
    shift = (mean - prior_mean) ** 2 * np.exp(-prior_logvar)
    kl = 0.5 * (prior_logvar - logvar + np.exp(logvar - prior_logvar) + shift - 1.0)
    by_dimension: Doubles = kl.mean(axis=0)
    return by_dimension


def mutual_information(posteriors: Posteriors, *, seed: int = 0, samples: int = 1) -> MutualInformation:
    """Estimate the mutual information and the marginal KL; takes N^2 Z operations for each sample.

    log q(z | n) is computed at the drawn z although its mean is known, so that its errors and those of log q(z) cancel.

    Args:
        posteriors: of N windows.
        seed: of the draws of z.
        samples: draws of z from each window's posterior.

    Raises:
        ValueError: the arrays are not of one shape (N, Z), N is below 2, a value is not finite or a log variance is
            beyond 600, or `samples` is below 1.
    """
    mean, logvar, prior_mean, prior_logvar = _checked(posteriors)
    n = len(mean)
    if n < 2 or samples < 1:
        raise ValueError(f"mutual information needs at least 2 windows and 1 sample, got {n} and {samples}")
    rng = np.random.default_rng(seed)
    sums = np.zeros(4)
    for _ in range(samples):
        z = mean + np.exp(0.5 * logvar) * rng.standard_normal(mean.shape)
        own, all_, others = _log_densities(z, mean, logvar)
        prior_own, prior_all, _ = _log_densities(z, prior_mean, prior_logvar)
        sums += [(a - b).mean() for a, b in ((own, all_), (own, others), (all_, prior_all), (prior_own, prior_all))]
    plug_in, leave_one_out, marginal_kl, from_context = (sums / samples).tolist()
    return MutualInformation(plug_in, leave_one_out, marginal_kl, from_context, n, math.log(n))


def _checked(posteriors: Posteriors) -> tuple[Doubles, ...]:
    arrays = tuple(np.asarray(array, dtype=np.float64) for array in posteriors)
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or arrays[0].ndim != 2 or not len(arrays[0]):
        raise ValueError(f"posteriors need arrays of one shape (N, Z), N at least 1, got {sorted(shapes)}")
    for name, array in zip(Posteriors._fields, arrays, strict=True):
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has values that are not finite")
        if name.endswith("logvar") and (extreme := np.abs(array).max(initial=0)) > _LOGVAR_LIMIT:
            raise ValueError(f"{name} must be within -{_LOGVAR_LIMIT:g} and {_LOGVAR_LIMIT:g}, but reaches {extreme:g}")
    return arrays


def _log_densities(z: Doubles, mean: Doubles, logvar: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Log densities of point i (Z) under component i, under the mixture of all N, and under that of the other N - 1.

    The squares of all differences are expanded into one matrix product, around the centre of the means so that little
    precision is lost. Dimensions that would still lose too much use plain differences; so does a point's own component.

    Returns:
        Three arrays (N,).
    """
    n, latent = mean.shape
    centre = mean.mean(axis=0)
    z, mean, precision = z - centre, mean - centre, np.exp(-logvar)
    log_volume = logvar.sum(axis=1) + latent * math.log(2 * math.pi)  # (N,)
    own = -0.5 * (((z - mean) ** 2 * precision).sum(axis=1) + log_volume)
    reach = np.maximum(np.abs(z), np.abs(mean)).max(axis=0) ** 2 * precision.max(axis=0)  # (Z,)
    near, far = np.flatnonzero(reach <= _EXPANDABLE), np.flatnonzero(reach > _EXPANDABLE)
    scaled = (mean * precision)[:, near]
    factors = np.concatenate((precision[:, near], -2.0 * scaled), axis=1).T  # (2Z, N)
    constant = log_volume + (mean[:, near] * scaled).sum(axis=1)
    powers = np.concatenate((z[:, near] ** 2, z[:, near]), axis=1)  # (N, 2Z)
    others = np.empty(n)
    rows = max(1, _ENTRIES // n)
    for begin in range(0, n, rows):
        block = np.arange(begin, min(begin + rows, n))
        squares = powers[block] @ factors  # (R, N)
        for dimension in far:
            squares += (z[block, dimension, None] - mean[:, dimension]) ** 2 * precision[:, dimension]
        densities = -0.5 * (squares + constant)
        densities[np.arange(len(block)), block] = -np.inf
        others[block] = logsumexp(densities, axis=1)
    return own, np.logaddexp(others, own) - math.log(n), others - math.log(n - 1)
