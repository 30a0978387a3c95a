"""Which replies change contexts, what goes with a context, and what it costs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.data.turns import EncodedTurns, encode_turns
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.language_cvae import LanguageCVAE
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import Conversation, Profile, Utterance
from eval.latent import context_exchange
from eval.latent.context_exchange import context_figures, exchanges, with_context_of
from eval.latent.likelihood import importance_weighted_nll
from tests.conftest import TOPICS
from tests.dialog_cvae.model.test_language_cvae import Letters
from tests.eval.latent.test_one_pass import language_model


def said_by(speakers: list[str]) -> list[Conversation]:
    return [
        Conversation(str(index), tuple(Utterance(name, f"{name}{at}") for at, name in enumerate(names)))
        for index, names in enumerate(speakers)
    ]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    speakers=st.lists(st.text("ABC", min_size=1, max_size=9), min_size=1, max_size=8),
    seed=st.integers(0, 99),
    most=st.integers(1, 50),
)
def test_every_reply_gets_a_context_of_another_conversation(speakers: list[str], seed: int, most: int) -> None:
    conversations = said_by(speakers)
    pairs = exchanges(conversations, seed, most)
    assert all(own[0] != other[0] for own, other in pairs.items())
    assert sorted(pairs) == sorted(pairs.values())  # each context is given away once
    assert all(at >= 1 for _, at in pairs)
    contexts = [len(names) - 1 for names in speakers]
    if most >= sum(contexts):
        assert len(pairs) == min(sum(contexts), 2 * (sum(contexts) - max(contexts)))
    assert pairs == exchanges(conversations, seed, most)


def test_a_conversation_with_most_of_the_replies_gives_as_many_as_the_others_have() -> None:
    assert len(exchanges(said_by(["ABAB", "ABA"]), 0)) == 4
    assert exchanges(said_by(["ABAB"]), 0) == {}
    assert exchanges([], 0) == {}


def test_speakers_keep_their_name_where_possible() -> None:
    speakers = ["ABABAB", "BABABA", "AABBAB", "BBABAA"]
    for own, other in exchanges(said_by(speakers), 1).items():
        assert speakers[own[0]][own[1]] == speakers[other[0]][other[1]]
    alone = [*speakers, "ACCC"]  # C's replies are all in one conversation
    differing = [
        (own, other)
        for own, other in exchanges(said_by(alone), 1).items()
        if alone[own[0]][own[1]] != alone[other[0]][other[1]]
    ]
    assert {own[0] for own, _ in differing} | {other[0] for _, other in differing} > {4}


def test_topic_profiles_and_name_come_with_the_context() -> None:
    first = Conversation("1", (Utterance("A", "a"), Utterance("B", "b"), Utterance("A", "c")), "PETS")
    second = Conversation("2", (Utterance("C", "d"), Utterance("D", "e")), "CARS", None, {"D": Profile("male", 30, 1)})
    (found,) = with_context_of([first, second], [((0, 2), (1, 1))])
    assert [(u.speaker, u.text) for u in found.utterances] == [("C", "d"), ("D", "c")]
    assert (found.topic, found.speakers) == ("CARS", second.speakers)


def test_the_figure_from_one_reply_at_a_time(
    tiny_model: CVAE, tokenizer: Tokenizer, encoded: EncodedCorpus, conversations: list[Conversation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(context_exchange, "MOST", 300)

    def encode(some: list[Conversation]) -> EncodedCorpus:
        return encode_corpus(some, tokenizer, TOPICS, max_tokens=8)

    own = importance_weighted_nll(tiny_model, encoded, encoded.responses, [3], seed=5).nll[3]
    figures = context_figures(tiny_model, encode, conversations, own, draws=3, seed=5)
    losses, by_conversation = [], defaultdict(list)
    for pair in exchanges(conversations, 5).items():
        (index, at), _ = pair
        corpus = encode(with_context_of(conversations, [pair]))
        found = importance_weighted_nll(tiny_model, corpus, corpus.responses[-1:], [3], places=[(index, at)], seed=5)
        before = importance_weighted_nll(tiny_model, encoded, encoded.starts[[index]] + 1 + at, [3], seed=5)
        losses.append(found.nll[3][0] - before.nll[3][0])
        by_conversation[index].append(losses[-1])
    assert figures["nats_context_exchanged"] == pytest.approx(np.mean(losses), rel=1e-5)
    mean, count = np.mean(losses), len(by_conversation)
    squares = sum(sum(value - mean for value in values) ** 2 for values in by_conversation.values())
    error = (squares * count / (count - 1)) ** 0.5 / len(losses)
    assert figures["nats_context_exchanged_se"] == pytest.approx(error, rel=1e-4)
    assert figures["context_exchanged_replies"] == len(losses) > 10
    assert abs(figures["nats_context_exchanged"]) > 0.01


def test_replies_of_a_role_exchange_contexts_among_themselves(
    tiny_model: CVAE, tokenizer: Tokenizer, conversations: list[Conversation]
) -> None:
    def encode(some: list[Conversation]) -> EncodedCorpus:
        return encode_corpus(some, tokenizer, TOPICS, max_tokens=8)

    roles = [replace(each, respond_as=("B",)) for each in conversations]
    pairs = exchanges(roles, 5)
    spots = {spot for pair in pairs.items() for spot in pair}
    assert {roles[index].utterances[at].speaker for index, at in spots} == {"B"}
    corpus = encode(roles)
    own = importance_weighted_nll(tiny_model, corpus, corpus.responses, [2], seed=5).nll[2]
    whole = [encode(roles).starts[index] + 1 + at for index, at in pairs]
    again = importance_weighted_nll(tiny_model, corpus, np.array(whole), [2], places=list(pairs), seed=5).nll[2]
    swapped = encode(with_context_of(roles, pairs.items()))
    exchanged = importance_weighted_nll(
        tiny_model, swapped, swapped.starts[1:] - 1, [2], places=list(pairs), seed=5
    ).nll[2]
    figures = context_figures(tiny_model, encode, roles, own, draws=2, seed=5)
    assert figures["nats_context_exchanged"] == pytest.approx(np.mean(exchanged - again), rel=1e-5)


def test_a_model_that_ignores_the_context_loses_nothing(
    tiny_model: CVAE, tokenizer: Tokenizer, encoded: EncodedCorpus, conversations: list[Conversation]
) -> None:
    with torch.no_grad():
        tiny_model.topic.weight.zero_()
        tiny_model.unknown_profile.zero_()
        for parameter in tiny_model.context_encoder.parameters():
            parameter.zero_()
    strangers = [
        Conversation(each.id, each.utterances, each.topic) for each in conversations
    ]  # the profiles of others would be read

    def encode(some: list[Conversation]) -> EncodedCorpus:
        return encode_corpus(some, tokenizer, TOPICS, max_tokens=8)

    corpus = encode(strangers)
    own = importance_weighted_nll(tiny_model, corpus, corpus.responses, [3]).nll[3]
    figures = context_figures(tiny_model, encode, strangers, own, draws=3)
    assert figures["nats_context_exchanged"] == pytest.approx(0, abs=1e-6)
    assert figures["nats_context_exchanged_se"] == pytest.approx(0, abs=1e-6)


def without_attention(model: LanguageCVAE) -> LanguageCVAE:
    """Nothing is read from other tokens: all values are zero."""
    base = model.lm.config
    values = base.kv_heads * base.head_size
    with torch.no_grad():
        for layer in model.lm.layers:
            layer.query_key_value.weight[-values:] = 0
            layer.query_key_value.up[-values:] = 0
    return model


@pytest.mark.parametrize("reads", [False, True])
def test_a_language_model_loses_nothing_if_no_token_sees_another(
    conversations: list[Conversation], reads: bool
) -> None:
    model = language_model(block=4)

    def encode(some: list[Conversation]) -> EncodedTurns:
        return encode_turns(some, Letters(), max_reply_tokens=24)

    model = model if reads else without_attention(model)
    turns = encode(conversations)
    own = importance_weighted_nll(model, turns, turns.responses, [2]).nll[2]
    figures = context_figures(model, encode, conversations, own, draws=2)
    assert figures["context_exchanged_replies"] > 10
    if reads:
        assert abs(figures["nats_context_exchanged"]) > 0.01
    else:
        assert figures["nats_context_exchanged"] == pytest.approx(0, abs=1e-5)
        assert figures["nats_context_exchanged_se"] == pytest.approx(0, abs=1e-5)
