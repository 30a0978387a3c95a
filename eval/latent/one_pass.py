"""ELBO, posteriors and importance-weighted likelihoods of a corpus in one pass over it.

Open it if a language model is scored; running one on a context is costly. The figures are those of `evaluate_elbo`,
`posteriors` and `importance_weighted_nll`, from the same noise, but each of these functions makes its own pass.

Shape legend: N responses, B responses of a batch, K draws of z for each, Z latent dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dialog_cvae.model.elbo import ElboReport, evaluation_mode
from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.nn import distributions
from dialog_cvae.nn.devices import moved
from eval.contexts import positions
from eval.latent.information import Posteriors
from eval.latent.likelihood import Advance, AnyCorpus, ImportanceWeighted, bound, proposals, weight_noise


class OnePass(NamedTuple):
    """What one pass over N responses gives; see the functions that each part is named after.

    Attributes:
        elbo: as `evaluate_elbo` reports it.
        posteriors: of z, in the corpus's order.
        weighted: the importance-weighted bound with K draws; None if none were asked for.
    """

    elbo: ElboReport
    posteriors: Posteriors
    weighted: ImportanceWeighted | None


def score_once(
    model: LatentModel,
    corpus: AnyCorpus,
    *,
    draws: int = 0,
    seed: int = 0,
    batch_size: int = 64,
    rows: int = 512,
    advance: Advance | None = None,
) -> OnePass:
    """Score every response of a corpus.

    Args:
        model: without refinement of its posteriors; on any device.
        corpus: encoded for it, with at least one response.
        draws: K, 0 for no importance-weighted bound.
        seed: of the noise, which does not depend on the batch size.
        batch_size: responses read together. `nats_shuffled` takes each z from half a batch away.
        rows: most pairs of a response and a code to decode together.
        advance: receives the number of responses of each finished batch.
    """
    device = next(model.parameters()).device
    rng, latent = np.random.default_rng(seed), model.config.latent_size
    found: list[dict[str, NDArray[Any]]] = []
    with evaluation_mode(model), torch.inference_mode():
        for chosen in corpus.chunks(corpus.responses, batch_size):
            two = torch.from_numpy(rng.standard_normal((len(chosen), 2, latent), dtype=np.float32))
            many = (
                weight_noise(positions(corpus, chosen.astype(np.int64)), draws, latent, seed) if draws else two[:, :0]
            )
            batch = model.scoring_batch(corpus, chosen, device)
            columns = _columns(model, batch, moved(two, device), moved(many, device), draws, rows)
            found.append({name: column.cpu().numpy() for name, column in columns.items()})
            if advance is not None:
                advance(len(chosen))
    return _combined({name: np.concatenate([part[name] for part in found]) for name in found[0]}, draws)


def _columns(model: LatentModel, batch: Any, two: Tensor, many: Tensor, draws: int, rows: int) -> dict[str, Tensor]:
    """What is measured of each response of a batch, (B, ...) by name; losses in double precision.

    Args:
        model: see `score_once`.
        batch: B responses.
        two: noise of the ELBO's draw from the posterior and of one from the prior, (B, 2, Z).
        many: noise of the importance-weighted draws, (B, K, Z).
        draws: K; without z there is one draw at most, which counts for all.
        rows: see `score_once`.
    """
    encoded, posterior, prior = model.infer(batch)
    # All codes that the responses are decoded from.
    z = distributions.sample(posterior, two[:, 0])
    elsewhere = torch.roll(z, max(1, len(z) // 2), dims=0)  # half a batch away: rarely the same conversation
    codes = [z, distributions.sample(prior, two[:, 1]), elsewhere]
    weighted, ratio = proposals(posterior, prior, many)
    together = torch.cat((torch.stack(codes, dim=1), weighted.to(z.dtype)), dim=1)
    nll = model.reconstructions(batch, encoded, together, rows).double()
    columns = dict(zip(("reconstruction", "prior", "shuffled"), nll[:, : len(codes)].unbind(1), strict=True))
    # The rest of the terms.
    columns["kl"] = distributions.kl(posterior, prior).sum(-1).double()
    for name, loss in (
        ("bag_of_words", model.bag_of_words(batch, encoded, z)),
        ("without_z", model.without_z(batch, encoded)),
    ):
        if loss is not None:
            columns[name] = loss.double()
    if draws:
        columns["iw_nll"] = -bound(ratio - nll[:, len(codes) :], draws, draws)
    columns["tokens"] = batch.target_lengths
    parameters = (*posterior, *prior)
    return columns | {name: each.float() for name, each in zip(Posteriors._fields, parameters, strict=True)}


def _combined(columns: Mapping[str, NDArray[Any]], draws: int) -> OnePass:
    """The three results from the columns of all N responses."""
    found = Posteriors(*(columns[name] for name in Posteriors._fields))
    mean = {name: float(column.mean()) for name, column in columns.items() if column.ndim == 1}
    windows, tokens = len(columns["tokens"]), int(columns["tokens"].sum())
    shift = found.posterior_mean.astype(np.float64) - found.prior_mean
    elbo = ElboReport.of_means(mean, windows, tokens, shift.var(axis=0))
    weighted = None
    if draws:
        weighted = ImportanceWeighted({draws: columns["iw_nll"]}, columns["tokens"], columns.get("without_z"))
    return OnePass(elbo, found, weighted)
