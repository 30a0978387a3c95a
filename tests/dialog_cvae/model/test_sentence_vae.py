"""The VAE of sentences against the equations, one sentence and one word at a time."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.data.readers.ptb import sentence
from dialog_cvae.data.sentences import Sentences, batches_per_epoch, epoch_batches
from dialog_cvae.errors import CheckpointError
from dialog_cvae.model.build import build_model, weights_of
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.elbo import evaluate_elbo, first_posteriors
from dialog_cvae.model.latent_model import Vectors
from dialog_cvae.model.sentence_vae import SentenceVAE
from dialog_cvae.model_config import ModelConfig, SentenceModelConfig
from dialog_cvae.nn.decoder import Dropout
from dialog_cvae.nn.posterior_norm import PosteriorNorm
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import CheckpointConfig, Provenance
from dialog_cvae.text.tokenizer import Tokenizer
from eval.latent.likelihood import importance_weighted_nll, posteriors

TEXTS = ["a b", "b c a", "c", "a c", "b b b", "c a d", "d", "a b c d", "b a"]
LABELS = ["x", "y", None]
SIZES = {"embedding_size": 5, "encoder_size": 6, "decoder_size": 7, "latent_size": 3, "max_tokens": 16}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"layers": 2},
    {"layers": 2, "skip": True},
    {"z_to_state": False, "skip": True},
    {"z_to_inputs": False},
    {"tied_output": True, "shared_embedding": True},
    {"tied_output": True, "skip": True},
    {"posterior_norm": 0.6},
    {"latent_size": 0},
    {"latent_size": 0, "layers": 2, "tied_output": True},
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, TokenizerConfig(mode="space", vocab_size=16))


@pytest.fixture(scope="module")
def sentences(tokenizer: Tokenizer) -> Sentences:
    corpus = [sentence(str(i), text, LABELS[i % 3]) for i, text in enumerate(TEXTS)]
    return Sentences.of(encode_corpus(corpus, tokenizer, ("x", "y"), 16))


def model_of(tokenizer: Tokenizer, **fields: Any) -> SentenceVAE:
    torch.manual_seed(3)
    model = SentenceVAE(SentenceModelConfig(**SIZES | {"initial_range": 0.5} | fields), len(tokenizer))
    return model.eval()


def naive_nll(model: SentenceVAE, tokens: list[int], z: Tensor, dropout: Dropout | None = None) -> Tensor:
    """-log p(x | z), a word and a layer at a time, by LSTM cells with the model's weights."""
    decoder, config = model.decoder, model.config
    hidden = decoder.start(z).chunk(config.layers) if decoder.start is not None else [torch.zeros(7)] * config.layers
    states = [(each[None], torch.zeros(1, 7)) for each in hidden]
    nll = torch.zeros(())
    for step, (word, target) in enumerate(itertools.pairwise(tokens)):
        value = model.embedding.weight[word] * (1 if dropout is None else dropout.inputs[0, step])
        for layer in range(config.layers):
            with_z = config.skip if layer else config.z_to_inputs
            value = torch.cat((value, z)) if with_z else value
            lstm = decoder.layers[layer]
            cell = nn.LSTMCell(len(value), 7)
            cell.load_state_dict({name.removesuffix("_l0"): each for name, each in lstm.state_dict().items()})
            states[layer] = cell(value[None], states[layer])
            value = states[layer][0][0]
        value = value * (1 if dropout is None else dropout.outputs[0, step])
        value = torch.cat((value, z)) if config.skip else value
        if decoder.output is not None:
            logits = decoder.output(value)
        else:
            assert decoder.map is not None
            assert decoder.bias is not None
            logits = model.embedding.weight @ decoder.map(value) + decoder.bias
        nll = nll - torch.log_softmax(logits, -1)[target]
    return nll


@torch.no_grad()
@pytest.mark.parametrize("fields", VARIANTS, ids=str)
def test_terms_are_those_of_one_sentence_and_word_at_a_time(
    tokenizer: Tokenizer, sentences: Sentences, fields: dict[str, Any]
) -> None:
    model = model_of(tokenizer, **fields)
    chosen = sentences.groups()[-2]
    batch = model.batch(sentences, chosen)
    latent = model.config.latent_size
    noise = torch.randn(len(chosen), latent, generator=torch.Generator().manual_seed(1))
    terms = model(batch, noise)
    for row, tokens in enumerate(batch.tokens.tolist()):
        z, expected_kl = torch.zeros(0), torch.zeros(())
        if latent:
            assert model.encoder is not None
            assert model.recognition_network is not None
            embedded = (model.encoder_embedding or model.embedding).weight[tokens]
            vector = model.encoder.lstm(embedded[None])[0][0, -1]
            mean, logvar = model.recognition_network(vector).chunk(2)
            if model.mean_norm is not None:  # running statistics are 0 and 1 at the start
                mean = 0.6 * mean + model.mean_norm.bias
            z = mean + (logvar / 2).exp() * noise[row]
            expected_kl = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(0.0, 1.0)).sum()
        torch.testing.assert_close(terms.reconstruction[row], naive_nll(model, tokens, z), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(terms.kl[row], expected_kl, rtol=1e-5, atol=1e-6)
    assert terms.bag_of_words is None
    assert terms.tokens.tolist() == [batch.tokens.shape[1] - 1] * len(chosen)
    if latent:
        by_dimension = model(batch, noise, kl_by_dimension=True).kl
        assert by_dimension.shape == (len(chosen), latent)
        torch.testing.assert_close(by_dimension.sum(-1), terms.kl)


@torch.no_grad()
def test_dropout_of_inputs_and_outputs(tokenizer: Tokenizer, sentences: Sentences) -> None:
    model = model_of(tokenizer, layers=2)
    batch = model.batch(sentences, sentences.groups()[0][:1])
    width = batch.targets.shape[1]
    generator = torch.Generator().manual_seed(5)
    dropout = Dropout(*(torch.rand(1, width, size, generator=generator).round() * 2 for size in (5, 7)))
    z = torch.randn(1, 3, generator=generator)
    found = model.reconstruction(batch, Vectors(z[:, :0], z[:, :0]), z, dropout)
    torch.testing.assert_close(found[0], naive_nll(model, batch.tokens[0].tolist(), z[0], dropout), rtol=1e-5, atol=0)


def test_the_first_sentences_are_those_of_the_corpus_and_not_the_shortest(
    tokenizer: Tokenizer, sentences: Sentences
) -> None:
    assert sorted(sentences.source[sentences.first(4)]) == [0, 1, 2, 3]
    assert (np.diff(sentences.lengths[sentences.first(4)]) >= 0).all()
    assert sentences.first(None).tolist() == sentences.responses.tolist()
    assert len(sentences.first(100)) == len(TEXTS)
    model = model_of(tokenizer)
    four = Sentences.of(encode_corpus([sentence(str(i), text) for i, text in enumerate(TEXTS[:4])], tokenizer, (), 16))
    assert evaluate_elbo(model, sentences, first=4) == evaluate_elbo(model, four)
    found, whole = first_posteriors(model, sentences, 4), posteriors(model, sentences)
    np.testing.assert_allclose(found.mean, whole.posterior_mean[sentences.first(4)], rtol=1e-5)


def test_the_vector_of_padding_stays_zero_where_the_softmax_shares_the_embedding(
    tokenizer: Tokenizer, sentences: Sentences
) -> None:
    model = model_of(tokenizer, tied_output=True).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    batch = model.batch(sentences, sentences.groups()[-2])
    for _ in range(3):
        optimiser.zero_grad()
        model(batch, torch.zeros(len(batch.tokens), 3)).reconstruction.mean().backward()
        optimiser.step()
    assert model.embedding(torch.tensor([0])).abs().max() == 0
    assert model.embedding.vectors[1:].equal(model.embedding.weight[1:])


def test_a_restarted_decoder_has_no_old_bias(tokenizer: Tokenizer) -> None:
    model = model_of(tokenizer, tied_output=True, initial_range=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(9.0)
    kept = {id(each) for each in model.inference_parameters()}
    assert {id(each) for each in model.restart_generation()} == {id(each) for each in model.parameters()} - kept
    assert all((each == 9).all() if id(each) in kept else (each != 9).all() for each in model.parameters())


def test_an_autoencoder_has_no_figures_that_need_a_variance(tokenizer: Tokenizer, sentences: Sentences) -> None:
    model = model_of(tokenizer)
    with torch.no_grad():
        assert model.recognition_network is not None
        model.recognition_network.bias[3:] = 1.0
    report = evaluate_elbo(model, sentences, by_mean=True)
    known = {name for name, value in report.figures().items() if value is not None}
    assert known == {"windows", "tokens", "reconstruction", "rec_perplexity", "active_units"}
    with torch.no_grad():
        model.recognition_network.bias[3:] = 5.0
    assert evaluate_elbo(model, sentences, by_mean=True).reconstruction == report.reconstruction


def test_a_decoder_that_never_receives_z_is_refused() -> None:
    with pytest.raises(ValueError, match="one of z_to_state, z_to_inputs and skip must be true"):
        SentenceModelConfig(z_to_state=False, z_to_inputs=False)
    assert SentenceModelConfig(z_to_state=False, z_to_inputs=False, latent_size=0).latent_size == 0


def test_a_dropped_word_is_a_zero_vector_to_the_decoder_alone(tokenizer: Tokenizer, sentences: Sentences) -> None:
    batch = model_of(tokenizer).batch(sentences, sentences.groups()[-1])
    dropped = batch._replace(dropped=torch.tensor([[False, True, False, True, False]]))
    assert dropped.inputs.tolist()[0] == [int(i) * (n % 2 == 0) for n, i in enumerate(batch.inputs[0])]
    assert torch.equal(dropped.targets, batch.targets)
    assert model_of(tokenizer).embedding.weight[0].abs().sum() == 0


def test_sentences_are_sorted_by_length_and_keep_their_words_labels_and_places(
    tokenizer: Tokenizer, sentences: Sentences
) -> None:
    assert sentences.windows == len(TEXTS)
    for index, source in enumerate(sentences.source.tolist()):
        tokens = sentences.rows(np.array([index]))[0].tolist()
        assert tokens == [tokenizer.bos_id, *tokenizer.encode(TEXTS[source]), tokenizer.eos_id]
        assert (None, "x", "y")[sentences.label[index]] == LABELS[source % 3]
    assert sentences.lengths.tolist() == sorted(sentences.lengths.tolist())
    chunks = sentences.chunks(sentences.responses, 2)
    assert np.concatenate(chunks).tolist() == list(range(len(TEXTS)))
    assert all(len(chunk) <= 2 and len(set(sentences.lengths[chunk])) == 1 for chunk in chunks)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_pass_has_every_sentence_once_in_batches_of_one_length(sentences: Sentences, size: int) -> None:
    batches = epoch_batches(sentences, size, seed=4, epoch=2)
    assert len(batches) == batches_per_epoch(sentences, size)
    assert sorted(np.concatenate(batches).tolist()) == list(range(sentences.windows))
    assert all(len(set(sentences.lengths[batch])) == 1 and len(batch) <= size for batch in batches)
    again = epoch_batches(sentences, size, seed=4, epoch=2)
    assert all(np.array_equal(one, other) for one, other in zip(batches, again, strict=True))
    other = [batch.tolist() for batch in epoch_batches(sentences, size, seed=4, epoch=3)]
    assert size == 100 or other != [batch.tolist() for batch in batches]


def test_the_language_model_has_an_exact_likelihood(tokenizer: Tokenizer, sentences: Sentences) -> None:
    model = model_of(tokenizer, latent_size=0)
    report = evaluate_elbo(model, sentences)
    with torch.no_grad():
        rows = [sentences.rows(np.array([index]))[0].tolist() for index in range(9)]
        exact = [float(naive_nll(model, row, torch.zeros(0))) for row in rows]
    assert (report.kl, report.active_units, report.nats_from_z) == (0.0, 0, 0.0)
    assert -report.elbo == pytest.approx(np.mean(exact), rel=1e-6)
    weighted = importance_weighted_nll(model, sentences, sentences.responses, [5])
    assert weighted.nats[5] == pytest.approx(np.mean(exact), rel=1e-6)
    assert report.tokens == sum(len(text.split()) + 1 for text in TEXTS)
    assert not list(model.inference_parameters())


def test_importance_weighting_comes_to_the_integral(tokenizer: Tokenizer, sentences: Sentences) -> None:
    model = model_of(tokenizer, latent_size=1)
    found = importance_weighted_nll(model, sentences, sentences.responses, [1, 20_000])
    grid = torch.linspace(-8, 8, 801)[:, None]
    for index in range(3):
        batch = model.batch(sentences, np.array([index])).repeated(torch.zeros(801, dtype=torch.long))
        with torch.no_grad():
            joint = Normal(0.0, 1.0).log_prob(grid[:, 0]) - model.reconstruction(
                batch, Vectors(grid[:, :0], grid[:, :0]), grid
            )
        exact = -float(torch.logsumexp(joint, 0) + np.log(0.02))
        assert found.nll[20_000][index] == pytest.approx(exact, abs=0.01)
    assert found.nats[1] > found.nats[20_000]
    assert posteriors(model, sentences).posterior_mean.shape == (9, 1)


def test_normalised_means_keep_the_kl_above_its_bound() -> None:
    torch.manual_seed(0)
    norm = PosteriorNorm(4, gamma=0.7).train()
    mean = torch.randn(64, 4) * torch.tensor([1e-3, 1.0, 5.0, 100.0]) + 3
    found = norm(mean)
    torch.testing.assert_close(found.mean(0), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.std(0, unbiased=False), torch.full((4,), 0.7), atol=1e-3, rtol=0)
    expected = torch.nn.functional.batch_norm(mean, None, None, training=True, eps=1e-10) * 0.7
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    divergence = kl_divergence(Normal(found, 1.0), Normal(0.0, 1.0)).mean(0)  # the variance can only add to it
    assert bool((divergence >= 0.7**2 / 2 - 1e-3).all())
    theirs = nn.BatchNorm1d(4, momentum=0.1, affine=False).train()
    theirs(mean)
    assert theirs.running_mean is not None
    assert not norm.running_mean.any()  # until the update is accepted
    norm.settle(torch.tensor(True))
    torch.testing.assert_close(norm.running_mean, theirs.running_mean)
    for accepted in (False, True):  # two calls of one update, then none
        before = norm.running_mean.clone()
        norm(mean)
        norm(mean + 1)
        norm.settle(torch.tensor(accepted))
        expected = before.lerp(mean.mean(0), 0.1).lerp(mean.mean(0) + 1, 0.1) if accepted else before
        torch.testing.assert_close(norm.running_mean, expected)
        norm.settle(torch.tensor(True))
        torch.testing.assert_close(norm.running_mean, expected)
    torch.testing.assert_close(norm(mean[:1]), norm.eval()(mean[:1]))  # one row has no deviation of its own


def test_a_checkpoint_comes_back_and_another_models_is_refused(
    tokenizer: Tokenizer, tiny_checkpoint: Checkpoint
) -> None:
    model = model_of(tokenizer, posterior_norm=0.5)
    config = CheckpointConfig(
        model=ModelConfig(),
        sentence=model.config,
        vocab_size=len(tokenizer),
        topics=(),
        provenance=Provenance(data="tiny"),
    )
    weights = weights_of(model)
    found = build_model(Checkpoint(config, weights, tokenizer))
    assert all(torch.equal(one, other) for one, other in zip(found.parameters(), model.parameters(), strict=True))
    with pytest.raises(CheckpointError, match="holds a dialog model; a sentence VAE is required"):
        build_model(tiny_checkpoint, required=SentenceVAE)
    with pytest.raises(CheckpointError, match="holds a sentence VAE; a dialog model is required"):
        build_model(Checkpoint(config, weights, tokenizer), required=CVAE)
    for change, complaint in (
        ({"extra": np.zeros(1)}, "weight extra is not part of this model"),
        ({"embedding.weight": np.zeros((2, 2))}, r"weight embedding.weight has shape \(2, 2\)"),
        ({"decoder.output.bias": np.full(len(tokenizer), np.nan)}, "values that are not finite"),
    ):
        with pytest.raises(CheckpointError, match=complaint):
            build_model(Checkpoint(config, weights | change, tokenizer))
    del weights["embedding.weight"]
    with pytest.raises(CheckpointError, match=r"weight embedding.weight is missing"):
        build_model(Checkpoint(config, weights, tokenizer))
