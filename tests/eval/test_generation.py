"""Sampling for a whole corpus: which contexts, in which order, and independence of how they are batched."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from api.batcher import Batcher
from dialog_cvae.config import Decoding
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.generate.decoding import Draw
from dialog_cvae.generate.opening import dialog_codec
from dialog_cvae.generate.question import Answer
from dialog_cvae.generate.responder import Question, Reply, Responder
from dialog_cvae.model.build import build_model
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.types import Conversation, Utterance
from eval import generation
from eval.contexts import AnsweredContext, count_contexts, generators, seeded_windows, windows
from eval.evaluation_settings import ReplyProtocol
from eval.generation import draw_replies
from eval.reply_scores import metric_context
from eval.score_thresholds import score_thresholds

GREEDY, SAMPLED = Decoding(max_tokens=10), Decoding(1.0, 0.9, 10)


@pytest.fixture
def responder(tiny_checkpoint: Checkpoint) -> Responder:
    engine = TorchEngine(build_model(tiny_checkpoint))
    return Responder(engine, dialog_codec(tiny_checkpoint), tiny_checkpoint.config, "tiny")


def sample(responder: Responder, conversations: list[Conversation], decoding: Decoding = GREEDY, seed: int = 0):
    protocol: ReplyProtocol = "service" if decoding.candidates else "paper"
    return list(draw_replies(responder, conversations, 3, seed, decoding, protocol))


def test_every_context_of_at_least_one_utterance_once_in_order(responder, conversations):
    sampled = sample(responder, conversations)
    expected = [
        AnsweredContext(c.id, i, c.topic, c.utterances[max(0, i - 4) : i], c.utterances[i], ())
        for c in conversations
        for i in range(1, len(c.utterances))
    ]
    assert [one._replace(replies=()) for one in sampled] == expected
    assert len(sampled) == count_contexts(conversations)
    assert all(len(one.replies) == 3 and all(one.replies) for one in sampled)


def test_a_context_has_the_same_randomness_for_models_and_for_rows_without_one(responder, conversations):
    corpus = responder.encode(conversations)
    of_models = generators(corpus, generation.answered_utterances(corpus), 5)
    of_rows = [rng for _, rng in seeded_windows(conversations, 5)]
    drawn = [[rng.integers(2**63) for rng in rngs] for rngs in (of_models, of_rows)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == len(drawn[0]) == count_contexts(conversations)


def texts(replies: Sequence[Reply]) -> tuple[str, ...]:
    return tuple(reply.text for reply in replies)


@pytest.mark.parametrize("decoding", [SAMPLED, replace(SAMPLED, candidates=12), replace(GREEDY, candidates=4), GREEDY])
@pytest.mark.parametrize("samples", [1, 5])
def test_the_services_protocol_gives_the_replies_of_respond(responder, conversations, decoding, samples):
    found = list(draw_replies(responder, conversations, samples, 7, decoding, "service"))
    assert len(found) == count_contexts(conversations)
    contexts = iter(found)
    for index, conversation in enumerate(conversations):
        for position in range(1, len(conversation.utterances)):
            expected = responder.respond(
                replace(conversation, utterances=conversation.utterances[:position]),
                respond_as=conversation.utterances[position].speaker,
                n=samples,
                seed=(7, index, position),
                decoding=decoding,
            )
            assert next(contexts).replies == texts(expected)


def test_the_services_protocol_gives_the_replies_of_the_service(responder, conversations):
    """Through the batcher, which decodes requests together, as the service does."""
    conversation, decoding = conversations[0], replace(SAMPLED, candidates=12)
    found = list(draw_replies(responder, [conversation], 4, 3, decoding, "service"))

    async def answers() -> list[Answer]:
        with Batcher(responder) as batcher:
            asked = (
                Question(
                    replace(conversation, utterances=conversation.utterances[:position]),
                    conversation.utterances[position].speaker,
                    4,
                    (3, 0, position),
                    decoding,
                )
                for position in range(1, len(conversation.utterances))
            )
            return await asyncio.gather(*map(batcher.respond, asked))

    assert [one.replies for one in found] == [texts(answer.replies) for answer in asyncio.run(answers())]


@pytest.mark.parametrize("decoding", [replace(SAMPLED, candidates=12), SAMPLED])
def test_a_min_score_of_the_table_leaves_out_what_the_table_says(responder, conversations, decoding):
    """Asked of the batcher, as the service asks it."""
    found = list(draw_replies(responder, conversations, 4, 3, decoding, "service"))
    table = score_thresholds(found, [metric_context(one) for one in found], None, 0)
    assert all(len(one.scores) == len(one.replies) for one in found)
    numbers = {conversation.id: number for number, conversation in enumerate(conversations)}
    for row in table["rows"]:

        async def answers(least: float = row["min_score"]) -> list[Answer]:
            with Batcher(responder) as batcher:
                asked = [
                    Question(
                        replace(conversation, utterances=conversation.utterances[:position]),
                        conversation.utterances[position].speaker,
                        4,
                        (3, numbers[conversation.id], position),
                        decoding,
                        min_score=least,
                    )
                    for conversation, position in windows(conversations)
                ]
                return await asyncio.gather(*map(batcher.respond, asked))

        left = [answer.replies for answer in asyncio.run(answers())]
        assert sum(map(len, left)) / len(left) == pytest.approx(row["replies"])
        assert sum(map(bool, left)) / len(left) == pytest.approx(row["contexts"])
        for one, replies in zip(found, left, strict=True):
            scored = zip(one.replies, one.scores, strict=True)
            assert [(reply.text, reply.score) for reply in replies] == [
                (text, score) for text, score in scored if score >= row["min_score"]
            ]


def test_the_papers_protocol_gives_no_scores(responder, conversations):
    assert {one.scores for one in draw_replies(responder, conversations[:1], 3, 0, SAMPLED)} == {()}


def test_the_services_protocol_uses_the_word_filter(responder, conversations):
    open_ = list(draw_replies(responder, conversations, 3, 0, SAMPLED, "service"))
    refused = open_[0].replies[0]
    responder.accepts = lambda text: text != refused
    filtered = list(draw_replies(responder, conversations, 3, 0, SAMPLED, "service"))
    assert all(refused not in one.replies for one in filtered)
    assert any(refused in one.replies for one in open_)


def test_a_context_without_a_readable_reply_gets_an_empty_one(responder, conversations):
    responder.accepts = lambda _: False
    for decoding in (GREEDY, replace(GREEDY, candidates=3)):
        found = draw_replies(responder, conversations[:1], 3, 0, decoding, "service")
        assert {(one.replies, one.scores) for one in found} == {(("",), ())}


def test_the_paper_keeps_duplicate_draws_in_their_order(responder, conversations):
    nothing_random = replace(GREEDY, prior_temperature=0.0)
    found = draw_replies(responder, conversations, 3, 0, nothing_random, "paper")
    assert all(len(one.replies) == 3 and len(set(one.replies)) == 1 for one in found)


def test_replies_selected_from_candidates_are_distinct_draws(responder, conversations):
    # a third speaker who has yet to speak is unknown to the service, and known to the paper's protocol
    conversations = [c for c in conversations if {u.speaker for u in c.utterances} <= {"A", "B"}]
    assert conversations
    every = list(draw_replies(responder, conversations, 12, 0, SAMPLED))
    for one, drawn in zip(sample(responder, conversations, replace(SAMPLED, candidates=12)), every, strict=True):
        assert len(one.replies) == len(set(one.replies)) == min(3, len(set(drawn.replies)))
        assert set(one.replies) <= set(drawn.replies)


@pytest.mark.usefixtures("any_threads")
@pytest.mark.parametrize("decoding", [GREEDY, SAMPLED, replace(SAMPLED, candidates=6)])
@pytest.mark.parametrize(("batch", "ahead", "threads"), [(1, 0, 1), (1, 3, 2), (5, 1, 2), (1000, 8, 1), (7, 100, 3)])
def test_batches_and_threads_change_nothing(responder, conversations, decoding, batch, ahead, threads, monkeypatch):
    expected = sample(responder, conversations, decoding)
    monkeypatch.setattr(generation, "BATCH", batch)
    monkeypatch.setattr(generation, "AHEAD", ahead)
    torch.set_num_threads(threads)
    assert sample(responder, conversations, decoding) == expected


@pytest.mark.parametrize(("samples", "largest"), [(1, 96), (5, 96), (50, 9), (1000, 1)])
def test_many_samples_are_drawn_for_few_contexts_at_a_time(responder, conversations, samples, largest, monkeypatch):
    sizes: list[int] = []

    def draw(corpus: object, batch: list[int], rngs: object, samples: int, decoding: object) -> list[list[Draw]]:
        sizes.append(len(batch))
        return [[Draw((6,), -1.0, 2)] * samples for _ in batch]

    monkeypatch.setattr(responder, "draw", draw)
    sampled = list(draw_replies(responder, conversations * 4, samples, 0, GREEDY))
    assert max(sizes) == largest
    assert sum(sizes) == len(sampled)


def test_an_abandoned_iteration_stops_the_drawing(responder, conversations, monkeypatch):
    monkeypatch.setattr(generation, "BATCH", 1)
    calls: list[int] = []
    draw = responder.draw

    def counted(*arguments: object) -> object:
        calls.append(1)
        return draw(*arguments)

    monkeypatch.setattr(responder, "draw", counted)
    before = set(threading.enumerate())
    replies = draw_replies(responder, conversations, 1, 0, GREEDY)
    next(replies)
    replies.close()
    assert set(threading.enumerate()) <= before  # so that nothing more can be sampled
    assert 1 <= len(calls) <= generation.AHEAD + 1 < count_contexts(conversations)


def test_an_error_of_the_model_is_raised(responder, conversations, monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(responder.engine, "step", broken)
    with pytest.raises(ZeroDivisionError):
        sample(responder, conversations)


def test_later_conversations_change_nothing(responder, conversations):
    first = sample(responder, conversations[:2], SAMPLED)
    assert sample(responder, conversations, SAMPLED)[: len(first)] == first


def test_the_seed_decides(responder, conversations):
    first = sample(responder, conversations, SAMPLED, seed=1)
    assert sample(responder, conversations, SAMPLED, seed=1) == first
    second = sample(responder, conversations, SAMPLED, seed=2)
    same = sum(a.replies == b.replies for a, b in zip(first, second, strict=True))
    assert same < len(first) / 4


def test_equal_contexts_of_two_conversations_get_different_draws(responder, conversations):
    twice = sample(responder, [conversations[0], conversations[0]], SAMPLED)
    half = len(twice) // 2
    assert [one.replies for one in twice[:half]] != [one.replies for one in twice[half:]]


def test_a_reply_is_drawn_from_the_prior_of_its_own_context(responder, conversations):
    """The corpus's batches and a conversation of its own give the same replies, drawn from the same numbers."""
    for one in sample(responder, conversations)[:12]:
        index = next(i for i, c in enumerate(conversations) if c.id == one.conversation)
        conversation = conversations[index]
        until = Conversation("x", conversation.utterances[: one.position + 1], conversation.topic, None)
        alone = responder.encode([Conversation(**(_fields(until) | {"speakers": conversation.speakers}))])
        rng = np.random.default_rng((0, index, one.position))
        (draws,) = responder.draw(alone, np.array([one.position + 1]), [rng], 3, GREEDY)
        assert tuple(responder.codec.tokenizer.decode(draw.tokens) for draw in draws) == one.replies


def _fields(conversation: Conversation) -> dict[str, object]:
    return {name: getattr(conversation, name) for name in ("id", "utterances", "topic", "prompt", "speakers")}


def test_conversations_without_a_reply_are_skipped(responder, conversations):
    lonely = Conversation("lonely", (Utterance("A", "rain"),))
    assert count_contexts([lonely]) == 0
    assert sample(responder, [lonely]) == []
    kept = sample(responder, [lonely, conversations[0], lonely])
    assert [one.conversation for one in kept] == ["c0"] * (len(conversations[0].utterances) - 1)


@pytest.mark.parametrize("decoding", [GREEDY, SAMPLED, replace(SAMPLED, candidates=3)])
def test_contexts_of_a_role_are_answered_as_among_all(responder, conversations, decoding):
    roles = [replace(each, respond_as=("B",)) for each in conversations]
    found = sample(responder, roles, decoding)
    assert found == [one for one in sample(responder, conversations, decoding) if one.reference.speaker == "B"]
    assert 0 < len(found) == count_contexts(roles) < count_contexts(conversations)
    assert [one.position for one in found] == [window.position for window in windows(roles)]


def test_the_text_of_the_reference_is_not_seen(responder, conversations):
    """Only who answers is known of the response."""
    conversation = conversations[1]
    last = conversation.utterances[-1]
    changed = (*conversation.utterances[:-1], Utterance(last.speaker, "quite another text"))
    before = sample(responder, [conversation])[-1]
    after = sample(responder, [Conversation("c1", changed, conversation.topic, None, conversation.speakers)])[-1]
    assert after.replies == before.replies
