"""Likelihoods against one window and one draw at a time, against an integral over z, and on the paper's windows."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.data.batches import collate
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.data.readers import zhao2017
from dialog_cvae.errors import ConfigError
from dialog_cvae.model.cvae import CVAE, TensorBatch
from dialog_cvae.model.elbo import evaluate_elbo
from dialog_cvae.model.latent_model import Vectors
from dialog_cvae.model.svi import noise_of_steps, refinement
from dialog_cvae.model_config import ModelConfig, SviConfig
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import Conversation, Gaussian, Utterance
from eval.latent.information import kl_per_dimension
from eval.latent.likelihood import importance_weighted_nll, posteriors
from eval.latent.subset_perplexity import loader_batches, subset_perplexity

SVI = SviConfig(steps=4, rate=0.2, noise="fresh")


def window(corpus: EncodedCorpus, response: int, context: int = 4) -> TensorBatch:
    return TensorBatch.from_arrays(collate(corpus, np.array([response]), context))


def resized(tiny_config: ModelConfig, tokenizer: Tokenizer, latent: int) -> CVAE:
    """A tiny model with another number of latent dimensions."""
    torch.manual_seed(3)
    model = CVAE(tiny_config.model_copy(update={"latent_size": latent}), len(tokenizer), 2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4)
    return model


def refined(model: CVAE, corpus: EncodedCorpus, response: int, seed: int, svi: SviConfig) -> Gaussian:
    """The posterior of one response, refined in company of no other."""
    conversation, place = (int(each) for each in corpus.places(np.array(response)))
    steps = noise_of_steps(
        svi, np.random.default_rng((seed + 1, conversation, place - 1)), (1, model.config.latent_size)
    )
    batch = window(corpus, response)
    state = model.encode(batch)
    start, prior = model.posterior(state), model.prior(state.condition)
    return refinement(model, batch, svi, steps, 1.0)(state, start, prior)


@torch.no_grad()
def naive_log_weights(
    model: CVAE, corpus: EncodedCorpus, response: int, seed: int, draws: int, svi: SviConfig | None = None
) -> list[float]:
    """From the definition, one draw of z at a time."""
    conversation, place = (int(each) for each in corpus.places(np.array(response)))
    rng = np.random.default_rng((seed, conversation, place - 1))
    noise = torch.from_numpy(rng.standard_normal((draws, model.config.latent_size), dtype=np.float32))
    batch = window(corpus, response)
    encoded = model.encode(batch)
    q, p = (
        Normal(gaussian.mean[0], (0.5 * gaussian.logvar[0]).exp())
        for gaussian in (
            model.posterior(encoded) if svi is None else refined(model, corpus, response, seed, svi),
            model.prior(encoded.condition),
        )
    )
    weights = []
    for each in noise:
        z = q.loc + q.scale * each
        likelihood = -model.reconstruction(batch, encoded, z[None])[0]
        weights.append(float(likelihood + p.log_prob(z).sum() - q.log_prob(z).sum()))
    return weights


def log_mean(values: list[float]) -> float:
    return math.log(math.fsum(math.exp(value) for value in values) / len(values))


def test_posteriors_are_the_models_in_the_corpus_order(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    seen: list[int] = []
    found = posteriors(tiny_model, encoded, batch_size=7, advance=seen.append)
    assert sum(seen) == encoded.windows
    for index, response in enumerate(encoded.responses):
        with torch.no_grad():
            vectors = tiny_model.encode(window(encoded, response))
            expected = (*tiny_model.posterior(vectors), *tiny_model.prior(vectors.condition))
        for array, tensor in zip(found, expected, strict=True):
            np.testing.assert_allclose(array[index], tensor[0].numpy(), atol=1e-5)


@torch.no_grad()
def test_refined_posteriors_are_those_of_each_response_alone(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    found = posteriors(tiny_model, encoded, svi=SVI, seed=4, batch_size=7)
    for row, response in enumerate(encoded.responses[:12].tolist()):
        expected = refined(tiny_model, encoded, response, 4, SVI)
        assert found.posterior_mean[row] == pytest.approx(expected.mean[0].numpy(), abs=1e-4)
        assert found.posterior_logvar[row] == pytest.approx(expected.logvar[0].numpy(), abs=1e-4)
    plain = posteriors(tiny_model, encoded)
    assert np.abs(found.posterior_mean - plain.posterior_mean).max() > 0.1
    assert found.prior_mean == pytest.approx(plain.prior_mean)
    assert posteriors(tiny_model, encoded, svi=SVI.model_copy(update={"steps": 0})).posterior_mean.tolist() == (
        plain.posterior_mean.tolist()
    )


def test_posteriors_agree_with_the_elbo_report(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    found, report = posteriors(tiny_model, encoded), evaluate_elbo(tiny_model, encoded)
    assert kl_per_dimension(found).sum() == pytest.approx(report.kl, rel=1e-5)
    with torch.no_grad():
        tiny_model.recognition_network.weight[0] = tiny_model.recognition_network.bias[0] = 0.0
        tiny_model.prior_network[2].weight[0] = 0.0
    found, report = posteriors(tiny_model, encoded), evaluate_elbo(tiny_model, encoded)
    assert ((found.posterior_mean - found.prior_mean).var(axis=0) > 0.01).sum() == report.active_units == 2


@pytest.mark.parametrize(("batch_size", "svi"), [(1, None), (4, None), (512, None), (4, SVI), (512, SVI)])
def test_bounds_against_one_draw_at_a_time(
    tiny_model: CVAE, encoded: EncodedCorpus, batch_size: int, svi: SviConfig | None
) -> None:
    responses = encoded.responses[[3, 0, 11, 3]]
    seen: list[int] = []
    found = importance_weighted_nll(
        tiny_model, encoded, responses, (6, 1, 4), svi=svi, seed=9, batch_size=batch_size, advance=seen.append
    )
    assert list(found.nll) == [6, 1, 4]
    assert sum(seen) == 4
    for index, response in enumerate(responses):
        weights = naive_log_weights(tiny_model, encoded, int(response), 9, 6, svi)
        expected = {6: log_mean(weights), 1: sum(weights) / 6, 4: log_mean(weights[:4])}  # 6 draws have one group of 4
        for k, value in expected.items():
            assert found.nll[k][index] == pytest.approx(-value, rel=1e-5), k
        assert found.tokens[index] == encoded.offsets[response + 1] - encoded.offsets[response] - 1
    assert found.nats[4] == pytest.approx(found.nll[4].mean(), rel=1e-12)
    assert found.perplexity[4] == pytest.approx(math.exp(found.nll[4].sum() / found.tokens.sum()), rel=1e-12)


def test_more_draws_tighten_the_bound_of_each_response(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    found = importance_weighted_nll(tiny_model, encoded, encoded.responses, (1, 5, 20, 60))
    bounds = list(found.nll.values())
    for looser, tighter in pairwise(bounds):
        assert (tighter <= looser + 1e-12).all()
        assert tighter.mean() < looser.mean() - 1e-3


def test_one_draw_is_the_elbo_in_expectation(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    found = importance_weighted_nll(tiny_model, encoded, encoded.responses, [1, 200])
    elbos = [evaluate_elbo(tiny_model, encoded, seed=seed).elbo for seed in range(30)]
    error = float(np.std(elbos)) / math.sqrt(30)
    assert error < 0.05
    assert found.nats[1] == pytest.approx(-np.mean(elbos), abs=4 * error)
    assert found.nats[200] < found.nats[1] - 0.05


def test_many_draws_reach_the_integral_over_z(
    tiny_config: ModelConfig, tokenizer: Tokenizer, encoded: EncodedCorpus
) -> None:
    model = resized(tiny_config, tokenizer, latent=1)
    with torch.no_grad():
        model.recognition_network.bias[1] += 3.0  # wide enough to cover p(z | x, c): the weights then vary little
    responses = encoded.responses[[0, 2, 9]]
    found = importance_weighted_nll(model, encoded, responses, [1, 10000])
    grid = torch.linspace(-25, 25, 4001)
    for index, response in enumerate(responses):
        batch = window(encoded, response)
        with torch.no_grad():
            condition = model.encode(batch).condition
            mean, logvar = (float(each) for each in model.prior(condition))
            lengths = batch.target_lengths.expand(len(grid))
            repeated = batch._replace(response=batch.response.expand(len(grid)), target_lengths=lengths)
            nll = model.reconstruction(repeated, Vectors(*(2 * [condition.expand(len(grid), -1)])), grid[:, None])
        prior = Normal(mean, math.exp(logvar / 2)).log_prob(grid)
        truth = float(torch.logsumexp((prior - nll).double(), 0)) + math.log(float(grid[1] - grid[0]))
        assert found.nll[1][index] > -truth + 0.2
        assert found.nll[10000][index] == pytest.approx(-truth, abs=0.03)


def test_without_z_the_likelihood_is_exact(
    tiny_config: ModelConfig, tokenizer: Tokenizer, encoded: EncodedCorpus
) -> None:
    model = resized(tiny_config, tokenizer, latent=0)
    found = importance_weighted_nll(model, encoded, encoded.responses, (1, 7, 500))
    report = evaluate_elbo(model, encoded)
    for k in (1, 7, 500):
        assert found.nats[k] == pytest.approx(-report.elbo, rel=1e-6)
        assert found.perplexity[k] == pytest.approx(report.perplexity_bound, rel=1e-6)
        np.testing.assert_allclose(found.nll[k], found.nll[1], rtol=1e-12)
    assert posteriors(model, encoded).posterior_mean.shape == (encoded.windows, 0)
    subset = subset_perplexity(model, encoded, batch_size=2)
    assert subset.kl == 0.0
    assert subset == subset_perplexity(model, encoded, batch_size=2, seed=1)


@pytest.mark.parametrize(
    ("responses", "ks", "message"),
    [
        ([], [1], "responses must be at least 1"),
        ([0], [1], "responses must be utterances of the corpus"),  # the opening
        ([-1], [1], "responses must be utterances of the corpus"),
        ([10**6], [1], "responses must be utterances of the corpus"),
        ([1], [], "ks must be numbers from 1 to 100000"),
        ([1], [5, 0], r"ks must be numbers from 1 to 100000, but are \[5, 0\]"),
        ([1], [10**9], "ks must be numbers from 1 to 100000"),
    ],
)
def test_invalid_responses_and_numbers_of_draws_are_refused(
    tiny_model: CVAE, encoded: EncodedCorpus, responses: list[int], ks: list[int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        importance_weighted_nll(tiny_model, encoded, np.array(responses, dtype=np.int64), ks)


# The windows of the paper's figures.


def conversations_of(lengths: list[int]) -> list[Conversation]:
    return [
        Conversation(f"c{index}", tuple(Utterance("AB"[turn % 2], "cats rain") for turn in range(length)))
        for index, length in enumerate(lengths)
    ]


def windows_by_hand(lengths: list[int], batch_size: int, max_context: int) -> list[list[tuple[int, list[int]]]]:
    """What a sliding cut through rows of utterance numbers holds: the last is the response, the others its context."""
    first_of = np.cumsum([0, *(length + 1 for length in lengths)])
    rows = [list(range(first_of[i], first_of[i + 1])) for i in range(len(lengths))]  # the opening is an utterance here
    rows = sorted(rows, key=len)
    size = min(batch_size, len(rows))
    found = []
    while len(rows) >= size:
        batch, rows = rows[:size], rows[size:]
        for end in range(2, len(batch[-1])):
            begin = max(0, end - (max_context + 1))
            cuts = [row[begin:end] for row in batch]
            if all(len(row) - begin > 1 for row in batch):
                found.append([(cut[-1], cut[:-1]) for cut in cuts])
    return found


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(2, 14), min_size=1, max_size=9),
    batch_size=st.integers(1, 10),
    max_context=st.integers(1, 5),
)
def test_the_loaders_windows(tokenizer: Tokenizer, lengths: list[int], batch_size: int, max_context: int) -> None:
    corpus = encode_corpus(conversations_of(lengths), tokenizer, (), max_tokens=8)
    found = loader_batches(corpus, batch_size, max_context)
    shown = [
        [(int(r), list(range(r - c, r))) for r, c in zip(responses, contexts, strict=True)]
        for responses, contexts in found
    ]
    assert shown == windows_by_hand(lengths, batch_size, max_context)


def test_the_batches_of_the_published_validation_set(data_folder: Path) -> None:
    file = data_folder / "zhao2017" / "valid.jsonl"
    if not file.is_file():
        pytest.skip(f"needs {file.name} of Zhao et al. in a folder zhao2017")
    conversations = list(zhao2017.read(file.parent, ["valid"]).valid)
    tokenizer = Tokenizer.train(["yeah"], TokenizerConfig())
    corpus = encode_corpus(conversations, tokenizer, (), max_tokens=40)
    assert (len(conversations), corpus.windows) == (60, 5225)
    batches = loader_batches(corpus, 60, 9)
    assert len(batches) == 41
    assert sum(len(responses) for responses, _ in batches) == 2460
    single = loader_batches(corpus, 1, 9)  # all but the last utterance of each conversation
    assert len(single) == sum(len(conversation.utterances) - 1 for conversation in conversations) == 5165


def test_the_papers_perplexity_uses_refined_posteriors(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    plain, found = (subset_perplexity(tiny_model, encoded, svi=svi) for svi in (None, SVI))
    assert found.reconstruction + found.kl < plain.reconstruction + plain.kl - 0.1
    assert subset_perplexity(tiny_model, encoded, svi=SVI.model_copy(update={"steps": 0})) == plain


def test_the_papers_perplexity_against_one_window_at_a_time(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    seen: list[int] = []
    found = subset_perplexity(tiny_model, encoded, seed=4, batch_size=3, advance=seen.append)
    rng = np.random.default_rng(4)
    perplexities, reconstructions, divergences = [], [], []
    shrunk = False
    for responses, contexts in loader_batches(encoded, 3, 4):
        noise = torch.from_numpy(rng.standard_normal((3, 3), dtype=np.float32))
        with torch.no_grad():
            terms = [
                tiny_model(window(encoded, response, int(context)), noise[[row]])
                for row, (response, context) in enumerate(zip(responses, contexts, strict=True))
            ]
        nats, tokens = (sum(float(getattr(term, name)) for term in terms) for name in ("reconstruction", "tokens"))
        perplexities.append(math.exp(nats / tokens))
        reconstructions.append(nats)
        divergences.append(sum(float(term.kl) for term in terms))
        shrunk |= bool((contexts < np.minimum(4, encoded.places(responses)[1])).any())
    assert shrunk
    windows = 3 * len(perplexities)
    assert (found.windows, found.batches, sum(seen)) == (windows, len(perplexities), windows)
    assert found.perplexity == pytest.approx(np.mean(perplexities), rel=1e-5)
    assert found.reconstruction == pytest.approx(sum(reconstructions) / windows, rel=1e-5)
    assert found.kl == pytest.approx(sum(divergences) / windows, rel=1e-5)


def test_fewer_conversations_than_a_batch_are_one_batch(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    found = subset_perplexity(tiny_model, encoded)
    assert found.windows == len(encoded.topic) * found.batches


def test_a_corpus_without_windows_is_refused(tiny_model: CVAE, tokenizer: Tokenizer) -> None:
    for lengths in ([], [1, 1]):
        corpus = encode_corpus(conversations_of(lengths), tokenizer, (), max_tokens=8)
        with pytest.raises(ConfigError, match=f"{len(lengths)} conversations leave no window"):
            subset_perplexity(tiny_model, corpus)
    with pytest.raises(ConfigError, match="batch_size must be at least 1, but is 0"):
        loader_batches(corpus, 0, 9)
