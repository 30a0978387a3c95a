"""The encode-once model against a naive one that pads, re-encodes every window's utterances and loops over tokens."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from dialog_cvae.data.batches import collate
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.model.cvae import CVAE, TensorBatch
from dialog_cvae.model.latent_model import Vectors
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.nn.distributions import kl
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import ElboTerms
from tests.conftest import make_model

BOTH = {"skip": True, "posterior_norm": 0.6}


def gru_step(x: Tensor, h: Tensor, w_x: Tensor, w_h: Tensor, b_x: Tensor, b_h: Tensor) -> Tensor:
    """PyTorch's documented GRU equations, one gate at a time, for one vector."""
    size = len(h)
    gate = [slice(i * size, (i + 1) * size) for i in range(3)]
    r = torch.sigmoid(w_x[gate[0]] @ x + b_x[gate[0]] + w_h[gate[0]] @ h + b_h[gate[0]])
    u = torch.sigmoid(w_x[gate[1]] @ x + b_x[gate[1]] + w_h[gate[1]] @ h + b_h[gate[1]])
    n = torch.tanh(w_x[gate[2]] @ x + b_x[gate[2]] + r * (w_h[gate[2]] @ h + b_h[gate[2]]))
    return (1 - u) * n + u * h


def run_gru(gru: torch.nn.GRU, inputs: Tensor, h: Tensor, suffix: str = "") -> Tensor:
    for x in inputs:
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        h = gru_step(x, h, *(getattr(gru, name + suffix) for name in names))
    return h


def naive_terms(model: CVAE, corpus: EncodedCorpus, responses: list[int], noise: Tensor) -> ElboTerms:
    """Every window by itself, straight from the model's description."""
    config = model.config

    def tokens(index: int) -> Tensor:
        return torch.from_numpy(corpus.tokens[corpus.offsets[index] : corpus.offsets[index + 1]]).long()

    def encode(index: int) -> Tensor:
        embedded, zero = model.embedding(tokens(index)), torch.zeros(config.utterance_size)
        gru = model.utterance_encoder.gru
        return torch.cat((run_gru(gru, embedded, zero), run_gru(gru, embedded.flip(0), zero, "_reverse")))

    def role(index: int) -> Tensor:
        return torch.zeros(0) if model.role is None else model.role.weight[int(corpus.role[index])]

    rows = []
    for index, eps in zip(responses, noise, strict=True):
        cell, state = model.context_encoder.cell, torch.zeros(config.context_size)
        conversation, position = (int(place) for place in corpus.places(np.array(index)))
        reply = int(corpus.as_reply(np.array(index)))
        for previous in range(max(index - position, index - config.max_context), index):
            same = float(corpus.speaker[previous] == corpus.speaker[index])
            x = torch.cat((encode(previous), torch.tensor([same, 1 - same]), role(previous)))
            state = gru_step(x, state, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
        features = [
            torch.tensor(corpus.profiles[corpus.parties[index, party], i])
            if corpus.known[corpus.parties[index, party], i]
            else model.unknown_profile[i]
            for party in range(2)
            for i in range(4)
        ]
        topic = model.topic.weight[corpus.topic[conversation]]
        c = torch.cat((topic, torch.stack(features), state, role(index)))
        prior_mean, prior_logvar = model.prior_network(c).chunk(2)
        mean, logvar = model.recognition_network(torch.cat((c, encode(reply)))).chunk(2)
        if norm := model.mean_norm:
            steps = norm.gamma * (mean - norm.running_mean) / norm.running_variance.sqrt() + norm.bias
            mean = prior_mean + steps * (0.5 * prior_logvar).exp()
        q = torch.distributions.Normal(mean, (0.5 * logvar).exp())
        p = torch.distributions.Normal(prior_mean, (0.5 * prior_logvar).exp())
        z = mean + (0.5 * logvar).exp() * eps
        assert model.bow_head is not None
        bow = torch.log_softmax(model.bow_head(torch.cat((c, z))), -1)
        x = tokens(reply)
        hidden, nll, bag = model.decoder.start(torch.cat((c, z))), torch.zeros(()), torch.zeros(())
        beside = z if config.skip else z[:0]
        for given, target in pairwise(x):
            hidden = run_gru(model.decoder.gru, torch.cat((model.embedding(given), beside))[None], hidden)
            nll = nll - torch.log_softmax(model.decoder.output(torch.cat((hidden, beside))), -1)[target]
            bag = bag - bow[target]
        rows.append((nll, torch.distributions.kl_divergence(q, p).sum(), bag, torch.tensor(len(x) - 1)))
    return ElboTerms(*(torch.stack(column) for column in zip(*rows, strict=True)))


@pytest.fixture
def noise(encoded: EncodedCorpus, tiny_config: ModelConfig) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(len(encoded.responses), tiny_config.latent_size, generator=generator)


@pytest.mark.parametrize("fused", [False, True], ids=["steps", "fused"])
@pytest.mark.parametrize(
    "remedy",
    [{}, {"skip": True}, {"posterior_norm": 0.6}, BOTH, {"role_size": 3}],
    ids=["plain", "skip", "norm", "both", "roles"],
)
def test_terms_and_gradients_agree_with_the_naive_model(
    tiny_config: ModelConfig,
    tokenizer: Tokenizer,
    encoded: EncodedCorpus,
    encoded_roles: EncodedCorpus,
    noise: Tensor,
    fused: bool,
    remedy: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded = encoded_roles if "role_size" in remedy else encoded
    for module in ("encoders", "decoder"):  # as on a GPU, where PyTorch's own GRU computes most
        monkeypatch.setattr(f"dialog_cvae.nn.{module}.use_torch_gru", lambda _: fused)
    model, responses = make_model(tiny_config.model_copy(update=remedy), tokenizer).double(), encoded.responses
    if model.mean_norm is not None:
        model.eval()
        model.mean_norm.running_mean.normal_()
        model.mean_norm.running_variance.uniform_(0.2, 2)
    batch = TensorBatch.from_arrays(collate(encoded, responses, model.config.max_context))
    batch = batch._replace(**{name: getattr(batch, name).double() for name in ("floors", "profiles", "profiles_known")})
    weights = {"reconstruction": 1.0, "kl": 0.3, "bag_of_words": 0.7}

    def gradients(terms: ElboTerms) -> dict[str, Tensor]:
        model.zero_grad()
        sum(weight * getattr(terms, name).sum() for name, weight in weights.items()).backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    torch.set_default_dtype(torch.float64)
    try:
        fast = model(batch, noise.double())
        fast_gradients = gradients(fast)
        naive = naive_terms(model, encoded, responses.tolist(), noise.double())
        naive_gradients = gradients(naive)
    finally:
        torch.set_default_dtype(torch.float32)
    for name in ElboTerms._fields:
        torch.testing.assert_close(getattr(fast, name), getattr(naive, name), msg=lambda m, n=name: f"{n}: {m}")
    for name, gradient in naive_gradients.items():
        assert gradient.abs().max() > 0, f"{name} takes no part"
        torch.testing.assert_close(fast_gradients[name], gradient, msg=lambda m, n=name: f"{n}: {m}")


@torch.no_grad()
def test_normalised_posteriors_keep_the_kl_above_its_bound_whatever_the_networks_do(
    tiny_config: ModelConfig, tokenizer: Tokenizer, encoded: EncodedCorpus, noise: Tensor
) -> None:
    model = make_model(tiny_config.model_copy(update={"posterior_norm": 0.6}), tokenizer).train()
    batch = TensorBatch.from_arrays(collate(encoded, encoded.responses, 4))
    assert model.mean_norm is not None
    model.mean_norm.bias.copy_(torch.tensor([0.3, 0.0, -1.0]))
    bound = (3 * 0.6**2 + 0.3**2 + 1.0**2) / 2
    for collapse in (1.0, 0.3, 0.1):  # towards a posterior that is the prior, as far as the network can say it
        for network in (model.recognition_network, model.prior_network[2]):
            network.weight *= collapse
            network.bias *= collapse
        assert float(model(batch, noise).kl.mean()) > bound * (1 - 1e-4)
    assert float(model(batch, noise).kl.mean()) < bound * (1 + 1e-2)  # and then it is reached


@pytest.mark.parametrize("gamma", [0.0, 0.6])
def test_nothing_that_descends_on_the_kl_alone_brings_it_below_the_bound(
    tiny_config: ModelConfig, tokenizer: Tokenizer, encoded: EncodedCorpus, gamma: float
) -> None:
    model = make_model(tiny_config.model_copy(update={"posterior_norm": gamma}), tokenizer).train()
    with torch.no_grad():
        state = model.encode(TensorBatch.from_arrays(collate(encoded, encoded.responses, 4)))
    adversary = torch.optim.Adam((*model.inference_parameters(), *model.prior_network.parameters()), lr=0.03)
    found = []
    for _ in range(400):
        loss = kl(model.posterior(state), model.prior(state.condition)).sum(-1).mean()
        found.append(float(loss.detach()))
        adversary.zero_grad()
        loss.backward()
        adversary.step()
    bound = 3 * gamma**2 / 2  # the shift b is learnt, and goes to 0
    assert min(found) >= bound * (1 - 1e-4)
    assert found[-1] < bound + 0.02  # both networks have come as near as they can


@torch.no_grad()
def test_under_a_standard_prior_normalised_posteriors_are_those_of_the_published_method(
    tiny_config: ModelConfig, tokenizer: Tokenizer, encoded: EncodedCorpus
) -> None:
    model = make_model(tiny_config.model_copy(update={"posterior_norm": 0.6}), tokenizer).train()
    for parameter in model.prior_network[2].parameters():
        parameter.zero_()
    state = model.encode(TensorBatch.from_arrays(collate(encoded, encoded.responses, 4)))
    raw = model.recognition_network(torch.cat(state, dim=-1)).chunk(2, dim=-1)[0]
    published = torch.nn.BatchNorm1d(3, eps=1e-10).train()
    published.weight.fill_(0.6)
    published.bias.copy_(model.mean_norm.bias)
    torch.testing.assert_close(model.posterior(state).mean, published(raw), rtol=1e-4, atol=1e-5)


def test_a_window_does_not_depend_on_its_batch(tiny_model: CVAE, encoded: EncodedCorpus, noise: Tensor) -> None:
    order = np.random.default_rng(0).permutation(len(encoded.responses))
    together = tiny_model(TensorBatch.from_arrays(collate(encoded, encoded.responses, 4)), noise)
    shuffled = tiny_model(TensorBatch.from_arrays(collate(encoded, encoded.responses[order], 4)), noise[order])
    torch.testing.assert_close(shuffled.reconstruction, together.reconstruction[order])
    for index in (0, 5, len(order) - 1):
        alone = tiny_model(TensorBatch.from_arrays(collate(encoded, encoded.responses[[index]], 4)), noise[[index]])
        torch.testing.assert_close(alone.reconstruction[0], together.reconstruction[index])
        torch.testing.assert_close(alone.kl[0], together.kl[index])


def test_steps_equal_teacher_forcing(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    responses = encoded.responses[:7]
    batch = TensorBatch.from_arrays(collate(encoded, responses, 4))
    z = torch.randn(len(responses), 3, generator=torch.Generator().manual_seed(2))
    condition = tiny_model.encode(batch).condition
    expected = tiny_model.reconstruction(batch, Vectors(condition, condition), z)
    state, total = tiny_model.decoder.initial_state(condition, z)[None], torch.zeros(len(responses))
    tokens = batch.tokens[batch.response]
    for position in range(int(batch.target_lengths.max())):
        hidden, state = tiny_model.decoder.gru(tiny_model.embedding(tokens[:, position])[:, None], state)
        logits = tiny_model.decoder.output(hidden[:, 0])
        log_probs = torch.log_softmax(logits, -1).gather(1, tokens[:, position + 1, None])[:, 0]
        total -= torch.where(position < batch.target_lengths, log_probs, 0.0)
    torch.testing.assert_close(total, expected)


def test_without_the_head_there_is_no_bag_of_words(tiny_config: ModelConfig, encoded: EncodedCorpus) -> None:
    model = CVAE(tiny_config.model_copy(update={"bow": False}), 50, 2)
    terms = model(TensorBatch.from_arrays(collate(encoded, encoded.responses[:2], 4)), torch.zeros(2, 3))
    assert terms.bag_of_words is None
    assert not any("bow" in name for name, _ in model.named_parameters())


def test_official_initialisation(tiny_config: ModelConfig) -> None:
    torch.manual_seed(0)
    model = CVAE(tiny_config, 50, 2)
    uniform = [
        model.embedding.weight,
        model.topic.weight,
        model.decoder.output.weight,
        model.context_encoder.cell.weight_hh,
        *(p for n, p in model.utterance_encoder.gru.named_parameters() if n.startswith("weight")),
    ]
    for weight in uniform:
        assert 0.06 < weight.abs().max() <= 0.08
    for gru in (model.utterance_encoder.gru, model.decoder.gru):
        assert torch.equal(gru.bias_ih_l0, torch.cat((torch.ones(2 * gru.hidden_size), torch.zeros(gru.hidden_size))))
        assert not gru.bias_hh_l0.any()
    bound = (6 / (11 + 2 * 3)) ** 0.5  # Xavier of a layer much wider than 0.08 allows
    assert 0.08 < model.recognition_network.weight.abs().max() < bound
    assert not model.embedding.weight[0].any()


def test_the_papers_sizes_are_the_default() -> None:
    model = CVAE(ModelConfig(bow=True), 10_005, 66)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert shapes["embedding.weight"] == (10_005, 200)
    assert shapes["utterance_encoder.gru.weight_hh_l0_reverse"] == (900, 300)
    assert shapes["context_encoder.cell.weight_ih"] == (1800, 602)
    assert shapes["prior_network.2.weight"] == (400, 400)
    assert shapes["recognition_network.weight"] == (400, 30 + 8 + 600 + 600)
    assert shapes["decoder.start.weight"] == (400, 30 + 8 + 600 + 200)
    assert shapes["decoder.output.weight"] == (10_005, 400)
    assert shapes["bow_head.2.weight"] == (10_005, 400)


@pytest.mark.parametrize("remedy", [{}, {**BOTH, "role_size": 3}], ids=["plain", "all"])
def test_half_precision_keeps_every_term_in_single(
    tiny_config: ModelConfig, tokenizer: Tokenizer, encoded: EncodedCorpus, noise: Tensor, remedy: dict[str, float]
) -> None:
    model = make_model(tiny_config.model_copy(update=remedy), tokenizer)
    batch = TensorBatch.from_arrays(collate(encoded, encoded.responses, model.config.max_context))
    exact = model(batch, noise)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(batch, noise)
        state = model.encode(batch)
        gaussians = model.prior(state.condition), model.posterior(state)
    assert {tensor.dtype for gaussian in gaussians for tensor in gaussian} == {torch.float32}
    for name in ("reconstruction", "kl", "bag_of_words"):
        assert getattr(rough, name).dtype == torch.float32
        torch.testing.assert_close(getattr(rough, name), getattr(exact, name), rtol=0.02, atol=0.02)
