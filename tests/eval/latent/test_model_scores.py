"""The scores of given responses under a model: each figure against the function that defines it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from tqdm import tqdm

from dialog_cvae.data.turns import encode_turns
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.elbo import evaluate_elbo
from eval.latent import model_scores as module
from eval.latent.information import Posteriors, kl_per_dimension, mutual_information
from eval.latent.likelihood import importance_weighted_nll, posteriors
from eval.latent.model_scores import language_model_scores, latent_figures, model_scores
from eval.latent.subset_perplexity import subset_perplexity
from tests.dialog_cvae.model.test_language_cvae import Letters
from tests.eval.latent.test_one_pass import language_model


def bar(total: int, what: str) -> tqdm[Any]:
    return tqdm(total=total, desc=what, disable=True)


def test_the_figures_are_those_of_their_functions(tiny_model, encoded):
    figures, columns, means = model_scores(tiny_model, encoded, seed=5, importance_samples=4, bar=bar)
    elbo, paper = evaluate_elbo(tiny_model, encoded, seed=5), subset_perplexity(tiny_model, encoded, seed=5)
    assert {name: figures[name] for name in elbo.figures()} == elbo.figures()
    assert (figures["paper_rec_perplexity"], figures["paper_kl"]) == (paper.perplexity, paper.kl)
    assert (figures["paper_windows"], figures["paper_batches"]) == (paper.windows, paper.batches)
    found = posteriors(tiny_model, encoded)
    assert figures["kl_per_dimension"] == kl_per_dimension(found).tolist()
    parts = mutual_information(found, seed=5, samples=-(-module.LEAST_DRAWS // encoded.windows))
    assert figures["mutual_information"] == parts.plug_in
    assert figures["mutual_information_leave_one_out"] == parts.leave_one_out
    assert (figures["mutual_information_windows"], figures["mutual_information_cap"]) == (parts.n, math.log(parts.n))
    assert (figures["marginal_kl"], figures["kl_from_context"]) == (parts.marginal_kl, parts.from_context)
    weighted = importance_weighted_nll(tiny_model, encoded, encoded.responses, [4], seed=5)
    assert (figures["iw_samples"], figures["iw_nll"]) == (4, weighted.nats[4])
    assert figures["iw_perplexity"] == weighted.perplexity[4]
    assert np.array_equal(columns["iw_nll"], weighted.nll[4])
    assert columns["kl"].shape == (encoded.windows,)
    assert columns["kl"].mean() == pytest.approx(figures["kl"], rel=1e-6)
    assert np.array_equal(means, found.posterior_mean)


def test_the_figures_of_a_language_model(conversations, monkeypatch):
    monkeypatch.setattr(module, "FEW", 7)
    model, turns = language_model(block=3), encode_turns(conversations, Letters(), max_reply_tokens=24)
    figures, columns, means = language_model_scores(model, turns, seed=5, importance_samples=12, bar=bar)
    weighted = importance_weighted_nll(model, turns, turns.responses, [10], seed=5)
    assert figures["iw_samples"] == 10
    assert figures["iw_nll"] == pytest.approx(weighted.nats[10], rel=1e-5)
    assert figures["nats_z_cost"] == pytest.approx(weighted.nats[10] - weighted.without_z.mean(), rel=1e-3)
    assert figures["nats_z_cost"] == pytest.approx(figures["iw_nll"] - figures["without_z"])
    assert columns.keys() == {"kl", "iw_nll", "without_z"}
    assert columns["without_z"] == pytest.approx(weighted.without_z, rel=1e-5)
    assert figures["mutual_information_windows"] == turns.windows == len(means)
    assert figures["iw_few"]["responses"] == 7
    assert not [name for name in figures if name.startswith("paper_")]
    plain, columns, _ = language_model_scores(model, turns, seed=5, bar=bar)
    assert columns.keys() == {"kl"}
    for name, value in plain.items():
        assert figures[name] == pytest.approx(value, rel=1e-4), name


def test_without_importance_samples_none_are_drawn(tiny_model, encoded):
    figures, columns, _ = model_scores(tiny_model, encoded, bar=bar)
    assert not [name for name in figures if name.startswith("iw")]
    assert list(columns) == ["kl"]


def test_many_importance_samples_are_for_few_windows(tiny_model, encoded, monkeypatch):
    monkeypatch.setattr(module, "FEW", 7)
    figures, columns, _ = model_scores(tiny_model, encoded, importance_samples=60, bar=bar)
    few = figures["iw_few"]
    assert figures["iw_samples"] == 10
    assert (few["responses"], few["samples"]) == (7, 60)
    assert list(few["nll"]) == ["1", "10", "50", "60"]
    assert few["nll"]["1"] > few["nll"]["10"] > few["nll"]["60"]
    assert len(columns["iw_nll"]) == encoded.windows


def test_the_mixture_of_a_big_corpus_is_a_sample(tiny_model, encoded, monkeypatch):
    monkeypatch.setattr(module, "MIXTURE", 9)
    figures, _, means = model_scores(tiny_model, encoded, bar=bar)
    assert (figures["mutual_information_windows"], figures["mutual_information_cap"]) == (9, math.log(9))
    assert len(means) == encoded.windows


@pytest.mark.parametrize("seed", range(4))
def test_the_mutual_information_of_few_windows_does_not_depend_on_the_draws_of_z(seed):
    # ten posteriors in a row, as of the toy; by equation 8 both parts together are the KL to a common prior
    mean = np.zeros((10, 2))
    mean[:, 0] = np.linspace(-1.4, 1.4, 10)
    logvar, prior = np.full((10, 2), [np.log(0.36), 0.0]), np.zeros((10, 2))
    figures = latent_figures(Posteriors(mean, logvar, prior, prior), seed, most=10)
    parts = figures["mutual_information"] + figures["marginal_kl"]
    assert parts == pytest.approx(sum(figures["kl_per_dimension"]), abs=0.05)


def test_figures_that_are_not_finite_are_none(tiny_model, encoded):
    with torch.no_grad():
        tiny_model.recognition_network.bias.fill_(1e30)
    figures, _, _ = model_scores(tiny_model, encoded, importance_samples=2, bar=bar)
    assert figures["kl"] is None
    assert figures["iw_nll"] is None
    assert "mutual_information" not in figures


def test_a_model_without_z(tiny_config, tokenizer, encoded):
    model = CVAE(tiny_config.model_copy(update={"latent_size": 0}), len(tokenizer), 2)
    figures, columns, means = model_scores(model, encoded, importance_samples=3, bar=bar)
    assert figures["kl"] == figures["paper_kl"] == 0
    assert figures["kl_per_dimension"] == []
    assert figures["iw_nll"] == pytest.approx(-figures["elbo"])
    assert not columns["kl"].any()
    assert means.shape == (encoded.windows, 0)
