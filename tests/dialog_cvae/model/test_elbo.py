"""The ELBO over a corpus against one window at a time."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dialog_cvae.data.batches import collate
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.model.cvae import CVAE, TensorBatch
from dialog_cvae.model.elbo import ElboReport, evaluate_elbo
from dialog_cvae.nn import distributions


def _one_at_a_time(model: CVAE, encoded: EncodedCorpus, seed: int, batch_size: int) -> dict[str, np.ndarray]:
    """Terms of each window by the model's own forward pass, with the noise of its turn.

    The batches of `batch_size` only say whose code is the shuffled one of a window.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in ("reconstruction", "kl", "bag_of_words", "tokens", "prior")}
    shifts, windows, codes = [], [], []
    for response in encoded.responses:
        batch = TensorBatch.from_arrays(collate(encoded, np.array([response]), model.config.max_context))
        noise = torch.from_numpy(rng.standard_normal((1, 2, model.config.latent_size), dtype=np.float32))
        terms = model(batch, noise[:, 0])
        for name in ("reconstruction", "kl", "bag_of_words", "tokens"):
            found[name].append(float(getattr(terms, name)))
        vectors = model.encode(batch)
        prior = model.prior(vectors.condition)
        z = distributions.sample(prior, noise[:, 1])
        found["prior"].append(float(model.reconstruction(batch, vectors, z)))
        posterior = model.posterior(vectors)
        shifts.append((posterior.mean - prior.mean)[0].tolist())
        windows.append((batch, vectors))
        codes.append(distributions.sample(posterior, noise[:, 0]))
    found["shuffled"] = []
    for first in range(0, len(codes), batch_size):
        own = codes[first : first + batch_size]
        half = max(1, len(own) // 2)
        for (batch, vectors), code in zip(windows[first:], [*own[-half:], *own[:-half]], strict=False):
            found["shuffled"].append(float(model.reconstruction(batch, vectors, code)))
    return {name: np.array(values) for name, values in found.items()} | {"shift": np.array(shifts)}


@pytest.mark.parametrize("batch_size", [1, 5, 64])
@torch.no_grad()
def test_against_one_window_at_a_time(tiny_model: CVAE, encoded: EncodedCorpus, batch_size: int) -> None:
    naive = _one_at_a_time(tiny_model, encoded, seed=3, batch_size=batch_size)
    report = evaluate_elbo(tiny_model, encoded, seed=3, batch_size=batch_size)
    tokens = naive["tokens"].sum()
    assert (report.windows, report.tokens) == (len(encoded.responses), tokens)
    for name in ("reconstruction", "kl", "bag_of_words"):
        assert getattr(report, name) == pytest.approx(naive[name].mean(), rel=1e-5), name
    assert report.elbo == -(report.reconstruction + report.kl)
    assert report.rec_perplexity == pytest.approx(math.exp(naive["reconstruction"].sum() / tokens), rel=1e-5)
    total = (naive["reconstruction"] + naive["kl"]).sum()
    assert report.perplexity_bound == pytest.approx(math.exp(total / tokens), rel=1e-5)
    assert report.nats_from_z == pytest.approx((naive["prior"] - naive["reconstruction"]).mean(), abs=1e-4)
    shuffled = (naive["shuffled"] - naive["reconstruction"]).mean()
    assert (abs(shuffled) > 1e-3) == (batch_size > 1)
    assert report.nats_shuffled == pytest.approx(shuffled, abs=1e-4)
    assert report.active_units == (naive["shift"].var(axis=0) > 0.01).sum()


def test_noise_is_the_seeds(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    first = evaluate_elbo(tiny_model, encoded, seed=1)
    assert evaluate_elbo(tiny_model, encoded, seed=1) == first
    other = evaluate_elbo(tiny_model, encoded, seed=2)
    assert other.reconstruction != first.reconstruction
    assert other.kl == first.kl


@torch.no_grad()
def _recognise(model: CVAE, active: int) -> None:
    """A posterior whose mean follows the response in the first `active` dimensions; in the others it is far from the
    prior's, but the same for every response.
    """
    for parameter in (*model.prior_network.parameters(), model.recognition_network.bias):
        parameter.zero_()
    weight = model.recognition_network.weight
    weight[active : model.config.latent_size] = 0.0
    weight[model.config.latent_size :] = 0.0  # log variances
    model.recognition_network.weight[:active] *= 10
    model.recognition_network.bias[: model.config.latent_size] = 2.0


@pytest.mark.parametrize("active", [0, 1, 2, 3])
def test_active_units_made_by_hand(tiny_model: CVAE, encoded: EncodedCorpus, active: int) -> None:
    _recognise(tiny_model, active)
    assert evaluate_elbo(tiny_model, encoded).active_units == active


@torch.no_grad()
def test_a_decoder_that_ignores_z_gains_nothing_by_it(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    assert abs(evaluate_elbo(tiny_model, encoded).nats_shuffled) > 1e-3
    tiny_model.decoder.start.weight[:, -tiny_model.config.latent_size :] = 0.0
    report = evaluate_elbo(tiny_model, encoded)
    assert report.nats_from_z == pytest.approx(0.0, abs=1e-6)
    assert report.nats_shuffled == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("processes", [2, 3, 40])  # more than there are batches too
def test_processes_may_share_the_batches_out(tiny_model: CVAE, encoded: EncodedCorpus, processes: int) -> None:
    kept: list[Tensor] = []

    def keep(sums: Tensor) -> Tensor:
        kept.append(sums)
        return torch.ones_like(sums)

    for rank in range(1, processes):
        evaluate_elbo(tiny_model, encoded, seed=3, batch_size=10, part=(rank, processes), total=keep)
    whole = evaluate_elbo(tiny_model, encoded, seed=3, batch_size=10)
    shared = evaluate_elbo(
        tiny_model, encoded, seed=3, batch_size=10, part=(0, processes), total=lambda sums: sums + sum(kept)
    )
    assert shared.figures() == pytest.approx(whole.figures(), rel=1e-12, abs=1e-12)


def test_progress_counts_every_window_and_the_mode_is_kept(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    seen: list[int] = []
    tiny_model.train()
    evaluate_elbo(tiny_model, encoded, batch_size=10, advance=seen.append)
    assert sum(seen) == len(encoded.responses)
    assert tiny_model.training
    assert all(parameter.grad is None for parameter in tiny_model.parameters())


@torch.no_grad()
def test_a_model_that_is_far_off_has_infinite_perplexity_and_null_in_json(
    tiny_model: CVAE, encoded: EncodedCorpus
) -> None:
    tiny_model.decoder.output.weight *= 1e6
    report = evaluate_elbo(tiny_model, encoded)
    assert math.isfinite(report.elbo)
    assert report.rec_perplexity == math.inf
    figures = report.figures()
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["rec_perplexity"] is None


def test_figures_leave_out_what_was_not_measured() -> None:
    figures = ElboReport(2, 9, 3.0, 0.5, -3.5, 2.0, math.nan, 1, 0.1, 0.2, None).figures()
    assert "bag_of_words" not in figures
    assert figures["perplexity_bound"] is None
    assert (figures["windows"], figures["elbo"]) == (2, -3.5)
