"""Posteriors of given responses, and their likelihoods by importance sampling.

Open it for tighter bounds than the ELBO; `subset_perplexity` has the figures of the paper's Table 3.

Shape legend: N responses, B windows of a batch, K draws of z for each, Z latent dimensions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.sentences import Sentences
from dialog_cvae.data.turns import EncodedTurns
from dialog_cvae.data.windows import Integers
from dialog_cvae.errors import ConfigError
from dialog_cvae.model.elbo import perplexity
from dialog_cvae.model.latent_model import Inferred, LatentModel
from dialog_cvae.model.svi import Refiner, evaluation_batch_size
from dialog_cvae.model_config import SviConfig
from dialog_cvae.nn import distributions
from dialog_cvae.nn.devices import moved
from dialog_cvae.types import Gaussian
from eval.contexts import generator, generators, positions
from eval.latent.information import Posteriors

MAX_DRAWS = 100_000
AnyCorpus = EncodedCorpus | EncodedTurns | Sentences
Advance = Callable[[int], object]


class ImportanceWeighted(NamedTuple):
    """Upper bounds of -log p(x | c) in nats, for several numbers of draws k; see `importance_weighted_nll`.

    Attributes:
        nll: for each k, (N,) the bound of each response.
        tokens: (N,) target tokens of each response, its end included.
        without_z: (N,) -log p(x | c) in nats of the same network without z; None if the model always needs z.
    """

    nll: dict[int, NDArray[np.float64]]
    tokens: NDArray[np.int64]
    without_z: NDArray[np.float64] | None = None

    @property
    def nats(self) -> dict[int, float]:
        """For each k, the mean over the responses."""
        return {k: float(nll.mean()) for k, nll in self.nll.items()}

    @property
    def perplexity(self) -> dict[int, float]:
        """For each k, exp(total nats / total tokens)."""
        return {k: perplexity(float(nll.sum()), int(self.tokens.sum())) for k, nll in self.nll.items()}


def posteriors(
    model: LatentModel,
    corpus: AnyCorpus,
    *,
    svi: SviConfig | None = None,
    seed: int = 0,
    batch_size: int = 256,
    advance: Advance | None = None,
) -> Posteriors:
    """q(z | x, c) and p(z | c) of every response, in the corpus's order.

    Args:
        model: on any device.
        corpus: encoded for this model.
        svi: refinement of q, if any.
        seed: of the refinement's noise.
        batch_size: windows encoded together.
        advance: receives the number of windows of each finished batch.
    """
    found: list[tuple[NDArray[np.float32], ...]] = []
    refiner = Refiner(model, svi)
    with refiner.scoring():
        for chosen, batch in _batches(model, corpus, corpus.responses, evaluation_batch_size(svi, batch_size)):
            noise = refiner.noise(generators(corpus, chosen, seed + 1))
            parameters = itertools.chain(*model.infer(batch, refiner.refine(batch, noise))[1:])
            found.append(tuple(tensor.float().cpu().numpy() for tensor in parameters))
            if advance is not None:
                advance(len(chosen))
    return Posteriors(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def importance_weighted_nll(
    model: LatentModel,
    corpus: AnyCorpus,
    responses: Integers,
    ks: Sequence[int],
    *,
    places: Sequence[tuple[int, int]] | None = None,
    svi: SviConfig | None = None,
    seed: int = 0,
    batch_size: int = 512,
    advance: Advance | None = None,
) -> ImportanceWeighted:
    """Bound -log p(x | c) by -E log mean_k w, w = p(x | z, c) p(z | c) / q(z | x, c), z from q (Burda et al., 2016).

    One draw gives the negative ELBO, more draws a tighter bound. All ks share max(ks) draws: each k averages over
    disjoint groups of k draws, which has less variance than a single group. If each k divides the next, the bound of
    every response falls with k. Without z the likelihood is exact and the same for all k. A context is encoded once for
    all its draws.

    Args:
        model: on any device.
        corpus: encoded for this model.
        responses: (N,) indices of utterances, as in `corpus.responses`.
        ks: numbers of draws.
        places: (N,) for each response, the index of a conversation and a position in it, from 0, which decide its
            noise; default: its place in the corpus.
        svi: refinement of q, from which z is drawn, if any.
        seed: seed of the noise, which otherwise depends only on the place.
        batch_size: rows decoded together.
        advance: receives the number of responses of each finished batch.

    Raises:
        ConfigError: there are no responses, or some are not utterances of the corpus; there are no ks, or one is out
            of range.
    """
    _check(corpus, responses, ks)
    draws, latent = max(ks), model.config.latent_size
    device = next(model.parameters()).device
    bounds: list[Tensor] = []  # (B, len(ks)) each
    tokens: list[NDArray[np.int64]] = []
    plain: list[Tensor] = []  # (B,) each
    places = positions(corpus, responses.astype(np.int64)) if places is None else places
    refiner, done = Refiner(model, svi), 0
    with refiner.scoring():
        for chosen, batch in _batches(
            model, corpus, responses, evaluation_batch_size(svi, max(1, batch_size // draws))
        ):
            here = places[done : done + len(chosen)]
            steps = refiner.noise(generator(seed + 1, *place) for place in here)
            inferred = model.infer(batch, refiner.refine(batch, steps))
            drawn = moved(weight_noise(here, draws, latent, seed), device)
            weights = _log_weights(model, batch, inferred, drawn, batch_size)
            bounds.append(torch.stack([bound(weights, k, draws) for k in ks], dim=1).cpu())
            tokens.append(batch.target_lengths.numpy())
            if (without := model.without_z(batch, inferred.encoded)) is not None:
                plain.append(without.double().cpu())
            done += len(chosen)
            if advance is not None:
                advance(len(chosen))
    nll: NDArray[np.float64] = -torch.cat(bounds).t().numpy()
    found = torch.cat(plain).numpy() if plain else None
    return ImportanceWeighted(dict(zip(ks, nll, strict=True)), np.concatenate(tokens), found)


def _check(corpus: AnyCorpus, responses: Integers, ks: Sequence[int]) -> None:
    if not len(responses):
        raise ConfigError("responses must be at least 1, but are 0")
    known = corpus.responses
    if not np.isin(responses, known).all():
        raise ConfigError(f"responses must be utterances of the corpus, from {known.min()} to {known.max()}")
    if not ks or not 1 <= min(ks) <= max(ks) <= MAX_DRAWS:
        raise ConfigError(f"ks must be numbers from 1 to {MAX_DRAWS}, but are {list(ks)}")


def _batches(
    model: LatentModel, corpus: AnyCorpus, responses: Integers, size: int
) -> Iterator[tuple[NDArray[np.int64], Any]]:
    """Batches of at most `size` examples, on the model's device."""
    device = next(model.parameters()).device
    for part in corpus.chunks(responses, size):
        chosen = part.astype(np.int64)
        yield chosen, model.scoring_batch(corpus, chosen, device)


def weight_noise(places: Sequence[tuple[int, int]], draws: int, latent: int, seed: int) -> Tensor:
    """Noise of each response, (B, K, Z), which depends only on seed and place; K is 1 without z."""
    shape = (draws if latent else 1, latent)
    drawn = [generator(seed, *place).standard_normal(shape, dtype=np.float32) for place in places]
    return torch.from_numpy(np.stack(drawn))


def _log_weights(model: LatentModel, batch: Any, inferred: Inferred, noise: Tensor, rows: int) -> Tensor:
    """The weights log p(x | z, c) + log p(z | c) - log q(z | x, c) in double precision, (B, K), from noise (B, K, Z).

    Responses are decoded from all draws, `rows` at a time.
    """
    z, ratio = proposals(inferred.posterior, inferred.prior, noise)
    codes = z.to(inferred.encoded.condition.dtype)
    return ratio - model.reconstructions(batch, inferred.encoded, codes, rows).double()


def proposals(posterior: Gaussian, prior: Gaussian, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Draws of z from the posterior, (B, K, Z), and log p(z | c) - log q(z | x, c) of each, (B, K).

    Args:
        posterior: Gaussian of (B, Z).
        prior: Gaussian of (B, Z).
        noise: (B, K, Z).

    Returns:
        Both in double precision.
    """
    q, p = (Gaussian(each.mean.double()[:, None], each.logvar.double()[:, None]) for each in (posterior, prior))
    z = distributions.sample(q, noise.double())
    return z, distributions.log_prob(p, z) - distributions.log_prob(q, z)


def bound(log_weights: Tensor, k: int, draws: int) -> Tensor:
    """(B,) mean over disjoint groups of k draws of the log of their mean weight, from (B, K).

    Without z there is a single weight (B, 1), which counts for all draws.
    """
    log_weights = log_weights.expand(-1, draws)
    groups = draws // k
    grouped = log_weights[:, : groups * k].reshape(-1, groups, k)
    return (torch.logsumexp(grouped, dim=-1) - math.log(k)).mean(dim=-1)
