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

from dialog_cvae.config import SviConfig
from dialog_cvae.data.batches import NO_SPEAKER, EncodedCorpus, Integers
from dialog_cvae.data.sentences import Sentences
from dialog_cvae.errors import ConfigError
from dialog_cvae.model.elbo import perplexity
from dialog_cvae.model.latent_model import LatentModel, Refine, Vectors
from dialog_cvae.model.svi import Refiner
from dialog_cvae.nn import distributions
from dialog_cvae.nn.devices import moved
from dialog_cvae.types import Gaussian
from eval.contexts import generators
from eval.latent.information import Posteriors

MAX_DRAWS = 100_000
Advance = Callable[[int], object]


class ImportanceWeighted(NamedTuple):
    """Upper bounds of -log p(x | c) in nats, for several numbers of draws k; see `importance_weighted_nll`.

    Attributes:
        nll: for each k, (N,) the bound of each response.
        tokens: (N,) target tokens of each response, `</s>` included.
    """

    nll: dict[int, NDArray[np.float64]]
    tokens: NDArray[np.int64]

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
    corpus: EncodedCorpus | Sentences,
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
        for chosen, batch in _batches(model, corpus, corpus.responses, batch_size):
            noise = refiner.noise(generators(corpus, chosen, seed + 1))
            parameters = itertools.chain(*_inferred(model, batch, refiner.refine(batch, noise))[1:])
            found.append(tuple(tensor.float().cpu().numpy() for tensor in parameters))
            if advance is not None:
                advance(len(chosen))
    return Posteriors(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def importance_weighted_nll(
    model: LatentModel,
    corpus: EncodedCorpus | Sentences,
    responses: Integers,
    ks: Sequence[int],
    *,
    svi: SviConfig | None = None,
    seed: int = 0,
    batch_size: int = 512,
    advance: Advance | None = None,
) -> ImportanceWeighted:
    """Bound -log p(x | c) by -E log mean_k w, w = p(x | z, c) p(z | c) / q(z | x, c), z from q (Burda et al., 2016).

    One draw gives the negative ELBO, more draws a tighter bound. All ks share max(ks) draws: each k averages over
    disjoint groups of k draws, which varies less than a single group. If each k divides the next, the bounds of every
    response fall with k. Without z the likelihood is exact and the same for all k.

    Args:
        model: on any device.
        corpus: encoded for this model.
        responses: (N,) indices of utterances, as in `corpus.responses`.
        ks: numbers of draws.
        svi: refinement of q, from which z is drawn, if any.
        seed: of the noise, which depends only on a response's place in the corpus.
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
    refiner = Refiner(model, svi)
    with refiner.scoring():
        for chosen, batch in _batches(model, corpus, responses, max(1, batch_size // draws)):
            drawn = _noise(corpus, chosen, draws, latent, seed)
            steps = refiner.noise(generators(corpus, chosen, seed + 1))
            inferred = _inferred(model, batch, refiner.refine(batch, steps))
            weights = _log_weights(model, batch, inferred, moved(drawn, device), batch_size).expand(-1, draws)
            bounds.append(torch.stack([_bound(weights, k) for k in ks], dim=1).cpu())
            tokens.append(batch.target_lengths.numpy())
            if advance is not None:
                advance(len(chosen))
    nll: NDArray[np.float64] = -torch.cat(bounds).t().numpy()
    return ImportanceWeighted(dict(zip(ks, nll, strict=True)), np.concatenate(tokens))


def _check(corpus: EncodedCorpus | Sentences, responses: Integers, ks: Sequence[int]) -> None:
    if not len(responses):
        raise ConfigError("responses must be at least 1, but are 0")
    speaker = corpus.speaker if isinstance(corpus, EncodedCorpus) else corpus.responses  # a sentence has an author
    inside = (responses >= 0) & (responses < len(speaker))
    if not inside.all() or (speaker[responses] == NO_SPEAKER).any():
        raise ConfigError(f"responses must be utterances of the corpus, from 1 to {len(speaker) - 1}")
    if not ks or not 1 <= min(ks) <= max(ks) <= MAX_DRAWS:
        raise ConfigError(f"ks must be numbers from 1 to {MAX_DRAWS}, but are {list(ks)}")


def _batches(
    model: LatentModel, corpus: EncodedCorpus | Sentences, responses: Integers, size: int
) -> Iterator[tuple[NDArray[np.int64], Any]]:
    """Batches of at most `size` examples, on the model's device."""
    device = next(model.parameters()).device
    for part in corpus.chunks(responses, size):
        chosen = part.astype(np.int64)
        yield chosen, model.batch(corpus, chosen, device)


def _noise(corpus: EncodedCorpus | Sentences, chosen: NDArray[np.int64], draws: int, latent: int, seed: int) -> Tensor:
    """Noise of each response, (B, K, Z), which depends on its place in the corpus alone; K is 1 without z."""
    shape = (draws if latent else 1, latent)
    rngs = generators(corpus, chosen, seed)
    return torch.from_numpy(np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in rngs]))


class _Inferred(NamedTuple):
    """Condition (B, C), and posterior and prior of z, Gaussians of (B, Z)."""

    condition: Tensor
    posterior: Gaussian
    prior: Gaussian


def _inferred(model: LatentModel, batch: Any, refine: Refine | None) -> _Inferred:
    """Infer z from a batch; `refine` refines the posterior."""
    encoded = model.encode(batch)
    posterior, prior = model.posterior(encoded), model.prior(encoded.condition)
    if refine is not None:
        posterior = refine(encoded, posterior, prior)
    return _Inferred(encoded.condition, posterior, prior)


def _log_weights(model: LatentModel, batch: Any, inferred: _Inferred, noise: Tensor, rows: int) -> Tensor:
    """The weights log p(x | z, c) + log p(z | c) - log q(z | x, c) in double precision, (B, K), from noise (B, K, Z).

    Responses are decoded from all draws, `rows` at a time.
    """
    posterior, prior = (
        Gaussian(gaussian.mean.double()[:, None], gaussian.logvar.double()[:, None])
        for gaussian in (inferred.posterior, inferred.prior)
    )
    z = distributions.sample(posterior, noise.double())
    ratio = distributions.log_prob(prior, z) - distributions.log_prob(posterior, z)
    codes = z.flatten(0, 1).to(inferred.condition.dtype)
    nll = []
    for part in torch.split(torch.arange(len(codes)), rows):
        window = part // noise.shape[1]
        condition = inferred.condition[moved(window, noise.device)]
        known = Vectors(condition, condition[:, :0])
        nll.append(model.reconstruction(batch.repeated(window), known, codes[moved(part, noise.device)]))
    return ratio - torch.cat(nll).double().view_as(ratio)


def _bound(log_weights: Tensor, k: int) -> Tensor:
    """(B,) mean over disjoint groups of k draws of the log of their mean weight, from (B, K)."""
    groups = log_weights.shape[1] // k
    grouped = log_weights[:, : groups * k].reshape(-1, groups, k)
    return (torch.logsumexp(grouped, dim=-1) - math.log(k)).mean(dim=-1)
