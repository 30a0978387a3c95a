"""The client, with the service itself and with servers whose responses are unusual."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from api import client as module
from api import client_errors
from api.client import (
    AsyncClient,
    Client,
    InvalidRequestError,
    Patience,
    ServiceError,
    UnauthorisedError,
    UnavailableError,
    UnreachableError,
)
from api.respond_schemas import Turn
from dialog_cvae.errors import ConfigError

KEY = "a-key-of-some-length"
ANSWER = {
    "responses": [{"text": "yes", "log_prob": -1.5, "finish_reason": "stop"}],
    "topic": None,
    "seed": 7,
    "model": "m",
    "context_used": 1,
    "context_cut": False,
    "note": "",
}
PROBLEM = {"type": "/problems/queue-full", "title": "Full", "status": 503, "detail": "busy", "instance": "urn:x"}


@pytest.fixture
def of_service(serve, stub) -> Callable[..., Client]:
    """A client of a service with a stub model: `of_service(api_key, **settings)`."""

    def make(api_key: str | None = None, **settings) -> Client:
        return Client("http://testserver", api_key=api_key, transport=serve(stub, **settings)._transport)

    return make


@pytest.fixture
def slept(monkeypatch) -> list[float]:
    """The waits of clients in seconds; nothing really waits."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(module.time, "sleep", waits.append)
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    return waits


def answers(*responses: httpx2.Response) -> httpx2.MockTransport:
    left = iter(responses)
    return httpx2.MockTransport(lambda _request: next(left))


def busy(retry_after: str | None = "2") -> httpx2.Response:
    return httpx2.Response(503, json=PROBLEM, headers={} if retry_after is None else {"Retry-After": retry_after})


def test_a_conversation_is_answered(of_service, stub):
    with of_service() as client:
        answer = client.respond(
            [("Ann", "hello"), Turn(speaker="Bo", text="hi")], topic="pets", num_responses=2, seed=7, respond_as="Ann"
        )
    assert [type(each.text) for each in answer.responses] == [str, str]
    assert (answer.topic, answer.seed, answer.model, answer.note) == ("PETS", 7, "stub", "")
    ((conversation, asked),) = stub.calls
    assert [(each.speaker, each.text) for each in conversation.utterances] == [("Ann", "hello"), ("Bo", "hi")]
    assert (asked["respond_as"], asked["n"]) == ("Ann", 2)


def test_every_field_of_a_request_can_be_given():
    from api.client import Options
    from api.respond_schemas import RespondRequest

    assert set(Options.__annotations__) == set(RespondRequest.model_fields) - {"context"}


def test_plain_texts_and_places_on_the_map(of_service):
    answer = of_service().respond(["hello"], at=(0.5, -1.0))
    assert [each.place for each in answer.responses] == [(0.5, -1.0)]


def test_topics_and_model(of_service):
    client = of_service(KEY, api_keys=KEY, max_responses=9)
    assert client.topics() == ("MUSIC", "PETS", "Air Pollution")
    assert (client.model().name, client.model().limits.num_responses) == ("stub", 9)


def test_an_invalid_request_raises_with_its_errors(of_service):
    with pytest.raises(InvalidRequestError, match="at most 20, got 500") as error:
        of_service().respond(["hello"], num_responses=500, max_tokens=99)
    assert [problem.loc[1] for problem in error.value.problem.errors] == ["num_responses", "max_tokens"]


def test_a_missing_key_raises(of_service):
    client = of_service(api_keys=KEY)
    with pytest.raises(UnauthorisedError, match="API keys") as error:
        client.topics()
    assert error.value.problem.type == "/problems/unauthorised"


def test_one_text_as_context_is_refused(of_service):
    with pytest.raises(TypeError, match="list"):
        of_service().respond("hello")


def test_the_client_retries_after_the_time_the_service_names(slept):
    transport = answers(busy("2"), busy("1"), httpx2.Response(200, json=ANSWER))
    with Client("http://x", transport=transport) as client:
        assert client.respond(["hi"]).seed == 7
    assert len(slept) == 2
    assert 2 <= slept[0] <= 2.5
    assert 1 <= slept[1] <= 1.25


@pytest.mark.parametrize(
    ("patience", "retry_after", "waits"),
    [
        (Patience(retries=2), "1", 2),
        (Patience(retries=0), "1", 0),
        (Patience(wait_s=5), "2", 2),
        (Patience(wait_s=5), "6", 0),
        (Patience(wait_s=60), "999999999999999", 0),
    ],
)
def test_retries_are_limited(slept, patience, retry_after, waits):
    transport = httpx2.MockTransport(lambda _request: busy(retry_after))
    with pytest.raises(UnavailableError, match="busy") as error:
        Client("http://x", transport=transport, patience=patience).respond(["hi"])
    assert len(slept) == waits
    assert sum(slept) <= patience.wait_s
    assert error.value.retry_after == min(float(retry_after), 999999999)


@pytest.mark.parametrize("retry_after", [None, "soon", "-1", "\u0663", ""])
def test_without_retry_after_waits_grow(slept, retry_after):
    with pytest.raises(UnavailableError):
        Client("http://x", transport=httpx2.MockTransport(lambda _request: busy(None))).topics()
    assert len(slept) == 3
    assert slept == sorted(slept)


def test_retry_after_may_be_a_date(slept, monkeypatch):
    now = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)

    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return now

    monkeypatch.setattr(client_errors, "datetime", Frozen)
    date = format_datetime(now + timedelta(seconds=10), usegmt=True)
    Client("http://x", transport=answers(busy(date), httpx2.Response(200, json={"topics": []}))).topics()
    assert 10 <= slept[0] <= 12.5


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (httpx2.Response(502, text="<h1>Bad  gateway</h1>"), "status 502 .*<h1>Bad gateway</h1>"),
        (httpx2.Response(404, text=""), "status 404"),
        (httpx2.Response(422, json={"detail": []}), "status 422"),
        (httpx2.Response(200, text="<html>"), "not a response of this service"),
        (httpx2.Response(200, json={"topics": "PETS"}), "not a response of this service"),
        (httpx2.Response(500, content=b"\xff\xfe"), "status 500"),
    ],
)
def test_a_foreign_response_is_reported_as_such(response, words):
    with pytest.raises(ServiceError, match=words) as error:
        Client("http://x", transport=answers(response)).topics()
    assert error.value.problem.status == response.status_code


def test_unknown_fields_of_a_newer_server_are_ignored():
    answer = httpx2.Response(200, json=ANSWER | {"new": 1, "responses": [ANSWER["responses"][0] | {"new": 2}]})
    assert Client("http://x", transport=answers(answer)).respond(["hi"]).responses[0].text == "yes"


def test_no_connection_raises():
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"):
        Client("http://127.0.0.1:9").topics()


def test_a_timeout_raises():
    def slow(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("", request=request)

    with pytest.raises(UnreachableError, match="ReadTimeout"):
        Client("http://x", transport=httpx2.MockTransport(slow)).topics()


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://", "http://x:port", "//x"])
def test_an_invalid_url_is_refused(url):
    with pytest.raises(UnreachableError, match="not a valid URL"):
        Client(url)


@pytest.mark.parametrize("key", ["geheim\n", "gehe\u00efm", "geheim geheim", "geheim\x00"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(kind, key):
    with pytest.raises(ConfigError, match="visible ASCII") as error:
        kind("http://x", api_key=key)
    assert key.strip() not in str(error.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"diversity": math.nan}, "diversity"), ({"topic": "\udcff"}, "topic"), ({"respond_as": "\ud800"}, "respond_as")],
)
def test_the_service_explains_why_it_refuses_a_value_that_is_not_in_json_or_unicode(of_service, options, named):
    with pytest.raises(InvalidRequestError, match=named):
        of_service().respond(["hi"], **options)
    with pytest.raises(ServiceError, match="should be one of"):
        of_service().model("\udcff")


def test_the_prefix_of_a_url_is_kept():
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append((str(request.url), request.headers.get("x-api-key")))
        return httpx2.Response(200, json={"topics": []})

    for url in ("http://x/a/b", "http://x/a/b/"):
        Client(url, api_key="k", transport=httpx2.MockTransport(answer)).topics()
    assert asked == [("http://x/a/b/topics", "k")] * 2


def test_the_asynchronous_client_does_the_same(slept):
    sent = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(json.loads(request.content or "null"))
        return busy() if len(sent) == 1 else httpx2.Response(200, json=ANSWER)

    async def scenario() -> None:
        async with AsyncClient("http://x", transport=httpx2.MockTransport(answer)) as client:
            assert (await client.respond(["hi"], diversity=0.5)).responses[0].text == "yes"
        async with AsyncClient("http://x", transport=answers(httpx2.Response(200, json={"topics": ["A"]}))) as client:
            assert await client.topics() == ("A",)
        refused = AsyncClient("http://x", transport=answers(httpx2.Response(401, json=PROBLEM | {"status": 401})))
        with pytest.raises(UnauthorisedError):
            await refused.model()

    asyncio.run(scenario())
    assert sent == [{"context": ["hi"], "diversity": 0.5}] * 2
    assert len(slept) == 1
