"""Semi-amortized training of both models: the gradient of a whole update, and its independence of batch division."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.data.readers.ptb import sentence
from dialog_cvae.data.sentences import Sentences
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.elbo import evaluate_elbo
from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.model.sentence_vae import SentenceBatch, SentenceVAE
from dialog_cvae.model.svi import REFINED_TOGETHER, evaluation_batch_size, update_cost
from dialog_cvae.model_config import ModelConfig, SentenceModelConfig, SviConfig
from dialog_cvae.nn import matmul
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import Gaussian
from eval.latent.likelihood import importance_weighted_nll, posteriors
from tests.conftest import make_model
from tests.training.tiny_runs import Fit, assert_same_run
from training.adam import GuardedAdam
from training.batch import Batch, Extras, MicroBatch
from training.config import TrainConfig
from training.dialog_batches import DialogBatches
from training.sentence_batches import SentenceBatches
from training.update import terms_of, update

TEXTS = ["a b", "b c a", "c b", "a c", "b b b", "c a d", "d a", "a b c d", "b a"]
STEPS = {"steps": 3, "rate": 0.5, "clip_norm": 0.6}
Made = Callable[..., tuple[LatentModel, Batch, TrainConfig]]


@pytest.fixture
def known(tokenizer: Tokenizer) -> Tokenizer:
    """The corpus of the conversations."""
    return tokenizer


@pytest.fixture(params=["dialog", "remedied", "sentences"])
def made(request: pytest.FixtureRequest, known: Tokenizer, tiny_config: ModelConfig, encoded: EncodedCorpus) -> Made:
    """A model, its first batch and its configuration."""
    tokenizer = Tokenizer.train(TEXTS, TokenizerConfig(mode="space", vocab_size=16))
    corpus = encode_corpus([sentence(str(i), text) for i, text in enumerate(TEXTS)], tokenizer, (), 16)

    def make(**fields: Any) -> tuple[LatentModel, Batch, TrainConfig]:
        config = TrainConfig.model_validate({"batch_size": 5, "clip_norm": 1e9} | fields)
        if request.param != "sentences":
            remedies = {"skip": True, "posterior_norm": 0.6} if request.param == "remedied" else {}
            model = make_model(tiny_config.model_copy(update=remedies), known)
            if model.mean_norm is not None:  # by running statistics: a batch that is divided has no others of its own
                model.eval()
                model.mean_norm.running_variance.fill_(0.3)
            return model, next(DialogBatches(encoded, config, model.config).from_step(0)), config
        torch.manual_seed(3)
        sizes = SentenceModelConfig(embedding_size=5, encoder_size=6, decoder_size=7, latent_size=3, initial_range=0.8)
        batches = SentenceBatches(Sentences.of(corpus), config, sizes)
        return SentenceVAE(sizes, len(tokenizer)), next(batches.from_step(0)), config

    return make


@pytest.mark.parametrize("gradient", ["exact", "finite_differences"])
@pytest.mark.parametrize("noise", ["fixed", "fresh"])
def test_an_update_follows_the_gradient_through_the_refinement(made: Made, gradient: str, noise: str) -> None:
    model, batch, config = made(dropout=0.3, svi=STEPS | {"gradient": gradient, "noise": noise})
    model.double()
    (part,), (extras,) = batch.parts, batch.extras
    part, extras = part._replace(noise=part.noise.double()), extras._replace(refining=extras.refining.double())

    def loss() -> torch.Tensor:
        terms = terms_of(model, part, extras, config, 0.6)
        return (terms.reconstruction + 0.6 * terms.kl).mean()

    parameters = list(model.parameters())
    found = torch.autograd.grad(loss(), parameters, allow_unused=True, materialize_grads=True)
    along = [torch.randn_like(parameter) for parameter in parameters]
    slope = sum(float((one * other).sum()) for one, other in zip(found, along, strict=True))
    ends = []
    with torch.no_grad():
        for step in (1e-5, -2e-5):
            for parameter, direction in zip(parameters, along, strict=True):
                parameter += step * direction
            ends.append(float(loss()))
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope, rel=2e-5)


def test_the_refinement_changes_the_terms_and_has_its_own_noise(made: Made) -> None:
    model, batch, config = made(svi=STEPS | {"noise": "fresh"})
    plain_batch = made()[1]
    (part,), (plain,), (extras,) = batch.parts, plain_batch.parts, batch.extras
    assert extras.refining is not None
    assert extras.refining.shape == (3, *part.noise.shape)
    assert torch.equal(part.noise, plain.noise)
    assert not (extras.refining == part.noise).any()
    assert not torch.equal(extras.refining[0], extras.refining[1])
    refined, start = (
        terms_of(model, part, extras, config, 1.0),
        terms_of(model, plain, plain_batch.extras[0], config, 1.0),
    )
    assert not torch.allclose(refined.kl, start.kl)


def test_an_update_does_not_depend_on_how_its_batch_is_divided(made: Made) -> None:
    figures = []
    for parts in (1, 3):
        model, batch, config = made(svi=STEPS, accumulation=parts)
        figures.append(update(model, GuardedAdam(model.parameters(), lr=0.0), batch, config, 0.7))
    torch.testing.assert_close(figures[0], figures[1], rtol=1e-4, atol=1e-5)


def test_a_joint_refinement_needs_whole_batches(fit: Fit) -> None:
    options = ("--train.svi.steps", 2, "--train.svi.scope", "batch")
    refused = fit("--out", "run", *options, "--train.accumulation", 2).complaint
    assert "train.svi.scope batch refines what goes through the model together" in refused
    assert fit("--out", "run", *options, "--max-steps", 4).status == 0
    assert "train.accumulation must be 1" in fit("--out", "run", "--resume", "--train.accumulation", 2).complaint


@pytest.mark.parametrize("value", ["inf", "nan", "0"])
def test_a_limit_of_the_norm_is_a_positive_number_or_none(fit: Fit, value: str) -> None:
    assert fit("--out", "run", "--train.svi.clip-norm", value).complaint.startswith("train.svi.clip_norm")


def test_figures_of_a_joint_refinement_take_equally_many_examples(made: Made) -> None:
    joint = SviConfig(steps=2, scope="batch")
    assert [evaluation_batch_size(config, 500) for config in (None, SviConfig(), SviConfig(steps=2))] == [500] * 3
    assert evaluation_batch_size(SviConfig(scope="batch"), 500) == 500  # no steps
    assert {evaluation_batch_size(joint, most) for most in (1, 64, 500)} == {REFINED_TOGETHER}


def test_a_joint_refinement_gives_one_posterior_to_all_figures(encoded: EncodedCorpus, tiny_model: CVAE) -> None:
    joint = SviConfig(steps=3, rate=0.5, scope="batch")
    few, many = (
        importance_weighted_nll(tiny_model, encoded, encoded.responses, [4], svi=joint, batch_size=size).nats[4]
        for size in (8, 512)
    )
    assert few == pytest.approx(many, rel=1e-5)
    small, large = (posteriors(tiny_model, encoded, svi=joint, batch_size=size).posterior_mean for size in (3, 256))
    assert np.allclose(small, large, atol=1e-5)
    elbo = evaluate_elbo(tiny_model, encoded, svi=joint, batch_size=5)
    assert elbo.kl == pytest.approx(evaluate_elbo(tiny_model, encoded, svi=joint, batch_size=64).kl, rel=1e-6)


def test_the_evaluation_refines_too_and_improves_by_it(encoded: EncodedCorpus, tiny_model: CVAE) -> None:
    config = TrainConfig(svi={"steps": 6, "rate": 0.2, "noise": "fresh"}).svi
    plain = evaluate_elbo(tiny_model, encoded, seed=1)
    refined = evaluate_elbo(tiny_model, encoded, seed=1, svi=config)
    assert refined.elbo > plain.elbo + 0.1
    assert refined.tokens == plain.tokens
    in_small_batches = evaluate_elbo(tiny_model, encoded, seed=1, svi=config, batch_size=5)
    assert in_small_batches.elbo == pytest.approx(refined.elbo, rel=1e-5)
    assert evaluate_elbo(tiny_model, encoded, seed=1, svi=config.model_copy(update={"steps": 0})) == plain
    assert all(parameter.grad is None for parameter in tiny_model.parameters())


@pytest.mark.parametrize(("bits", "within"), [(0.0, "total"), (6.0, "total"), (0.4, "dimension")])
def test_the_refined_posterior_equals_gradient_descent_by_hand(made: Made, bits: float, within: str) -> None:
    """One step by hand, on the model's own terms, with free bits."""
    fields = {"free_bits": bits, "free_bits_in": within}
    model, batch, config = made(svi={"steps": 1, "rate": 0.5, "clip_norm": None}, **fields)
    (part,), (extras,) = batch.parts, batch.extras
    encoded = model.encode(part.windows)
    start, prior = model.posterior(encoded), model.prior(encoded.condition)
    leaves = [tensor.detach().requires_grad_() for tensor in start]
    z = leaves[0] + (0.5 * leaves[1]).exp() * extras.refining[0]
    normal = torch.distributions.Normal
    q, p = (normal(g.mean, (0.5 * g.logvar).exp()) for g in (Gaussian(*leaves), prior))
    value = model.reconstruction(part.windows, encoded, z)
    divergence = torch.distributions.kl_divergence(q, p)
    divergence = divergence if within == "dimension" else divergence.sum(-1, keepdim=True)
    charged = torch.where(divergence > bits, divergence, torch.tensor(bits))
    assert bits == 0 or (charged > divergence).any()
    value = value + 0.7 * charged.sum(-1)
    moved = [x - 0.5 * g for x, g in zip(leaves, torch.autograd.grad(value.sum(), leaves), strict=True)]
    q = normal(moved[0], (0.5 * moved[1]).exp())
    expected = torch.distributions.kl_divergence(q, p).sum(-1)
    found = terms_of(model, part, extras, config, 0.7).kl
    torch.testing.assert_close(found if found.dim() == 1 else found.sum(-1), expected, rtol=1e-4, atol=1e-5)


def test_a_refined_run_resumes_bit_for_bit(fit: Fit, kill_at: Callable[..., None]) -> None:
    options = ("--train.svi.steps", 2, "--train.svi.gradient", "finite_differences")
    assert fit("--out", "whole", *options).status == 0
    kill_at(6, "--out", "run", *options)
    assert fit("--out", "run", "--resume").status == 0
    assert_same_run(Path("run"), Path("whole"))


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # what PyTorch says when oneDNN is switched off
@pytest.mark.parametrize("gradient", ["exact", "finite_differences"])
def test_an_update_computes_only_the_necessary_products(gradient: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of computed products equals the smallest number by the formula."""
    monkeypatch.setattr(matmul, "_onednn", lambda _: None)  # its products would not be counted
    monkeypatch.setattr(matmul, "ROWS", 1)  # nothing is padded
    monkeypatch.setattr(matmul, "STEP", 1)
    size, vocabulary, length, batch = 32, 500, 20, 16
    sizes = SentenceModelConfig(embedding_size=size, encoder_size=size, decoder_size=size, latent_size=4)
    model = SentenceVAE(sizes, vocabulary)
    tokens = torch.randint(4, vocabulary, (batch, length + 1))
    part = MicroBatch(SentenceBatch(tokens), torch.randn(batch, 4))
    counts = []
    config = TrainConfig.model_validate({"svi": {"steps": 5, "gradient": gradient}})
    for extras in (Extras(), Extras(refining=torch.randn(1, batch, 4))):
        model.zero_grad()
        with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
            terms = terms_of(model, part, extras, config, 1.0)
            (terms.reconstruction + terms.kl).mean().backward()
        counts.append(counter.get_total_flops())
    encoder = (length + 1) * 8 * size**2
    decoder = length * (4 * size * (2 * size + 4) + size * vocabulary)
    assert counts[1] / counts[0] == pytest.approx(update_cost(encoder, decoder, config.svi), rel=0.005)


def test_the_least_work_by_hand() -> None:
    ten = SviConfig(steps=10)
    assert update_cost(0.0, 1.0, ten) == 21.0  # 3 + 10 * 6 in units of 3
    assert update_cost(1.0, 1.0, ten) == 11.0
    assert update_cost(0.0, 3.0, SviConfig(steps=3, gradient="finite_differences")) == 9.0  # 3 + 3 * 8
    assert update_cost(5.0, 2.0, SviConfig()) == 1.0


@pytest.mark.parametrize("gradient", ["exact", "finite_differences"])
@pytest.mark.parametrize("steps", [0, 3])
def test_half_precision_stays_close(made: Made, gradient: str, steps: int) -> None:
    found = []
    for precision in ("fp32", "bf16"):
        svi = STEPS | {"steps": steps, "gradient": gradient}
        model, batch, config = made(svi=svi, precision=precision)
        update(model, GuardedAdam(model.parameters(), lr=0.0), batch, config, 0.7)
        gradients = (parameter.grad for parameter in model.parameters() if parameter.grad is not None)
        found.append(torch.cat([gradient.flatten() for gradient in gradients]))
    assert not torch.equal(*found)
    assert (found[1] - found[0]).norm() < 0.1 * found[0].norm()
