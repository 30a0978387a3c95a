"""One pass over a block gives what each reply gives by itself, in losses and gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dialog_cvae.data.turns import Blocks, EncodedTurns, TurnBatch, block_starts, collate_turns, encode_turns
from dialog_cvae.language_config import LanguageModelConfig, LlamaConfig
from dialog_cvae.model.elbo import evaluate_elbo, first_posteriors
from dialog_cvae.model.language_cvae import LanguageCVAE
from dialog_cvae.model.turn_tensors import TurnTensors
from dialog_cvae.nn.llama import Llama, bias_of
from dialog_cvae.storage.backbone import LAYER_WEIGHTS
from dialog_cvae.types import Conversation, Utterance

BASE = LlamaConfig(layers=4, width=16, heads=4, kv_heads=2, mlp_size=24, vocab_size=128, max_positions=256)
SIZES = LanguageModelConfig(rank=2, latent_size=3, z_layers=2, hidden_size=5, bow=True, max_context_tokens=40)


class Letters:
    """A token a letter."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


def weights(base: LlamaConfig, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) / shape[-1] ** 0.5

    found = {"embedding": draw(base.vocab_size, base.width), "final_norm": 1 + draw(base.width)}
    groups = base.kv_heads * base.head_size
    for index in range(base.layers):
        shapes = {
            "query": (base.width, base.width),
            "key": (groups, base.width),
            "value": (groups, base.width),
            "attended": (base.width, base.width),
            "gate": (base.mlp_size, base.width),
            "up": (base.mlp_size, base.width),
            "down": (base.width, base.mlp_size),
        }
        found |= {f"layers.{index}.{name}": draw(*shape) for name, shape in shapes.items()}
        found |= {f"layers.{index}.{name}": 1 + draw(base.width) for name in ("attention_norm", "mlp_norm")}
    return found


@pytest.fixture
def model() -> LanguageCVAE:
    torch.manual_seed(0)
    model = LanguageCVAE(SIZES, BASE, weights(BASE)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    return model


@pytest.fixture
def turns(conversations: list[Conversation]) -> EncodedTurns:
    return encode_turns(conversations, Letters(), max_reply_tokens=24)


def collated(turns: EncodedTurns, replies: NDArray[np.int64], room: int) -> TurnBatch:
    return collate_turns(turns, replies, room, Blocks.of(turns, replies, SIZES.block))


def alone(model: LanguageCVAE, turns: EncodedTurns, block: list[int], reply: int, z: Tensor | None) -> Tensor:
    """-log p of one reply, its block read token by token up to it and the reply after it, by plain attention."""
    batch = TurnTensors.from_arrays(collated(turns, np.array(block), SIZES.max_context_tokens))
    index = block.index(reply)
    row, begin, count = int(batch.block[index]), int(batch.begin[index]), int(batch.target_lengths[index])
    tokens = batch.tokens[row : row + 1, : begin + count + 1]
    lm = model.lm
    length = tokens.shape[1]
    rotation = lm.rotation(torch.arange(length)[None])
    causal = bias_of(torch.ones(1, length, length, dtype=torch.bool).tril(), torch.float64)
    free = lm.embed(tokens)
    z_from = len(lm.layers) - model.z_layers
    coded = free
    for depth, layer in enumerate(lm.layers):
        if depth < z_from or z is None:
            free, _ = layer(free, rotation, causal)
            coded = free
            continue
        # With z: from its own first position on the reply has states of its own; what is before it has none.
        own = coded[:, begin:]
        mixed = torch.cat(
            (free[:, :begin], own + own.square().mean(-1, keepdim=True).sqrt() * model.z_maps[depth - z_from](z)), 1
        )
        free, coded = layer(free, rotation, causal)[0], layer(mixed, rotation, causal)[0]
    if z is not None:
        coded = coded + coded.square().mean(-1, keepdim=True).sqrt() * model.z_maps[-1](z)
    logits = lm.normalised(coded[0, begin : begin + count]) @ lm.embedding.T
    return torch.nn.functional.cross_entropy(logits, tokens[0, begin + 1 : begin + count + 1], reduction="sum")


def runs(turns: EncodedTurns) -> Iterator[list[int]]:
    replies = turns.responses.tolist()
    yield replies[:5]
    yield [*replies[3:6], *replies[9:11]]


def test_losses_and_gradients_are_those_of_each_reply_alone(model: LanguageCVAE, turns: EncodedTurns) -> None:
    for chosen in runs(turns):
        batch = model.batch(turns, np.array(chosen))
        read = model.encode(batch)
        z = torch.randn(len(chosen), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        fast = (model.reconstruction(batch, read, z), model.without_z(batch, read))
        slow = (
            torch.stack([alone(model, turns, chosen, reply, code) for reply, code in zip(chosen, z, strict=True)]),
            torch.stack([alone(model, turns, chosen, reply, None) for reply in chosen]),
        )
        for one, other in zip(fast, slow, strict=True):
            torch.testing.assert_close(one, other.to(one.dtype), rtol=1e-5, atol=1e-4)
        parameters = [*model.lm.parameters(), *model.z_maps.parameters()]
        weighing = torch.arange(1.0, len(chosen) + 1)
        gradients = [
            torch.autograd.grad((sum(losses) * weighing).sum(), parameters, allow_unused=True)
            for losses in (fast, slow)
        ]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_without_maps_of_z_it_is_the_language_model(model: LanguageCVAE, turns: EncodedTurns) -> None:
    with torch.no_grad():
        for each in model.z_maps:
            each.weight.zero_()
    batch = model.batch(turns, turns.responses)
    read = model.encode(batch)
    z = torch.randn(batch.block.shape[0], 3, dtype=torch.float64)
    torch.testing.assert_close(model.reconstruction(batch, read, z), model.without_z(batch, read), rtol=1e-6, atol=1e-5)


def test_restarted_weights_are_like_those_of_a_new_model() -> None:
    torch.manual_seed(0)
    sizes = SIZES.model_copy(update={"hidden_size": 200})
    model = LanguageCVAE(sizes, BASE, weights(BASE))
    theta = [*model.z_maps.parameters(), *model.bow_head.parameters()]
    deviations = [each.detach().std() for each in theta]
    restarted = model.restart_generation()
    assert list(map(id, restarted)) == list(map(id, theta))
    for found, expected in zip(restarted, deviations, strict=True):
        torch.testing.assert_close(found.detach().std(), expected, rtol=0.4, atol=0)


def test_what_comes_later_changes_nothing(model: LanguageCVAE, turns: EncodedTurns) -> None:
    chosen = turns.responses[:4]
    batch = model.batch(turns, chosen)
    changed = batch.tokens.clone()
    changed[0, int(batch.begin[2]) + 1 :] = 7  # tokens of the third reply and after it
    first, second = (model.encode(each) for each in (batch, batch._replace(tokens=changed)))
    assert torch.equal(first.condition[:3], second.condition[:3])
    assert torch.equal(first.response[:2], second.response[:2])
    assert not torch.equal(first.response[2], second.response[2])


@torch.no_grad()
def test_the_vectors_of_a_reply_are_those_of_its_own_tokens(model: LanguageCVAE, turns: EncodedTurns) -> None:
    batch = model.batch(turns, turns.responses[:6])
    read = model.encode(batch)
    states = read.states.clamp(-SIZES.state_limit, SIZES.state_limit)
    for reply, (row, begin, count) in enumerate(zip(batch.block, batch.begin, batch.target_lengths, strict=True)):
        said = states[row, begin + 1 : begin + count + 1]
        torch.testing.assert_close(read.condition[reply], states[row, begin])
        torch.testing.assert_close(read.response[reply], torch.cat((said.mean(0), said[-1])))


@torch.no_grad()
def test_the_bag_of_words_is_scored_against_each_replys_own_tokens(model: LanguageCVAE, turns: EncodedTurns) -> None:
    batch = model.batch(turns, turns.responses[:6])
    read = model.encode(batch)
    z = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = model.bag_of_words(batch, read, z)
    assert found is not None
    assert model.bow_head is not None
    for reply, (row, begin, count) in enumerate(zip(batch.block, batch.begin, batch.target_lengths, strict=True)):
        state = model.bow_head(torch.cat((read.condition[reply], z[reply])))
        log_probs = torch.log_softmax(model.lm.embedding @ state, dim=-1)
        said = batch.tokens[row, begin + 1 : begin + count + 1]
        torch.testing.assert_close(found[reply], -log_probs[said].sum())


@torch.no_grad()
def test_the_recognition_network_says_how_far_the_posterior_is_from_the_prior(
    model: LanguageCVAE, turns: EncodedTurns
) -> None:
    read = model.encode(model.batch(turns, turns.responses[:6]))
    prior = model.prior(read.condition)
    assert model.recognition_network is not None
    last = model.recognition_network[-1]
    last.weight.zero_()
    last.bias.zero_()
    for one, other in zip(model.posterior(read), prior, strict=True):
        assert torch.equal(one, other)
    last.bias[:] = torch.arange(6.0)
    mean, logvar = model.posterior(read)
    torch.testing.assert_close(mean - prior.mean, torch.arange(3.0).double().expand(6, 3))
    torch.testing.assert_close(logvar - prior.logvar, torch.arange(3.0, 6.0).double().expand(6, 3))


@torch.no_grad()
def test_the_terms_of_the_elbo(model: LanguageCVAE, turns: EncodedTurns) -> None:
    batch = model.batch(turns, turns.responses[:6])
    terms = model(batch, torch.zeros(6, 3, dtype=torch.float64))
    read = model.encode(batch)
    posterior, prior = model.posterior(read), model.prior(read.condition)
    of_each = prior.logvar - posterior.logvar - 1
    of_each += (posterior.logvar.exp() + (posterior.mean - prior.mean).square()) / prior.logvar.exp()
    torch.testing.assert_close(terms.kl, of_each.sum(-1) / 2)
    torch.testing.assert_close(terms.reconstruction, model.reconstruction(batch, read, posterior.mean))
    torch.testing.assert_close(terms.bag_of_words, model.bag_of_words(batch, read, posterior.mean))
    assert terms.tokens.tolist() == turns.targets[turns.responses[:6]].tolist()
    assert set(dict(model.named_parameters())) == set(model.state_dict())  # the backbone is not in a checkpoint


@pytest.mark.parametrize(
    ("topic", "room", "kept"),
    [
        ("T", 24, "Topic: T\nA: xxx\nB: xxxx\n"),
        ("T", 23, "Topic: T\nB: xxxx\n"),
        (None, 8, "B: xxxx\n"),
        (None, 7, "B:xxxx\n"),
        (None, 3, "xx\n"),
        (None, 0, ""),
    ],
)
def test_a_block_keeps_the_latest_whole_utterances_or_the_end_of_the_last_one(
    topic: str | None, room: int, kept: str
) -> None:
    said = tuple(Utterance("AB"[i % 2], "x" * (i + 1)) for i in range(6))  # lines of 5, 6, ... letters
    turns = encode_turns([Conversation("1", said, topic)], Letters(), max_reply_tokens=24)
    batch = collated(turns, np.array([5, 6]), room)
    text = "".join(map(chr, batch.tokens[0]))
    assert text == f"{kept}A: xxxxx\nB: xxxxxx\n"
    assert [text[begin - 1 : begin + 1] for begin in batch.begin] == ["A:", "B:"]
    replies = [text[begin + 1 : begin + 1 + count] for begin, count in zip(batch.begin, batch.targets, strict=True)]
    assert replies == [" xxxxx\n", " xxxxxx\n"]


@pytest.mark.parametrize(
    ("length", "title"), [(12, f"Topic: {'x' * 12}\n"), (13, f"Topic: {'x' * 12}\n"), (999, f"Topic: {'x' * 12}\n")]
)
def test_a_topic_line_takes_at_most_half_of_the_context(length: int, title: str) -> None:
    said = (Utterance("A", "hello"), Utterance("B", "you"), Utterance("A", "yes"))
    turns = encode_turns([Conversation("1", said, "x" * length)], Letters(), max_reply_tokens=24)
    text = "".join(map(chr, collated(turns, np.array([3]), 40).tokens[0]))
    assert text == f"{title}A: hello\nB: you\nA: yes\n"
    untitled = Blocks(np.array([3]), np.array([True]))
    text = "".join(map(chr, collate_turns(turns, np.array([3]), 40, untitled).tokens[0]))
    assert text == "A: hello\nB: you\nA: yes\n"


def test_replies_of_a_role_share_a_reading_with_the_other_utterances_between_them() -> None:
    said = tuple(Utterance("AB"[i % 2], "x" * (i + 1)) for i in range(6))
    spoken = [Conversation(name, said, "T", respond_as=("B",)) for name in ("1", "2")]
    turns = encode_turns(spoken, Letters(), max_reply_tokens=24)
    assert turns.responses.tolist() == [2, 4, 6, 9, 11, 13]
    assert turns.windows == 6
    assert turns.beginning(3).responses.tolist() == [2, 4, 6]
    assert turns.beginning(4).context_only.tolist() == [1, 3, 5, 8, 10, 12]
    batch = collated(turns, turns.responses, 99)
    assert batch.block.tolist() == [0, 0, 0, 1, 1, 1]
    text = "".join(map(chr, batch.tokens[1]))
    replies = [text[begin + 1 : begin + 1 + count] for begin, count in zip(batch.begin, batch.targets, strict=True)]
    assert replies == [" xx\n", " xxxx\n", " xxxxxx\n"] * 2
    # A block is never longer than it would be without roles.
    assert block_starts(turns, turns.responses, 3).tolist() == [0, 0, 2, 3, 3, 5]
    assert block_starts(turns, turns.responses, 2).tolist() == [0, 1, 2, 3, 4, 5]


@torch.no_grad()
def test_a_reply_of_a_role_costs_what_it_costs_among_all(
    model: LanguageCVAE, conversations: list[Conversation]
) -> None:
    whole, turns = (
        encode_turns([replace(each, respond_as=roles) for each in conversations], Letters(), max_reply_tokens=24)
        for roles in ((), ("B",))
    )
    batch, every = model.scoring_batch(turns, turns.responses), model.scoring_batch(whole, whole.responses)
    found, expected = (model.without_z(each, model.encode(each)) for each in (batch, every))
    assert found is not None
    assert expected is not None
    chosen = torch.from_numpy(np.isin(whole.responses, turns.responses))
    assert 0 < len(found) < len(expected)
    torch.testing.assert_close(found, expected[chosen], rtol=1e-6, atol=1e-5)
    assert int(batch.block.max()) <= int(every.block.max())


def test_an_utterance_that_is_too_long_is_cut_and_its_end_not_learnt() -> None:
    said = [Conversation("1", (Utterance("A", "abcdefghi" * 5 + "why?"), Utterance("B", "y\nz")))]
    turns = encode_turns(said, Letters(), 8)
    assert turns.targets.tolist() == [0, 7, 5]
    assert "".join(map(chr, turns.tokens)) == "A: abcdef" + "fghiwhy?" + "\nB: y z\n"  # 7 are learnt, the last 8 read
    batch = collated(turns, np.array([1, 2]), 99)
    assert (batch.begin.tolist(), batch.targets.tolist()) == ([1, 19], [7, 5])
    first = encode_turns(said, Letters(), 8, reading=1)
    assert first.targets.tolist() == [0, 7, 5]
    assert "".join(map(chr, first.tokens)) == "A: abcdef\nB: y z\n"


@pytest.mark.parametrize("length", range(24))
def test_the_line_of_a_long_utterance_is_whole_up_to_twice_the_limit(length: int) -> None:
    text = "".join(chr(ord("a") + i) for i in range(length))
    turns = encode_turns([Conversation("1", (Utterance("A", text),))], Letters(), 8)
    line = "".join(map(chr, turns.tokens))
    assert turns.targets[1] == min(7 + (length == 6), length + 2)
    assert line == f"A: {text}\n" if length <= 14 else f"A: {text[:6]}{text[-8:]}\n"


def test_without_z_it_is_the_llama_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=BASE.vocab_size,
        hidden_size=BASE.width,
        intermediate_size=BASE.mlp_size,
        num_hidden_layers=BASE.layers,
        num_attention_heads=BASE.heads,
        num_key_value_heads=BASE.kv_heads,
        max_position_embeddings=BASE.max_positions,
        rms_norm_eps=BASE.norm_epsilon,
        rope_theta=BASE.rope_theta,
        tie_word_embeddings=True,
    )
    theirs = transformers.LlamaForCausalLM(config).double().eval()
    own = weights(BASE)
    named = {"model.embed_tokens.weight": own["embedding"], "model.norm.weight": own["final_norm"]}
    for index in range(BASE.layers):
        for name, (_, other) in LAYER_WEIGHTS.items():
            named[f"model.layers.{index}.{other}.weight"] = own[f"layers.{index}.{name}"]
    missing = theirs.load_state_dict(named, strict=False)
    assert set(missing.missing_keys) <= {"lm_head.weight"}
    lm = Llama(BASE, own, rank=0, alpha=1.0)
    tokens = torch.arange(12)[None]
    rotation, bias = lm.rotation(tokens), bias_of(torch.ones(1, 12, 12, dtype=torch.bool).tril(), torch.float64)
    x = lm.embed(tokens)
    for layer in lm.layers:
        x, _ = layer(x, rotation, bias)
    torch.testing.assert_close(lm.normalised(x) @ lm.embedding.T, theirs(tokens).logits, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("draws", "rows"), [(1, 512), (3, 512), (3, 2), (20, 512), (20, 7)])
def test_many_codes_at_once_are_one_code_at_a_time(
    model: LanguageCVAE, turns: EncodedTurns, draws: int, rows: int
) -> None:
    for chosen in (*runs(turns), turns.responses.tolist()):
        batch = model.batch(turns, np.array(chosen))
        read = model.encode(batch)
        z = torch.randn(len(chosen), draws, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        found = model.reconstructions(batch, read, z, rows)
        slow = torch.stack([model.reconstruction(batch, read, z[:, k]) for k in range(draws)], dim=1)
        assert found.shape == (len(chosen), draws)
        torch.testing.assert_close(found, slow.to(found.dtype), rtol=1e-5, atol=1e-4)
        assert draws == 1 or (found.std(dim=1) > 1e-3).all()


@torch.no_grad()
def test_without_latent_dimensions_all_codes_cost_the_same(turns: EncodedTurns) -> None:
    model = LanguageCVAE(SIZES.model_copy(update={"latent_size": 0, "bow": False}), BASE, weights(BASE)).double()
    batch = model.batch(turns, turns.responses[:5])
    read = model.encode(batch)
    empty = torch.zeros(5, 2, 0, dtype=torch.float64)
    expected = model.reconstruction(batch, read, empty[:, 0])[:, None].expand(-1, 2)
    torch.testing.assert_close(model.reconstructions(batch, read, empty), expected)


@torch.no_grad()
def test_codes_of_a_reply_read_its_conversation_once(
    model: LanguageCVAE, turns: EncodedTurns, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = model.batch(turns, turns.responses)
    read = model.encode(batch)
    passes: list[int] = []  # the number of positions that a layer computes
    for layer in model.lm.layers:
        layer.register_forward_hook(lambda _module, inputs, _output: passes.append(inputs[0].shape[:2].numel()))
    model.reconstructions(batch, read, torch.zeros(len(turns.responses), 4, 3, dtype=torch.float64))
    longest = int(batch.target_lengths.max())
    assert sum(passes) <= model.z_layers * 4 * len(turns.responses) * longest
    assert sum(passes) >= model.z_layers * 4 * int(batch.target_lengths.sum())


@torch.no_grad()
def test_a_scored_reply_reads_the_same_in_any_batch(model: LanguageCVAE, turns: EncodedTurns) -> None:
    sizes = model.config.model_copy(update={"block": 3})
    model.config = sizes
    whole = model.scoring_batch(turns, turns.responses)
    expected = model.without_z(whole, model.encode(whole))
    assert expected is not None
    for part in (np.arange(2, 9), np.array([1, 4, 5, 20]), np.array([7])):
        batch = model.scoring_batch(turns, turns.responses[part])
        torch.testing.assert_close(model.without_z(batch, model.encode(batch)), expected[part], rtol=1e-6, atol=1e-5)
    assert int(whole.block.max()) + 1 == sum(-(-int(count) // 3) for count in np.diff(turns.starts) - 1)


@pytest.mark.parametrize("batch_size", [2, 7])
def test_the_elbo_and_the_posteriors_do_not_depend_on_the_batch_size(
    model: LanguageCVAE, turns: EncodedTurns, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.config = model.config.model_copy(update={"block": 3})
    together, apart = evaluate_elbo(model, turns), evaluate_elbo(model, turns, batch_size=batch_size)
    for name in ("reconstruction", "kl", "bag_of_words", "without_z", "nats_from_z"):
        assert getattr(apart, name) == pytest.approx(getattr(together, name), rel=1e-6), name
    expected = first_posteriors(model, turns, 20)
    monkeypatch.setattr("dialog_cvae.model.elbo.BATCH_SIZE", batch_size)
    torch.testing.assert_close(first_posteriors(model, turns, 20), expected)
