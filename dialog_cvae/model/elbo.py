"""The ELBO over a whole corpus, and how much information the latent code carries.

Open it to add a figure to what validation and evaluation report.

Shape legend: B windows of a batch, Z latent dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dialog_cvae.model.latent_model import Examples, LatentModel, Refine
from dialog_cvae.model.svi import Refiner, evaluation_batch_size
from dialog_cvae.model_config import SviConfig
from dialog_cvae.nn import distributions
from dialog_cvae.nn.devices import moved
from dialog_cvae.types import Gaussian

ACTIVE_VARIANCE = 0.01  # Burda et al. (2016): a unit is active if the variance of its mean over the data is larger
BATCH_SIZE = 64  # windows in a batch
TERMS = ("reconstruction", "prior", "shuffled", "kl", "bag_of_words", "without_z")


class ElboReport(NamedTuple):
    """Means over all windows, in nats per response unless stated otherwise.

    Attributes:
        windows: number of responses.
        tokens: number of target tokens, `</s>` included.
        reconstruction: -log p(x | z, c) with one z from the posterior.
        kl: KL(q(z | x, c) || p(z | c)).
        elbo: -(reconstruction + kl), with beta 1 and without the bag of words.
        rec_perplexity: exp(total reconstruction / tokens) over the corpus, not a mean over batches.
        perplexity_bound: exp(-total ELBO / tokens), an upper bound of the model's perplexity.
        active_units: number of dimensions in which the variance of mean(q) - mean(p) over the windows exceeds 0.01.
        nats_from_z: increase of `reconstruction` if z comes from the prior instead of the posterior.
        nats_shuffled: increase of `reconstruction` if z comes from the posterior of another window of the batch.
        bag_of_words: loss of the bag-of-words head; None without the head.
        without_z: -log p(x | c) of the same network without z, to compare with the ELBO; None if it always needs z.
    """

    windows: int
    tokens: int
    reconstruction: float
    kl: float
    elbo: float
    rec_perplexity: float
    perplexity_bound: float
    active_units: int
    nats_from_z: float
    nats_shuffled: float
    bag_of_words: float | None
    without_z: float | None = None

    @classmethod
    def of_means(cls, mean: Mapping[str, float], windows: int, tokens: int, variance: NDArray[Any]) -> ElboReport:
        """From the means of `TERMS` over all windows; `bag_of_words` and `without_z` may be missing.

        Args:
            mean: in nats per response, by name.
            windows: number of responses.
            tokens: number of target tokens.
            variance: (Z,) of mean(q) - mean(p) over the windows.
        """
        negative_elbo = mean["reconstruction"] + mean["kl"]
        return cls(
            windows=windows,
            tokens=tokens,
            reconstruction=mean["reconstruction"],
            kl=mean["kl"],
            elbo=-negative_elbo,
            rec_perplexity=perplexity(mean["reconstruction"] * windows, tokens),
            perplexity_bound=perplexity(negative_elbo * windows, tokens),
            active_units=int((variance > ACTIVE_VARIANCE).sum()),
            nats_from_z=mean["prior"] - mean["reconstruction"],
            nats_shuffled=mean["shuffled"] - mean["reconstruction"],
            bag_of_words=mean.get("bag_of_words"),
            without_z=mean.get("without_z"),
        )

    def of_means_alone(self) -> ElboReport:
        """The report of an autoencoder: what needs the posterior's variance is NaN."""
        nan = math.nan
        return self._replace(kl=nan, elbo=nan, perplexity_bound=nan, nats_from_z=nan, nats_shuffled=nan)

    def figures(self) -> dict[str, float | None]:
        """The figures by name, for JSON; a figure that is not finite is None."""
        present = ((name, value) for name, value in self._asdict().items() if value is not None)
        return {name: value if math.isfinite(value) else None for name, value in present}


def evaluate_elbo(
    model: LatentModel,
    corpus: Examples,
    *,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    advance: Callable[[int], object] | None = None,
    part: tuple[int, int] = (0, 1),
    total: Callable[[Tensor], Tensor] | None = None,
    by_mean: bool = False,
    svi: SviConfig | None = None,
    first: int | None = None,
) -> ElboReport:
    """Score every window of a corpus once.

    Args:
        model: is put into evaluation mode, and back afterwards.
        corpus: encoded for this model.
        seed: of the noise, which does not depend on the batch size.
        batch_size: windows in a batch; see `svi.evaluation_batch_size`.
        advance: receives the number of windows of each finished batch, for a progress bar.
        part: (i, n): score batches i, i + n, ... only, as one of n processes.
        total: adds the sums of all n processes.
        by_mean: reconstruct from the posterior mean, as an autoencoder does. The figures that need a variance, which it
            never learns, are then NaN: `kl`, `elbo`, `perplexity_bound` and what z gains.
        svi: refinement of the posteriors, if any.
        first: number of windows to score, the first ones of the corpus; None for all.
    """
    device = next(model.parameters()).device
    rng, rng_of_steps = (np.random.default_rng(seeds) for seeds in (seed, (seed, 1)))
    latent = model.config.latent_size
    refiner = Refiner(model, svi)
    sums = torch.zeros(len(TERMS) + 2 + 2 * latent, dtype=torch.float64, device=device)
    with evaluation_mode(model), refiner.scoring():
        for index, chosen in enumerate(corpus.chunks(corpus.first(first), evaluation_batch_size(svi, batch_size))):
            # Noise is drawn for all batches, so that it is the same for any number of processes.
            drawn = rng.standard_normal((len(chosen), 2, latent), dtype=np.float32)
            if by_mean:
                drawn[:, 0] = 0
            steps = refiner.noise([rng_of_steps] * len(chosen))
            if index % part[1] == part[0]:
                batch = model.scoring_batch(corpus, chosen, device)
                sums += _sums(model, batch, moved(torch.from_numpy(drawn), device), refiner.refine(batch, steps))
                if advance is not None:
                    advance(len(chosen))
    report = _report((sums if total is None else total(sums)).cpu(), model.config.bow, model.has_plain_loss)
    return report.of_means_alone() if by_mean else report


@contextmanager
def evaluation_mode(model: LatentModel) -> Iterator[None]:
    """Put a model into evaluation mode, and afterwards back into its former mode."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def first_posteriors(
    model: LatentModel, corpus: Examples, count: int, *, seed: int = 0, svi: SviConfig | None = None
) -> Gaussian:
    """q(z | x, c) of the first `count` examples of a corpus, (N, Z), on the CPU.

    Args:
        model: is put into evaluation mode, and back afterwards.
        corpus: encoded for this model.
        count: N; of a smaller corpus all.
        seed: of the refinement's noise.
        svi: refinement of the posteriors, if any.
    """
    device = next(model.parameters()).device
    rng, refiner = np.random.default_rng((seed, 1)), Refiner(model, svi)
    found = []
    with evaluation_mode(model), refiner.scoring():
        for chosen in corpus.chunks(corpus.first(count), evaluation_batch_size(svi, BATCH_SIZE)):
            batch = model.scoring_batch(corpus, chosen, device)
            refine = refiner.refine(batch, refiner.noise([rng] * len(chosen)))
            found.append(model.infer(batch, refine).posterior)
    return Gaussian(*(torch.cat(parts).cpu() for parts in zip(*found, strict=True)))


def _report(sums: Tensor, bow: bool, has_plain_loss: bool) -> ElboReport:
    """Means from the sums over all windows; see `_sums`."""
    terms, counts, shifts = sums.tensor_split((len(TERMS), len(TERMS) + 2))
    windows, tokens = (int(count) for count in counts)
    left_out = {"bag_of_words": not bow, "without_z": not has_plain_loss}
    mean = {
        name: float(term) / windows for name, term in zip(TERMS, terms, strict=True) if not left_out.get(name, False)
    }
    shift, shift_squared = shifts.chunk(2)
    variance = shift_squared / windows - (shift / windows).square()
    return ElboReport.of_means(mean, windows, tokens, variance.numpy())


def _sums(model: LatentModel, batch: Any, noise: Tensor, refine: Refine | None) -> Tensor:
    """Sums over a batch in double precision: `TERMS`, windows, tokens, mean(q) - mean(p) (Z), its square (Z).

    They stay on the model's device, so that no batch waits for a transfer. Noise is (B, 2, Z).
    """
    encoded, posterior, prior = model.infer(batch, refine)
    z = distributions.sample(posterior, noise[:, 0])
    elsewhere = torch.roll(z, max(1, len(z) // 2), dims=0)  # half a batch away, so rarely the same conversation
    codes = (z, distributions.sample(prior, noise[:, 1]), elsewhere)
    losses = [model.reconstruction(batch, encoded, code) for code in codes]
    losses.append(distributions.kl(posterior, prior).sum(-1))
    for loss in (model.bag_of_words(batch, encoded, z), model.without_z(batch, encoded)):
        losses.append(torch.zeros_like(losses[0]) if loss is None else loss)
    difference = (posterior.mean - prior.mean).double()
    counts = moved(torch.tensor([len(z), int(batch.target_lengths.sum())], dtype=torch.float64), noise.device)
    terms = torch.stack([loss.double().sum() for loss in losses])
    return torch.cat((terms, counts, difference.sum(0), difference.square().sum(0)))


def perplexity(nats: float, tokens: int) -> float:
    """exp(nats / tokens); infinity instead of an overflow."""
    return math.exp(nats / tokens) if nats / tokens < 700 else math.inf
