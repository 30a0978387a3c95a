"""Batching does not change answers; the queue is bounded; cancelled and failed requests leave it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import numpy as np
import pytest

from api.batcher import Batcher
from api.room import Busy, Room
from dialog_cvae.config import Decoding
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.question import Answer, Question
from dialog_cvae.generate.replies import Replies
from dialog_cvae.generate.responder import Responder
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.types import Conversation, Utterance

WAYS = [
    Decoding(max_tokens=8),
    Decoding(1.0, 0.9, 10),
    Decoding(0.7, 1.0, 5, candidates=12),
    Decoding(2.0, 0.5, 12, prior_temperature=2.0),
]
WORDS = ["we like cats", "they hate dogs now", "you see birds", "rain", "we hear the sun here and now"]


class Noted:
    """Records all measurements."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.depths: list[int] = []
        self.tokens: list[int] = []

    def queued(self, depth: int) -> None:
        self.depths.append(depth)

    def stepped(self, rows: int, seconds: float) -> None:
        assert seconds >= 0
        self.rows.append(rows)

    def finished(self, tokens: int) -> None:
        self.tokens.append(tokens)


@pytest.fixture(params=["onnx", "torch"])
def responder(request: pytest.FixtureRequest, tiny_checkpoint: Checkpoint, tmp_path) -> Responder:
    tiny_checkpoint.save(tmp_path / "best")
    return Responder.load(tmp_path / "best", engine=request.param)


def a_question(index: int, **fields: object) -> Question:
    rng = np.random.default_rng(index)
    said = tuple(Utterance("AB"[i % 2], str(rng.choice(WORDS))) for i in range(int(rng.integers(1, 6))))
    question = Question(Conversation("talk", said), "B", 1 + index % 7, index, WAYS[index % 4])
    return question._replace(places=index % 3 == 0, at=(0.5, -1.0) if index % 5 == 0 else None)._replace(**fields)


def alone(responder: Responder, question: Question) -> Answer:
    (begun,) = responder.begin([question])
    return Answer(responder.finish([begun])[0], begun.seen, begun.draws)


@pytest.mark.parametrize("max_rows", [1, 9, 200])
def test_requests_decoded_together_get_exactly_the_answers_they_get_alone(responder: Responder, max_rows: int):
    questions = [a_question(index) for index in range(24)]
    expected = [alone(responder, question) for question in questions]
    noted = Noted()

    async def scenario() -> list[Answer]:
        with Batcher(responder, room=Room(24), max_rows=max_rows, metrics=noted) as batcher:
            return await asyncio.gather(*(batcher.respond(question, 60) for question in questions))

    assert asyncio.run(scenario()) == expected
    assert len(noted.tokens) == 24
    assert sum(noted.tokens) == sum(noted.rows)  # each row of a step is one token
    if max_rows == 1:
        assert max(noted.rows) <= 14  # the largest request, or the second wave of another one, decoded alone
    if max_rows == 200:
        assert max(noted.rows) > 12 + 7  # several requests at once
    assert max(noted.depths) <= 24


def test_a_request_with_duplicate_draws_gets_more_draws(responder: Responder):
    """At a low temperature and with a narrow prior, draws hardly differ: several waves are needed."""
    question = a_question(1, n=6, decoding=Decoding(max_tokens=3, prior_temperature=0.3), at=None)

    async def scenario() -> Answer:
        with Batcher(responder) as batcher:
            return (await asyncio.gather(*(batcher.respond(question) for _ in range(3))))[2]

    assert asyncio.run(scenario()) == alone(responder, question)


@pytest.mark.parametrize("max_rows", [1, 200])
def test_refused_draws_are_replaced_in_the_same_way_in_any_company(responder: Responder, max_rows: int):
    """The filter refuses most draws; a request has candidates or not, and more replies than candidates or fewer."""
    responder.accepts = lambda text: len(text) % 4 == 0
    questions = [a_question(index, n=1 + 3 * (index % 6)) for index in range(12)]
    expected = [alone(responder, question) for question in questions]
    assert any(found.draws > question.draws for found, question in zip(expected, questions, strict=True))

    async def scenario() -> list[Answer]:
        with Batcher(responder, room=Room(12), max_rows=max_rows) as batcher:
            return await asyncio.gather(*(batcher.respond(question, 60) for question in questions))

    assert asyncio.run(scenario()) == expected


class Gate:
    """Stops the model before each step until `open` is set; `wait` returns once the model has stopped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, responder: Responder) -> None:
        self.open, self.reached, step = threading.Event(), threading.Event(), responder.engine.step

        def held(*arguments: object) -> object:
            self.reached.set()
            assert self.open.wait(20)
            return step(*arguments)

        monkeypatch.setattr(responder.engine, "step", held)

    async def wait(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 20)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, responder: Responder) -> Gate:
    return Gate(monkeypatch, responder)


def run(scenario: Callable[[], object]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 30))  # type: ignore[arg-type]


def test_a_full_queue_refuses_at_once_and_frees_places_of_cancelled_requests(responder: Responder, gate: Gate):
    async def scenario() -> None:
        with Batcher(responder, room=Room(2), max_rows=1) as batcher:
            first = asyncio.ensure_future(batcher.respond(a_question(1)))
            await gate.wait()
            second = asyncio.ensure_future(batcher.respond(a_question(2)))
            await asyncio.sleep(0)
            with pytest.raises(Busy, match=r"at most 2 request\(s\) may wait") as refusal:
                await batcher.respond(a_question(3))
            assert (refusal.value.reason, refusal.value.retry_after) == ("queue_full", 1)
            second.cancel()
            await asyncio.sleep(0)
            third = asyncio.ensure_future(batcher.respond(a_question(3)))
            await asyncio.sleep(0)
            gate.open.set()
            assert await first == alone(responder, a_question(1))
            assert await third == alone(responder, a_question(3))
            with pytest.raises(asyncio.CancelledError):
                await second

    run(scenario)


def test_a_request_that_waits_too_long_is_refused_and_leaves_the_batch(
    responder: Responder, gate: Gate, monkeypatch: pytest.MonkeyPatch
):
    noted = Noted()

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        clock = loop.time
        with Batcher(responder, metrics=noted) as batcher:
            late = asyncio.ensure_future(batcher.respond(a_question(3, n=5), 5.0))
            await gate.wait()
            monkeypatch.setattr(loop, "time", lambda: clock() + 5)  # the five seconds are over
            with pytest.raises(Busy, match=r"^no answer within 5 seconds; try again later$") as refusal:
                await late
            assert refusal.value.reason == "timeout"
            gate.open.set()
            assert await batcher.respond(a_question(4)) == alone(responder, a_question(4))

    run(scenario)
    assert len(noted.tokens) == 1
    assert len(noted.rows) < 8 + 12  # nothing of the first request was decoded after its current step


def test_retry_after_grows_with_the_waiting_rows(responder: Responder, gate: Gate):
    async def scenario() -> None:
        with Batcher(responder, room=Room(3), max_rows=1) as batcher:
            batcher._row_seconds = 2.0
            held = [asyncio.ensure_future(batcher.respond(a_question(1, n=5))) for _ in range(3)]
            await gate.wait()
            with pytest.raises(Busy) as refusal:
                await batcher.respond(a_question(2))
            assert refusal.value.retry_after == 15  # half of 3 x 5 rows of 2 seconds
            gate.open.set()
            await asyncio.gather(*held)

    run(scenario)


def test_an_error_in_encoding_fails_only_its_own_request(responder: Responder, monkeypatch):
    begin = responder.begin

    def picky(questions: list[Question]) -> list[Replies]:
        if any(question.seed == 13 for question in questions):
            raise ZeroDivisionError("13")
        return begin(questions)

    monkeypatch.setattr(responder, "begin", picky)

    async def scenario() -> None:
        with Batcher(responder) as batcher:
            questions = [a_question(index) for index in range(11, 16)]
            found = await asyncio.gather(*map(batcher.respond, questions), return_exceptions=True)
            assert isinstance(found[2], ZeroDivisionError)
            monkeypatch.setattr(responder, "begin", begin)
            assert [each for i, each in enumerate(found) if i != 2] == [
                alone(responder, question) for i, question in enumerate(questions) if i != 2
            ]

    run(scenario)


def test_a_failed_step_fails_the_batch_but_not_the_batcher(responder: Responder, monkeypatch):
    step = responder.engine.step

    def failing(*arguments: object) -> None:
        monkeypatch.setattr(responder.engine, "step", step)
        raise MemoryError("no room")

    monkeypatch.setattr(responder.engine, "step", failing)

    async def scenario() -> None:
        with Batcher(responder) as batcher:
            found = await asyncio.gather(
                batcher.respond(a_question(1)), batcher.respond(a_question(2)), return_exceptions=True
            )
            assert MemoryError in {type(each) for each in found}
            assert await batcher.respond(a_question(3)) == alone(responder, a_question(3))

    run(scenario)


def test_without_a_pool_all_requests_fail_and_the_next_one_is_answered(responder: Responder, monkeypatch):
    pool, accepted = responder.pool, threading.Event()

    def failing() -> None:
        assert accepted.wait(20)
        raise MemoryError("no room")

    monkeypatch.setattr(responder, "pool", failing)

    async def scenario() -> None:
        with Batcher(responder) as batcher:
            asked = [asyncio.ensure_future(batcher.respond(a_question(index))) for index in (1, 2)]
            await asyncio.sleep(0)
            accepted.set()
            found = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(each) for each in found] == [MemoryError, MemoryError]
            assert batcher.held() == 0
            monkeypatch.setattr(responder, "pool", pool)
            assert await batcher.respond(a_question(3)) == alone(responder, a_question(3))

    run(scenario)


def test_an_error_in_the_last_step_reaches_the_client_that_waits(responder: Responder, monkeypatch):
    answer = Replies.answer

    def failing(replies: Replies) -> Answer:
        if replies.question.seed == 1:
            raise ZeroDivisionError
        return answer(replies)

    async def scenario() -> None:
        with Batcher(responder) as batcher:
            monkeypatch.setattr(Replies, "answer", failing)
            found = await asyncio.gather(
                batcher.respond(a_question(1)), batcher.respond(a_question(2)), return_exceptions=True
            )
            assert isinstance(found[0], ZeroDivisionError)
            assert found[1] == alone(responder, a_question(2))

    run(scenario)


def test_a_request_cancelled_while_another_one_is_removed_harms_no_third(
    responder: Responder, gate: Gate, monkeypatch: pytest.MonkeyPatch
):
    make, accepted = responder.pool, threading.Event()

    def pool() -> object:
        assert accepted.wait(20)  # all three are admitted together
        made = make()
        remove = made.remove

        def removing(leaves: Callable[[object], bool]) -> None:
            monkeypatch.setattr(made, "remove", remove)
            remove(leaves)
            batcher._working[1].answer.cancel()  # the second client leaves now

        monkeypatch.setattr(made, "remove", removing)
        return made

    async def scenario() -> None:
        first, second, third = (asyncio.ensure_future(batcher.respond(a_question(index))) for index in (1, 2, 3))
        await asyncio.sleep(0)
        accepted.set()
        await gate.wait()
        first.cancel()
        await asyncio.sleep(0)
        gate.open.set()
        monkeypatch.setattr(responder, "pool", make)
        assert await third == alone(responder, a_question(3))
        assert {type(each) for each in await asyncio.gather(first, second, return_exceptions=True)} == {
            asyncio.CancelledError
        }

    monkeypatch.setattr(responder, "pool", pool)
    with Batcher(responder) as batcher:
        run(scenario)


def test_closing_finishes_accepted_requests_and_refuses_new_ones(responder: Responder, gate: Gate):
    async def scenario() -> None:
        batcher = Batcher(responder, max_rows=1)
        accepted = [asyncio.ensure_future(batcher.respond(a_question(index))) for index in (1, 2, 3)]
        await gate.wait()
        closing = asyncio.ensure_future(asyncio.to_thread(batcher.close))
        while not batcher._closing:
            await asyncio.sleep(0)
        with pytest.raises(Busy, match="shutting down") as refusal:
            await batcher.respond(a_question(4))
        assert refusal.value.reason == "closing"
        gate.open.set()
        assert await asyncio.gather(*accepted) == [alone(responder, a_question(index)) for index in (1, 2, 3)]
        await closing
        assert not batcher._thread.is_alive()

    run(scenario)


def test_an_invalid_question_is_refused_before_it_waits(responder: Responder):
    async def scenario() -> None:
        with Batcher(responder) as batcher, pytest.raises(ConfigError, match=r"^n must be at least 1, but is 0$"):
            await batcher.respond(a_question(1, n=0))

    run(scenario)
