"""Likelihoods of given responses: by importance sampling, and as the paper's Table 3 has them; and posteriors to study.

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
from dialog_cvae.data.batches import NOBODY, EncodedCorpus, Integers, collate
from dialog_cvae.data.sentences import Sentences
from dialog_cvae.errors import ConfigError
from dialog_cvae.model.cvae import CVAE, TensorBatch
from dialog_cvae.model.elbo import perplexity
from dialog_cvae.model.latent_model import LatentModel, Vectors
from dialog_cvae.model.svi import in_effect, noise_of_steps, refinement, without_learning
from dialog_cvae.nn import distributions
from dialog_cvae.nn.devices import moved
from dialog_cvae.types import Gaussian
from eval.generation import generators
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


class SubsetPerplexity(NamedTuple):
    """The likelihood figures of the paper's Table 3; see `subset_perplexity`.

    Attributes:
        perplexity: Rec-P, the mean over batches of exp(reconstruction / tokens).
        reconstruction: mean -log p(x | z, c) in nats for each window, with one z from the posterior.
        kl: mean KL(q(z | x, c) || p(z | c)) in nats for each window.
        windows: scored, repeats counted.
        batches: of equal size.
    """

    perplexity: float
    reconstruction: float
    kl: float
    windows: int
    batches: int


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
        svi: how q is refined, if at all.
        seed: of the refinement's noise.
        batch_size: windows encoded at a time.
        advance: told after each batch how many windows it had.
    """
    found: list[tuple[NDArray[np.float32], ...]] = []
    svi = in_effect(svi, model)
    with without_learning(svi):
        for chosen, batch in _batches(model, corpus, corpus.responses, batch_size):
            parameters = itertools.chain(*_inferred(model, batch, corpus, chosen, svi, seed)[1:])
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

    One draw gives the negative ELBO, more a tighter bound. All ks share max(ks) draws, of which each k takes as many
    disjoint groups as there are: the mean over groups varies less than one group does, and where each k divides the
    next the bounds of every single response fall with k. Without z the likelihood is exact and the same for all k.

    Args:
        model: on any device.
        corpus: encoded for this model.
        responses: (N,) indices of utterances, as `corpus.responses` has them.
        ks: numbers of draws.
        svi: how q, from which z is drawn, is refined, if at all.
        seed: of the noise, which a response's place in the corpus decides and nothing else.
        batch_size: rows decoded at a time.
        advance: told now and then how many more responses are done.

    Raises:
        ConfigError: there are no responses or they are not utterances of the corpus; there are no ks, or one is out of
            its range.
    """
    _check(corpus, responses, ks)
    draws, latent = max(ks), model.config.latent_size
    device = next(model.parameters()).device
    bounds: list[Tensor] = []  # (B, len(ks)) each
    tokens: list[NDArray[np.int64]] = []
    svi = in_effect(svi, model)
    with without_learning(svi):
        for chosen, batch in _batches(model, corpus, responses, max(1, batch_size // draws)):
            rngs = generators(corpus, chosen, seed)
            drawn = np.stack([rng.standard_normal((draws if latent else 1, latent), dtype=np.float32) for rng in rngs])
            inferred = _inferred(model, batch, corpus, chosen, svi, seed)
            weights = _log_weights(model, batch, inferred, moved(torch.from_numpy(drawn), device), batch_size)
            weights = weights.expand(-1, draws)
            bounds.append(torch.stack([_bound(weights, k) for k in ks], dim=1).cpu())
            tokens.append(batch.target_lengths.numpy())
            if advance is not None:
                advance(len(chosen))
    nll: NDArray[np.float64] = -torch.cat(bounds).t().numpy()
    return ImportanceWeighted(dict(zip(ks, nll, strict=True)), np.concatenate(tokens))


def subset_perplexity(
    model: CVAE,
    corpus: EncodedCorpus,
    *,
    svi: SviConfig | None = None,
    seed: int = 0,
    batch_size: int = 60,
    advance: Advance | None = None,
) -> SubsetPerplexity:
    """Reconstruction perplexity and KL as the paper has them: over the windows that the released loader keeps.

    Perplexity is the mean over batches, each with one z from the posterior; see `loader_batches` for the windows.

    Args:
        model: on any device.
        corpus: encoded for this model.
        svi: how posteriors are refined, if at all.
        seed: of the noise.
        batch_size: conversations side by side; 60 in the released code's evaluation.
        advance: told after each batch how many windows it had.
    """
    device = next(model.parameters()).device
    rng, rng_of_steps = (np.random.default_rng(seeds) for seeds in (seed, (seed, 1)))
    perplexities, sums, windows = [], np.zeros(2), 0
    svi = in_effect(svi, model)
    with without_learning(svi):
        for responses, contexts in loader_batches(corpus, batch_size, model.config.max_context):
            batch = TensorBatch.from_arrays(collate(corpus, responses, contexts), device)
            shape = (len(responses), model.config.latent_size)
            drawn = rng.standard_normal(shape, dtype=np.float32)
            refine = None
            if svi is not None:
                refine = refinement(model, batch, svi, moved(noise_of_steps(svi, rng_of_steps, shape), device), 1.0)
            terms = model(batch, moved(torch.from_numpy(drawn), device), refine=refine)
            reconstruction, kl = (float(term.double().sum()) for term in (terms.reconstruction, terms.kl))
            perplexities.append(perplexity(reconstruction, int(batch.target_lengths.sum())))
            sums += reconstruction, kl
            windows += len(responses)
            if advance is not None:
                advance(len(responses))
    reconstruction, kl = (sums / windows).tolist()
    return SubsetPerplexity(math.fsum(perplexities) / len(perplexities), reconstruction, kl, windows, len(perplexities))


def loader_batches(
    corpus: EncodedCorpus, batch_size: int, max_context: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The windows that the released code's loader feeds at a batch size, and their contexts' lengths; (B,) each.

    It sorts conversations by length, takes them `batch_size` at a time, leaving out the longest that fill no batch, and
    moves a window over all of a batch at once, from the opening on. It stops where the window would begin at the last
    utterance of the shortest conversation, and never comes to the last utterance of the longest. A conversation that
    has ended meanwhile gives its last utterance again and again, with a shrinking context.

    Of Zhao et al.'s 60 validation conversations 41 batches are left: 2,460 windows. A corpus of fewer than `batch_size`
    conversations, which the loader has no batch for, is one batch here; conversations of one length stay in the
    corpus's order, which the loader leaves to chance.

    Args:
        corpus: with the opening pseudo-utterances, which count as utterances in all of this.
        batch_size: conversations side by side.
        max_context: context utterances, at most; 9 in the released code.

    Raises:
        ConfigError: `batch_size` is below 1, or the corpus leaves no window.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, but is {batch_size}")
    lengths = np.diff(corpus.starts)
    size = max(1, min(batch_size, len(lengths)))
    order = np.argsort(lengths, kind="stable")
    batches = []
    for begin in range(0, len(order) - size + 1, size):
        chosen = order[begin : begin + size]
        shortest, longest = (int(lengths[each]) for each in (chosen[0], chosen[-1]))
        for end in range(2, longest):
            first = max(0, end - max_context - 1)
            if first < shortest - 1:
                positions = np.minimum(end, lengths[chosen]) - 1
                batches.append((corpus.starts[chosen] + positions, positions - first))
    if not batches:
        raise ConfigError(f"{len(lengths)} conversations leave no window: the longest needs at least 2 utterances")
    return batches


def _check(corpus: EncodedCorpus | Sentences, responses: Integers, ks: Sequence[int]) -> None:
    if not len(responses):
        raise ConfigError("responses must be at least 1, but are 0")
    speaker = corpus.speaker if isinstance(corpus, EncodedCorpus) else corpus.responses  # a sentence has an author
    inside = (responses >= 0) & (responses < len(speaker))
    if not inside.all() or (speaker[responses] == NOBODY).any():
        raise ConfigError(f"responses must be utterances of the corpus, from 1 to {len(speaker) - 1}")
    if not ks or not 1 <= min(ks) <= max(ks) <= MAX_DRAWS:
        raise ConfigError(f"ks must be numbers from 1 to {MAX_DRAWS}, but are {list(ks)}")


def _batches(
    model: LatentModel, corpus: EncodedCorpus | Sentences, responses: Integers, size: int
) -> Iterator[tuple[NDArray[np.int64], Any]]:
    """Examples, `size` at a time, where the model is."""
    device = next(model.parameters()).device
    for part in corpus.chunks(responses, size):
        chosen = part.astype(np.int64)
        yield chosen, model.batch(corpus, chosen, device)


class _Inferred(NamedTuple):
    """What a batch's condition (B, C) and its responses say of z: Gaussians of (B, Z)."""

    condition: Tensor
    posterior: Gaussian
    prior: Gaussian


def _inferred(
    model: LatentModel,
    batch: Any,
    corpus: EncodedCorpus | Sentences,
    chosen: NDArray[np.int64],
    svi: SviConfig | None,
    seed: int,
) -> _Inferred:
    """Of the batch of the examples `chosen` (B,), whose places in the corpus decide the refinement's noise."""
    encoded = model.encode(batch)
    posterior, prior = model.posterior(encoded), model.prior(encoded.condition)
    if svi is not None:
        rngs, shape = generators(corpus, chosen, seed + 1), (1, model.config.latent_size)
        noise = torch.cat([noise_of_steps(svi, rng, shape) for rng in rngs], dim=1)
        posterior = refinement(model, batch, svi, moved(noise, posterior.mean.device), 1.0)(encoded, posterior, prior)
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
