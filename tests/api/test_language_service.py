"""The service around a language model: any topic, what was read of the context, and why each response ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from api.batcher import Batcher
from dialog_cvae.config import Decoding
from dialog_cvae.engines.torch_language import build_language_model
from dialog_cvae.generate.language_codec import LanguageCodec
from dialog_cvae.generate.question import Answer, Question
from dialog_cvae.generate.responder import Responder
from dialog_cvae.storage.find_backbone import open_backbone
from dialog_cvae.types import Conversation, Utterance
from eval.blind.service import NO_PROFILES
from tests.dialog_cvae.generate.naive_language import SIZES, NaiveLanguageEngine, language_checkpoint
from tests.dialog_cvae.storage.tiny_bases import drawn, write_gguf


@pytest.fixture(scope="module")
def responder(tmp_path_factory: pytest.TempPathFactory) -> Responder:
    base = write_gguf(tmp_path_factory.mktemp("base") / "tiny.gguf", drawn())
    checkpoint, found = language_checkpoint(base), open_backbone(base)
    codec = LanguageCodec(found.tokenizer, SIZES, found.config.vocab_size)
    return Responder(
        NaiveLanguageEngine(build_language_model(checkpoint, found)), codec, checkpoint.config, "tiny on tiny"
    )


@pytest.fixture
def client(serve: Callable[..., TestClient], responder: Responder) -> TestClient:
    return serve(responder)


def test_profiles_are_refused_because_the_model_reads_none(client: TestClient) -> None:
    answer = client.post("/respond", json={"context": ["hi"], "speakers": {"A": {"age": 41}}})
    assert answer.status_code == 422
    assert "speakers: this model is a language model, which reads no profiles" in answer.json()["detail"]
    assert answer.json()["errors"][0]["type"] == NO_PROFILES
    assert client.post("/respond", json={"context": ["hi"], "speakers": {}, "seed": 1}).status_code == 200


def test_the_topic_is_any_readable_text(client: TestClient, responder: Responder) -> None:
    body = {"context": ["hi"], "topic": "  late\n trains ", "num_responses": 2, "seed": 3}
    answer = client.post("/respond", json=body).json()
    assert answer["topic"] == "late trains"
    conversation = Conversation("c", (Utterance("A", "hi"),), "late trains")
    expected = responder.respond(conversation, respond_as="B", n=2, seed=3)
    assert [each["text"] for each in answer["responses"]] == [reply.text for reply in expected]
    for topic, problem in (("a\x00b", "unreadable_character"), ("\u200b", "blank"), ("x" * 1001, "string_too_long")):
        refused = client.post("/respond", json=body | {"topic": topic})
        assert refused.status_code == 422
        (error,) = refused.json()["errors"]
        assert (error["loc"], error["type"]) == (["body", "topic"], problem)


def test_it_says_that_topics_are_free_and_how_replies_are_drawn(client: TestClient) -> None:
    about = client.get("/model").json()
    assert (about["name"], about["topics"], about["free_topic"]) == ("tiny on tiny", 0, True)
    assert about["defaults"]["temperature"] == 1.0
    assert about["defaults"]["candidates"] == 6
    assert about["defaults"]["nearest_diversity"] == 1.0
    assert client.get("/topics").json() == {"topics": []}
    topic = client.get("/openapi.json").json()["components"]["schemas"]["RespondRequest"]["properties"]["topic"]
    assert [form["type"] for form in topic["anyOf"]] == ["string", "null"]


def test_it_says_how_much_of_the_context_was_read(client: TestClient) -> None:
    for turns, used, cut in ((3, 3, False), (30, 8, True)):
        body = {"context": ["ok"] * turns, "num_responses": 1, "max_tokens": 2}
        answer = client.post("/respond", json=body).json()
        assert answer["context_cut"] is cut
        assert answer["context_used"] <= used
        assert (answer["context_used"] == turns) is not cut


def test_each_response_says_why_it_ended(client: TestClient, responder: Responder) -> None:
    conversation, found = Conversation("c", (Utterance("A", "hi"),)), set()
    for seed in range(8):
        body = {"context": ["hi"], "num_responses": 6, "seed": seed, "max_tokens": 40, "temperature": 5.0, "top_p": 1.0}
        reasons = [each["finish_reason"] for each in client.post("/respond", json=body).json()["responses"]]
        decoding = Decoding(5.0, 1.0, max_tokens=40, candidates=6)
        replies = responder.respond(conversation, respond_as="B", n=6, seed=seed, decoding=decoding)
        assert reasons == ["stop" if reply.finished else "length" for reply in replies]
        assert reasons == sorted(reasons, reverse=True)  # those that were cut off are last
        found |= set(reasons)
    assert found == {"stop", "length"}


def test_the_same_request_gets_the_same_answer_in_any_company(client: TestClient) -> None:
    from concurrent.futures import ThreadPoolExecutor

    bodies = [{"context": ["hi"] * (1 + index), "seed": index, "num_responses": 2} for index in range(4)]
    alone = [client.post("/respond", json=body).json() for body in bodies]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda body: client.post("/respond", json=body).json(), bodies)) == alone


def test_a_client_that_leaves_takes_its_rows_out_of_the_batch(responder: Responder) -> None:
    question = Question(Conversation("c", (Utterance("A", "hi"),)), "B", 2, 1, Decoding(1.0, max_tokens=200))
    short = question._replace(decoding=Decoding(max_tokens=2), n=1)

    async def scenario() -> Answer:
        with Batcher(responder) as batcher:
            asked = asyncio.ensure_future(batcher.respond(question))
            while not batcher._working:
                await asyncio.sleep(0.001)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            answer = await batcher.respond(short)
            assert not batcher._working
            return answer

    (expected,) = responder.finish(responder.begin([short]))
    assert asyncio.run(scenario()).replies == expected
