"""Candidates of the model and of its training conversations: scored alike, selected together, reproducible."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from dialog_cvae.config import Decoding
from dialog_cvae.data.common_words import CommonWords
from dialog_cvae.data.reply_index import ReplyIndex
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.decoding import Draw
from dialog_cvae.generate.opening import dialog_codec
from dialog_cvae.generate.pool import Start, decode
from dialog_cvae.generate.question import RETRIEVED, SCORING_Z, Question, Reply
from dialog_cvae.generate.responder import Responder
from dialog_cvae.model.build import build_model
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.types import Conversation, Utterance
from tests.conftest import WORDS, make_checkpoint, make_model

BOTH = Decoding(temperature=1.0, max_tokens=12, candidates=8, candidates_from="both")
CORPUS = replace(BOTH, candidates_from="corpus")


def conversation(name: str, *said: str) -> Conversation:
    return Conversation(name, tuple(Utterance("AB"[place % 2], text) for place, text in enumerate(said)))


TRAIN = [
    conversation("1", "you like cats", "we like cats", "they see rain"),
    conversation("2", "you like cats now", "We like cats", "they hate sun"),
    conversation("3", "you hear birds", "they like birds", "now"),
    conversation("4", "we hear birds", "they like birds", "here"),
    conversation("5", "we hear dogs", "zebra", "here"),
    conversation("6", "we hear dogs here", "zebra", "rain"),
]
ASKED = conversation("asked", "you like cats")


@pytest.fixture
def responder(tiny_checkpoint: Checkpoint) -> Responder:
    config = tiny_checkpoint.config
    made = Responder(TorchEngine(build_model(tiny_checkpoint)), dialog_codec(tiny_checkpoint), config, "tiny")
    made.index = ReplyIndex.of(TRAIN)
    return made


def test_the_corpus_alone_gives_replies_word_for_word(responder):
    replies = responder.respond(ASKED, respond_as="B", n=5, decoding=CORPUS)
    assert {reply.text for reply in replies} == {"we like cats", "they like birds"}
    assert all(reply.source == "corpus" and reply.finished and reply.log_prob < 0 for reply in replies)


def test_both_sources_are_in_one_answer_and_draws_are_those_of_the_model_alone(responder):
    both = responder.respond(ASKED, respond_as="B", n=10, seed=4, decoding=BOTH)
    alone = responder.respond(ASKED, respond_as="B", n=10, seed=4, decoding=replace(BOTH, candidates_from="model"))
    assert {reply.source for reply in both} == {"model", "corpus"}
    assert {reply for reply in both if reply.source == "model"} <= set(alone)
    assert both == responder.respond(ASKED, respond_as="B", n=10, seed=4, decoding=BOTH)


def test_a_persons_spelling_represents_draws_with_the_same_words(responder, monkeypatch):
    (replies,) = responder.begin([Question(ASKED, "B", 5, 7, BOTH)])
    monkeypatch.setattr(replies, "_text", lambda _: "We , like cats ...")
    keys, _, _ = replies.wanted()
    for _, index in keys:
        replies.take(index, Draw((), 0.0 if index >= 0 else -9.0, 3))
    assert replies.complete
    assert {(reply.text, reply.source) for reply in replies.answer()} == {
        ("we like cats", "corpus"),
        ("they like birds", "corpus"),
    }


def test_a_retrieved_reply_has_the_score_of_its_likeliest_z(responder):
    (reply,) = [r for r in responder.respond(ASKED, respond_as="B", seed=7, decoding=CORPUS) if r.text.startswith("we")]
    (replies,) = responder.begin([Question(ASKED, "B", 5, 7, CORPUS)])
    condition = replies._condition
    z = condition.prior_mean + replies._std * replies._scoring_normal()
    assert len(z) == SCORING_Z
    assert not replies._scoring_normal()[0].any()
    # the same tokens one by one, forced by a decoding that has no other way than to draw them
    tokens = responder.codec.reply_tokens("we like cats")
    scores = []
    for each in z:
        token, states = responder.engine.start(condition.contexts, each[None])
        total = 0.0
        for following in tokens:
            step = responder.engine.step(token, states, np.ones(1, np.float32), 4)
            logits = step.logits[0].astype(np.float64)
            total += logits[following] - np.log(np.exp(logits).sum())
            token, states = np.array([following]), step.states
        scores.append(total)
    assert reply.log_prob == pytest.approx(max(scores), abs=1e-4)
    assert reply.tokens == len(tokens)


def test_a_model_without_z_scores_each_retrieved_reply_once(tiny_config, tokenizer, monkeypatch):
    checkpoint = make_checkpoint(make_model(tiny_config.model_copy(update={"latent_size": 0}), tokenizer), tokenizer)
    plain = Responder(TorchEngine(build_model(checkpoint)), dialog_codec(checkpoint), checkpoint.config, "without z")
    plain.index = ReplyIndex.of(TRAIN)

    def answered() -> tuple[int, list[Reply]]:
        (replies,) = plain.begin([Question(ASKED, "B", 5, 7, CORPUS)])
        rows = replies.wants
        return rows, plain.finish([replies])[0]

    once = answered()
    assert once[0] == len(once[1]) == 2
    assert Question(ASKED, "B", 5, 7, CORPUS).rows(0) == RETRIEVED
    monkeypatch.setattr("dialog_cvae.generate.replies.scoring_z", lambda _: SCORING_Z)
    assert answered() == (2 * SCORING_Z, once[1])


def test_answers_in_company_are_equal_to_the_bit(responder):
    questions = [
        Question(ASKED, "B", 3, 1, BOTH),
        Question(TRAIN[2], "B", 4, 2, replace(BOTH, candidates_from="model")),
        Question(TRAIN[3], "A", 2, 3, replace(CORPUS, max_tokens=5)),
        Question(conversation("nothing", "xyzzy"), "B", 2, 3, CORPUS),
    ]
    together = responder.finish(responder.begin(questions))
    assert together == [responder.finish(responder.begin([each]))[0] for each in questions]
    assert together[3] == []


def test_given_tokens_are_scored_and_the_other_rows_drawn_as_before(responder):
    (replies,) = responder.begin([Question(ASKED, "B", 3, 1, BOTH)])
    condition, rng = replies._condition, np.random.default_rng(0)
    z = rng.standard_normal((3, condition.prior_mean.shape[1]), dtype=np.float32)
    start = Start(condition.contexts * 3, z, rng.random((3, 12), dtype=np.float32))
    how = BOTH, responder.codec.special, responder.codec.vocabulary
    drawn = decode(responder.engine, start, *how)
    given = responder.codec.reply_tokens("they like birds")
    mixed = decode(responder.engine, start._replace(given=[(), given, ()]), *how)
    assert (mixed[0], mixed[2]) == (drawn[0], drawn[2])
    assert (*mixed[1].tokens, responder.codec.special.end) == given
    assert mixed[1].finished


def test_retrieved_replies_pass_the_filters(responder):
    asked = conversation("q", "we hear dogs")
    assert "zebra" in {each.text for each in responder.index.nearest(asked, "B", 5)}
    replies = {r.text for r in responder.respond(asked, respond_as="B", decoding=CORPUS)}
    assert "zebra" not in replies  # an unknown word
    assert "they like birds" in replies
    short = {r.text for r in responder.respond(asked, respond_as="B", decoding=replace(CORPUS, max_tokens=3))}
    assert not any(len(text.split()) > 2 for text in short)
    responder.accepts = lambda text: "birds" not in text
    refused = {r.text for r in responder.respond(asked, respond_as="B", decoding=CORPUS)}
    assert "they like birds" not in refused


def index_of(replies: dict[str, str]) -> ReplyIndex:
    """An index of replies, each with the utterance that it followed in two conversations."""
    return ReplyIndex.of(
        conversation(f"{place} {last}", said, reply, last)
        for place, (reply, said) in enumerate(replies.items())
        for last in (f"bye {place}", f"thanks {place}")
    )


def test_replies_that_are_too_long_leave_their_places_to_later_ones(responder):
    pairs = [" ".join(pair) for pair in combinations(WORDS, 2)]
    near = {f"we like {pair}": "you like cats" for pair in pairs[:RETRIEVED]}
    responder.index = index_of(near | dict.fromkeys(pairs[-5:], "you see rain"))
    short = replace(CORPUS, max_tokens=3)
    assert {r.text for r in responder.respond(ASKED, respond_as="B", n=5, decoding=short)} == set(pairs[-5:])
    first = {each.text for each in responder.index.nearest(ASKED, "B", RETRIEVED)}
    assert first == set(near)


def test_replies_that_are_refused_leave_their_places_to_later_ones(responder):
    pairs = [" ".join(pair) for pair in combinations(WORDS, 2)][:40]
    responder.index = index_of(dict.fromkeys(pairs, "you like cats"))
    responder.accepts = set(pairs[1::2]).__contains__
    replies = responder.respond(ASKED, respond_as="B", n=20, decoding=CORPUS)
    assert {reply.text for reply in replies} == set(pairs[1::2])


def test_replies_of_people_take_the_places_of_refused_draws(responder):
    """A filter that refuses all draws; the index has two replies that it accepts."""
    responder.accepts = {"we like cats", "they like birds"}.__contains__
    draws = {}
    for n in (2, 3):
        (begun,) = responder.begin([Question(ASKED, "B", n, 4, BOTH)])
        (replies,) = responder.finish([begun])
        assert {reply.text for reply in replies} == {"we like cats", "they like birds"}
        draws[n] = begun.draws
    assert draws == {2: 8, 3: 128}


def test_what_cannot_be_had_is_refused(responder):
    with pytest.raises(ConfigError, match=r"at: only the model decodes .* candidates_from is both"):
        responder.respond(ASKED, respond_as="B", decoding=BOTH, at=(0.0, 0.0))
    responder.index = None
    for decoding in (BOTH, CORPUS):
        with pytest.raises(
            ConfigError, match=f"candidates_from {decoding.candidates_from}: .* has no index of replies"
        ):
            responder.respond(ASKED, respond_as="B", decoding=decoding)
    with pytest.raises(ConfigError, match="candidates_from must be one of model, corpus, both, but is 'web'"):
        Decoding(candidates_from="web")  # type: ignore[arg-type]


def test_what_words_tell_changes_the_order_and_nothing_else(responder):
    decoding = replace(BOTH, candidates_from="model")
    before = responder.respond(ASKED, respond_as="B", n=8, seed=4, decoding=decoding)
    rare = set(before[-1].text.split())
    common = {word for reply in before for word in reply.text.split()} - rare
    responder.common = CommonWords(dict.fromkeys(common, 10**6), 10**6)
    after = responder.respond(ASKED, respond_as="B", n=8, seed=4, decoding=decoding)
    assert after != before
    assert set(after) == set(before)
