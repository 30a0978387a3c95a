"""Log probabilities of a choice's tokens, parsed by OpenAI's own client, of both kinds of models."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dialog_cvae.config import Decoding
from dialog_cvae.data.reply_index import ReplyIndex
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.engines.torch_language import build_language_model
from dialog_cvae.generate.language_codec import LanguageCodec
from dialog_cvae.generate.opening import dialog_codec
from dialog_cvae.generate.responder import Question, Responder
from dialog_cvae.model.build import build_model
from dialog_cvae.storage.find_backbone import open_backbone
from dialog_cvae.types import Conversation, Utterance
from tests.dialog_cvae.generate.naive_language import SIZES, NaiveLanguageEngine, language_checkpoint
from tests.dialog_cvae.storage.tiny_bases import drawn, write_gguf

HELLO = [{"role": "user", "content": "you like cats"}]
TRAIN = [
    Conversation(name, (Utterance("A", "you like cats"), Utterance("B", "We like cats"), Utterance("A", said)))
    for name, said in (("1", "now"), ("2", "here"))
]


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Responder:
    base = write_gguf(tmp_path_factory.mktemp("base") / "tiny.gguf", drawn())
    checkpoint, found = language_checkpoint(base), open_backbone(base)
    codec = LanguageCodec(found.tokenizer, SIZES, found.config.vocab_size)
    return Responder(NaiveLanguageEngine(build_language_model(checkpoint, found)), codec, checkpoint.config, "tiny")


@pytest.fixture
def dialog(tiny_checkpoint: Any) -> Responder:
    made = Responder(
        TorchEngine(build_model(tiny_checkpoint)), dialog_codec(tiny_checkpoint), tiny_checkpoint.config, "tiny"
    )
    made.index = ReplyIndex.of(TRAIN)
    return made


@pytest.fixture(params=["dialog", "language"])
def responder(request: pytest.FixtureRequest) -> Responder:
    found: Responder = request.getfixturevalue(request.param)
    return found


def ask(ai: Any, **more: Any) -> Any:
    sent = {"model": "tiny", "messages": HELLO, "temperature": 1.0, "max_tokens": 8, "seed": 5} | more
    return ai.chat.completions.create(**sent)


def test_the_scores_of_a_reply_sum_to_its_log_prob(responder):
    for candidates in (0, 6):
        decoding = Decoding(1.0, 0.9, max_tokens=8, candidates=candidates)
        question = Question(Conversation("c", (Utterance("A", "hi"),)), "B", 4, 3, decoding)
        (plain,) = responder.finish(responder.begin([question]))
        (replies,) = responder.finish(responder.begin([question._replace(likeliest=3)]))
        assert [replace(reply, scores=()) for reply in replies] == plain
        for reply in replies:
            assert len(reply.scores) == reply.tokens
            assert math.fsum(score.log_prob for score in reply.scores) == pytest.approx(reply.log_prob, abs=1e-9)
            assert (reply.scores[-1].token == responder.codec.special.end) is reply.finished
            for score in reply.scores:
                likeliest = [log_prob for _, log_prob in score.likeliest]
                assert likeliest == sorted(likeliest, reverse=True)
                assert len(likeliest) == 3
                assert likeliest[0] >= score.log_prob
                assert dict(score.likeliest).get(score.token, score.log_prob) == pytest.approx(score.log_prob)


def test_scores_are_the_models_own_at_any_temperature(dialog):
    """Greedy decoding with 20 alternatives, held against a softmax over all logits."""
    question = Question(Conversation("c", (Utterance("A", "you like cats"),)), "B", 1, 3, Decoding(max_tokens=4))
    (replies,) = dialog.begin([question])
    ((reply,),) = dialog.finish(dialog.begin([question._replace(likeliest=20)]))
    _, start, _ = replies.wanted()
    token, states = dialog.engine.start(start.contexts, start.z)
    for score in reply.scores:
        step = dialog.engine.step(token, states, np.ones(1, np.float32), 4)
        logits = step.logits[0].astype(np.float64)
        own = logits - np.log(np.exp(logits).sum())
        assert score.log_prob == pytest.approx(own[score.token], abs=1e-5)
        order = np.argsort(-own, kind="stable")[:20]
        assert [token for token, _ in score.likeliest] == order.tolist()
        assert [log_prob for _, log_prob in score.likeliest] == pytest.approx(own[order].tolist(), abs=1e-5)
        token, states = np.array([score.token]), step.states


def test_a_row_that_wants_scores_changes_no_other(responder):
    asked = [
        Question(Conversation("c", (Utterance("A", "hi"),)), "B", 3, seed, Decoding(max_tokens=8)) for seed in (1, 2)
    ]
    alone = responder.finish(responder.begin(asked[:1]))[0]
    assert responder.finish(responder.begin([asked[0], asked[1]._replace(likeliest=20)]))[0] == alone


def test_tokens_spell_the_reply(serve, responder, connect):
    ai = connect(serve(responder))
    found = ask(ai, n=3, logprobs=True, top_logprobs=4)
    assert [choice.message for choice in found.choices] == [choice.message for choice in ask(ai, n=3).choices]
    for choice in found.choices:
        tokens = choice.logprobs.content
        assert b"".join(bytes(token.bytes) for token in tokens).decode() == choice.message.content
        for token in tokens:
            assert len(token.top_logprobs) == 4
            assert token.logprob <= 0
            assert token.token.startswith("\\x") or token.token == bytes(token.bytes).decode()
    (plain,) = ask(ai).choices
    assert plain.logprobs is None
    (none,) = ask(ai, logprobs=True).choices
    assert {len(token.top_logprobs) for token in none.logprobs.content} == {0}


def test_the_sum_is_the_log_prob_of_respond(serve, responder, connect):
    client = serve(responder)
    for limit in (2, 8):
        body = {"context": ["you like cats"], "num_responses": 4, "seed": 5, "temperature": 1.0, "max_tokens": limit}
        said = client.post("/respond", json=body).json()["responses"]
        choices = ask(connect(client), n=4, max_tokens=limit, logprobs=True).choices
        for one, choice in zip(said, choices, strict=True):
            total = sum(token.logprob for token in choice.logprobs.content)
            if one["finish_reason"] == "length":
                assert total == pytest.approx(one["log_prob"])
            else:  # the end of the reply is not listed
                assert total > one["log_prob"]


def test_a_cut_reply_has_the_tokens_before_the_cut(serve, dialog, connect):
    ai = connect(serve(dialog))
    wholes = ((seed, ask(ai, logprobs=True, seed=seed).choices[0]) for seed in range(100))
    seed, whole = next(each for each in wholes if len(set(each[1].message.content.split())) > 4)
    words = whole.message.content.split()
    found = ask(ai, logprobs=True, seed=seed, stop=f" {words[2]}").choices[0]
    assert found.message.content == " ".join(words[:2])
    assert found.logprobs.content == whole.logprobs.content[:2]
    assert ask(ai, logprobs=True, seed=seed, stop=words[0]).choices[0].logprobs.content == []


def test_a_stream_has_the_tokens_with_their_words(serve, responder, connect):
    ai = connect(serve(responder))
    whole = ask(ai, logprobs=True, top_logprobs=2).choices[0]
    chunks = [chunk.choices[0] for chunk in ask(ai, logprobs=True, top_logprobs=2, stream=True)]
    assert chunks[0].logprobs is None
    assert chunks[-1].logprobs is None
    tokens = [token for chunk in chunks[1:-1] for token in chunk.logprobs.content]
    assert [token.model_dump() for token in tokens] == [token.model_dump() for token in whole.logprobs.content]
    for chunk in chunks[1:-1]:
        if all(token.token.isascii() and "\\" not in token.token for token in chunk.logprobs.content):
            assert "".join(token.token for token in chunk.logprobs.content).strip() == chunk.delta.content.strip()
    assert all(chunk.choices[0].logprobs is None for chunk in ask(ai, stream=True))


def test_a_retrieved_reply_has_the_tokens_that_the_model_reads(serve, dialog, connect):
    dialog.decoding = Decoding(1.0, max_tokens=8, candidates=4, candidates_from="corpus")
    (choice,) = ask(connect(serve(dialog)), logprobs=True, top_logprobs=20).choices
    assert choice.message.content == "We like cats"
    assert [token.token for token in choice.logprobs.content] == ["we", " like", " cats"]
    names = {other.token: other.bytes for other in choice.logprobs.content[2].top_logprobs}
    assert names["</s>"] is None
    cut = ask(connect(serve(dialog)), logprobs=True, stop=" cats").choices[0]
    assert [token.token for token in cut.logprobs.content] == ["we", " like"]


def test_without_any_reply_there_are_no_tokens(serve, make_stub, connect):
    ai = connect(serve(make_stub(distinct=0)))
    found = ai.chat.completions.create(model="stub", messages=HELLO, logprobs=True)
    assert found.choices[0].logprobs.content == []
