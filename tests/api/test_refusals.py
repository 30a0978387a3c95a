"""Malformed requests get 422 with field, limit and value, and never 500."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

GOOD: dict[str, Any] = {"context": [{"speaker": "A", "text": "hi"}]}
JSON = {"Content-Type": "application/json"}


def refusals(answer) -> dict[tuple[str | int, ...], str]:
    """Messages by field, after a check of the form that clients rely on."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance", "errors"}
    assert (problem["type"], problem["status"]) == ("/problems/invalid-request", 422)
    assert problem["instance"].endswith(answer.headers["x-request-id"])
    assert problem["detail"].startswith(problem["errors"][0]["msg"])
    for item in problem["errors"]:
        assert set(item) == {"loc", "msg", "type"}
        assert item["loc"][0] == "body"
    return {tuple(item["loc"][1:]): item["msg"] for item in problem["errors"]}


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"num_responses": 0}, ("num_responses",), ["num_responses", "1", "got 0"]),
        ({"num_responses": 21}, ("num_responses",), ["num_responses", "at most 20", "got 21"]),
        ({"num_responses": "5"}, ("num_responses",), ["integer", 'got "5"']),
        ({"num_responses": True}, ("num_responses",), ["integer", "got true"]),
        ({"num_responses": 5.5}, ("num_responses",), ["integer", "got 5.5"]),
        ({"num_responses": 1e300}, ("num_responses",), ["at most 20", "…"]),
        ({"seed": -1}, ("seed",), ["0", "got -1"]),
        ({"seed": 2**63}, ("seed",), [str(2**63 - 1), f"got {2**63}"]),
        ({"seed": 10**4000}, ("seed",), [str(2**63 - 1), "…"]),
        ({"seed": 1.5}, ("seed",), ["integer", "got 1.5"]),
        ({"seed": False}, ("seed",), ["integer", "got false"]),
        ({"temperature": -0.1}, ("temperature",), ["0", "got -0.1"]),
        ({"temperature": 10.5}, ("temperature",), ["10", "got 10.5"]),
        ({"temperature": 1e-300}, ("temperature",), ["0.01", "got 1e-300"]),
        ({"temperature": float("nan")}, ("temperature",), ["finite", "NaN"]),
        ({"temperature": float("inf")}, ("temperature",), ["temperature", "Infinity"]),
        ({"temperature": "warm"}, ("temperature",), ["number", '"warm"']),
        ({"temperature": True}, ("temperature",), ["number", "true"]),
        ({"top_p": 0}, ("top_p",), ["greater than 0", "got 0"]),
        ({"top_p": 1.01}, ("top_p",), ["1", "got 1.01"]),
        ({"max_tokens": 0}, ("max_tokens",), ["1", "got 0"]),
        ({"max_tokens": 41}, ("max_tokens",), ["at most 40", "got 41"]),
        ({"topic": "musik"}, ("topic",), ["3 known topics", '"musik"', "'MUSIC'"]),
        ({"topic": ""}, ("topic",), ["3 known topics"]),
        ({"topic": 3}, ("topic",), ["string", "got 3"]),
        ({"topic": "x" * 1001}, ("topic",), ["1000", "…"]),
        ({"topic": "\ud800"}, ("topic",), ["topic"]),
        ({"respond_as": ""}, ("respond_as",), ["at least 1"]),
        ({"respond_as": "x" * 201}, ("respond_as",), ["200"]),
        ({"speakers": {"A": {"sex": "f"}}}, ("speakers", "A", "sex"), ["'female' or 'male'", '"f"']),
        ({"speakers": {"A": {"age": 131}}}, ("speakers", "A", "age"), ["130", "got 131"]),
        ({"speakers": {"A": {"education": True}}}, ("speakers", "A", "education"), ["integer", "got true"]),
        ({"speakers": {"A": {"name": "Ann"}}}, ("speakers", "A", "name"), ["unknown field"]),
        ({"speakers": {"A": None}}, ("speakers", "A"), ["null"]),
        ({"speakers": {" ": {}}}, ("speakers", " ", "[key]"), ["at least 1"]),
        ({"speakers": ["A"]}, ("speakers",), ["dictionary", "an array"]),
        ({"speakers": {str(number): {} for number in range(21)}}, ("speakers",), ["at most 20"]),
        ({"beam_width": 3}, ("beam_width",), ["beam_width", "unknown field"]),
        ({"x" * 500: 3}, ("x" * 80 + "…",), ["unknown field"]),
        ({"context": []}, ("context",), ["at least 1"]),
        ({"context": "hi"}, ("context",), ["list", '"hi"']),
        ({"context": {"speaker": "A", "text": "hi"}}, ("context",), ["list", "an object"]),
        ({"context": ["hi"] * 201}, ("context",), ["at most 200", "has 201"]),
        ({"context": ["hi", {"speaker": "A", "text": "hi"}]}, ("context",), ["strings only", "item 1"]),
        ({"context": [{"speaker": "A", "text": "hi"}, "hi"]}, ("context",), ["strings only", "item 0"]),
        ({"context": [["hi"]]}, ("context", 0), ["context.0"]),
        ({"context": [None]}, ("context", 0), ["context.0", "null"]),
        ({"context": [{"text": "hi"}]}, ("context", 0, "speaker"), ["required"]),
        ({"context": [{"speaker": "A"}]}, ("context", 0, "text"), ["required"]),
        ({"context": [{"speaker": "A", "text": "hi", "act": "x"}]}, ("context", 0, "act"), ["unknown field"]),
        ({"context": [{"speaker": 1, "text": "hi"}]}, ("context", 0, "speaker"), ["string", "got 1"]),
        ({"context": [{"speaker": " ", "text": "hi"}]}, ("context", 0, "speaker"), ["at least 1"]),
        ({"context": [{"speaker": "\u200b", "text": "hi"}]}, ("context", 0, "speaker"), ["visible"]),
        ({"context": ["ok", "x" * 2001]}, ("context", 1, "text"), ["at most 2000", "has 2001"]),
        ({"context": [" \n\t\u00a0\u200b\u2028"]}, ("context", 0, "text"), ["visible"]),
        ({"context": [""]}, ("context", 0, "text"), ["visible"]),
        ({"context": ["a\x00b"]}, ("context", 0, "text"), ["U+0000", "character 1"]),
        ({"context": ["\x1b[2J"]}, ("context", 0, "text"), ["U+001B"]),
        ({"context": ["x\udc00"]}, ("context", 0, "text"), ["U+DC00", "character 1"]),
    ],
)
def test_an_invalid_field_is_named_with_its_limit_and_value(client, stub, change, field, words):
    found = refusals(client.post("/respond", content=json.dumps(GOOD | change), headers=JSON))
    assert list(found) == [field]
    assert [word for word in words if word not in found[field]] == [], found[field]
    assert stub.calls == []


def test_all_errors_are_reported_at_once_up_to_a_limit(client):
    found = refusals(client.post("/respond", json={"num_responses": 0, "seed": "x", "spam": 1}))
    assert set(found) == {("context",), ("num_responses",), ("seed",), ("spam",)}
    assert len(refusals(client.post("/respond", json={"context": [{}] * 150}))) == 20


def test_the_closest_topics_are_offered_first(client):
    message = refusals(client.post("/respond", json=GOOD | {"topic": "polution in the air"}))[("topic",)]
    assert message.index("Air Pollution") < message.index("MUSIC")


def test_a_model_without_topics_refuses_every_topic(serve, make_stub):
    message = refusals(serve(make_stub(topics=())).post("/respond", json=GOOD | {"topic": "PETS"}))[("topic",)]
    assert "0 known topics" in message
    assert "leave it out" in message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "required"),
        (b"null", "got null"),
        (b"{", "not valid JSON"),
        (b"{'context': ['hi']}", "not valid JSON"),
        (b'{"context": ["hi"]} x', "not valid JSON"),
        (b"\x00", "JSON"),
        (b"[]", "an array"),
        (b'"hi"', '"hi"'),
        (b"7", "got 7"),
        (b'{"context": ["\xff\xfe"]}', "utf-8"),
        (b"\xff", "JSON"),
        (b"[" * 200_000, "nested more than 32 levels"),
        (b'{"context":' * 100_000, "nested more than 32 levels"),
        (b'{"seed": ' + b"9" * 10_000 + b"}", "4300"),
        (b'{"context": ["hi"], "\\ud800": 1}', "unicode"),
    ],
)
def test_a_body_that_is_not_a_json_object_is_refused(client, body, words):
    found = refusals(client.post("/respond", content=body, headers=JSON))
    assert list(found) == [()]
    assert found[()].startswith("body: ")
    assert words in found[()]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "nonsense", "", None])
def test_another_content_type_is_refused_by_name(client, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    found = refusals(client.post("/respond", content=json.dumps(GOOD), headers=headers))
    assert "Content-Type application/json" in found[()]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/vnd.api+json"])
def test_media_types_of_json_are_accepted(client, content_type):
    assert client.post("/respond", content=json.dumps(GOOD), headers={"Content-Type": content_type}).status_code == 200


def test_input_that_the_model_refuses_gets_422(serve, make_stub):
    from dialog_cvae.errors import DataError

    class Refusing(make_stub):
        def respond(self, conversation, **asked):
            if conversation.id == "request":
                raise DataError("request", "no tokens are left")
            return super().respond(conversation, **asked)

    found = refusals(serve(Refusing()).post("/respond", json=GOOD))
    assert found == {(): "request: no tokens are left"}


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
turns = st.fixed_dictionaries(
    {"speaker": st.sampled_from(["A", "B"]) | scalars, "text": st.text(max_size=20) | scalars}
)
contexts = st.lists(turns, max_size=4) | st.lists(st.text(max_size=10), max_size=4) | anything
requests = st.fixed_dictionaries(
    {"context": contexts},
    optional={
        "topic": st.sampled_from(["pets", "MUSIC"]) | anything,
        "num_responses": st.integers(-1, 30) | anything,
        "seed": st.integers(0, 2**64) | anything,
        "temperature": st.floats(-1, 12) | anything,
        "top_p": st.floats(-1, 2) | anything,
        "max_tokens": st.integers(-1, 60) | anything,
        "respond_as": st.text(max_size=5) | anything,
        "speakers": st.dictionaries(st.text(max_size=3), anything, max_size=3) | anything,
        "extra": anything,
    },
)
fuzz = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def check_answer(answer) -> None:
    if answer.status_code == 200:
        expected = {"responses", "topic", "seed", "model", "context_used", "context_cut"}
        assert set(answer.json()) - {"note"} == expected
    else:
        assert refusals(answer)


@fuzz
@given(body=requests | anything)
def test_no_json_gives_a_server_error(client, body):
    check_answer(client.post("/respond", content=json.dumps(body), headers=JSON))


@fuzz
@given(
    body=st.binary(max_size=60),
    content_type=st.sampled_from(["application/json", "text/plain", "application/json; charset=x"]),
)
def test_no_bytes_give_a_server_error(client, body, content_type):
    check_answer(client.post("/respond", content=body, headers={"Content-Type": content_type}))


@fuzz
@given(cut=st.integers(0, 120), junk=st.binary(max_size=6))
def test_no_damaged_request_gives_a_server_error(client, cut, junk):
    good = json.dumps(
        {"context": [{"speaker": "A", "text": "héllo \ud83d\ude00"}], "seed": 7, "temperature": 0.5}
    ).encode()
    check_answer(client.post("/respond", content=good[:cut] + junk + good[cut:], headers=JSON))
