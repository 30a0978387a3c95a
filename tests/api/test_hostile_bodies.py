"""Bodies that are cheap to send and could be expensive to read: work for them is bounded, and off the event loop.

The tests count work instead of measuring time; `benchmarks.hostile` measures it.
"""

from __future__ import annotations

import json
import threading
from collections import Counter

import pytest
from fastapi.exceptions import RequestValidationError

from api import field_types, logs, problems, request_body, routes
from api.model_schemas import Topics
from api.request_body import read_request
from api.respond_schemas import RespondRequest
from api.service import Service
from api.settings import Settings
from benchmarks.hostile import BODIES
from dialog_cvae import limits

JSON = {"Content-Type": "application/json"}
SETTINGS = Settings(checkpoint="none", max_context=5, max_text_chars=50)
MOST = SETTINGS.max_body_bytes
CUT = 20_000  # bytes; enough for each of these bodies to exceed a limit


def errors_of(body: bytes, settings: Settings = SETTINGS) -> list[dict]:
    with pytest.raises(RequestValidationError) as error:
        read_request(body, "application/json", settings, RespondRequest)
    return error.value.errors()


@pytest.fixture
def counted(monkeypatch):
    """How often JSON was parsed, validated, and a text checked."""
    calls: Counter[str] = Counter()

    def count(where, name):
        real = getattr(where, name)

        def counting(*args, **kwargs):
            calls[name] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(where, name, counting)

    count(request_body.json, "loads")
    count(request_body.RespondRequest, "model_validate")
    count(field_types, "normal")
    return calls


HOPELESS = {
    "numbers as context",
    "strings as context",
    "empty objects as context",
    "empty lists as context",
    "turns as context",
    "unknown keys",
    "nested lists",
    "nested objects",
    "one text",
    "one text, escaped",
    "one text without its end",
    "one topic",
    "one number of many digits",
    "one fraction of many digits",
    "commas",
    "UTF-16",
}


@pytest.mark.parametrize("hostile", [each for each in BODIES if each.name in HOPELESS], ids=lambda each: each.name)
def test_a_body_with_too_much_in_it_is_never_parsed(counted, hostile):
    (error,) = errors_of(hostile.body(MOST))
    assert error["type"] == "too_long"
    assert "no request within the limits" in error["msg"]
    assert counted == {}


def test_all_of_these_bodies_are_sent():
    assert {each.name for each in BODIES} >= HOPELESS


@pytest.mark.parametrize("hostile", BODIES, ids=lambda each: each.name)
def test_every_hostile_body_is_answered_and_the_service_goes_on(serve, stub, hostile):
    client = serve(stub, max_context=5, max_text_chars=50)
    status = client.post("/respond", content=hostile.body(CUT), headers=dict(hostile.headers) or JSON).status_code
    assert status in (200, 413, 422)
    assert client.post("/respond", json={"context": ["hi"]}).status_code == 200


def test_lengths_are_checked_before_validation(counted):
    for context in (["x" * 51], ["hi"] * 6, [{"speaker": "A", "text": "x" * 51}], [{"text": "x" * 51, "no": 1}]):
        (error,) = errors_of(json.dumps({"context": context}).encode())
        assert error["type"] in ("too_long", "string_too_long")
    assert counted["model_validate"] == counted["normal"] == 0


@pytest.mark.parametrize("text", ["x" * 51, "a\0b", ""])
@pytest.mark.parametrize("objects", [True, False])
def test_at_most_twenty_errors_are_built(counted, text, objects):
    settings = Settings(checkpoint="none", max_context=200, max_text_chars=50)
    turn = {"speaker": "A", "text": text} if objects else text
    found = errors_of(json.dumps({"context": [turn] * 200}).encode(), settings)
    assert [error["loc"] for error in found] == [("body", "context", position, "text") for position in range(20)]
    assert counted["normal"] <= 40  # the speakers of 20 turns, twice


def test_validation_goes_on_after_valid_turns_and_gives_the_position_in_the_whole_list():
    settings = Settings(checkpoint="none")
    turns = [{"speaker": "A", "text": "hi"}] * 90
    turns[57] = {"speaker": "A", "text": " "}
    (error,) = errors_of(json.dumps({"context": turns}).encode(), settings)
    assert error["loc"] == ("body", "context", 57, "text")
    assert (
        len(
            read_request(
                json.dumps({"context": turns[:57]}).encode(), "application/json", settings, RespondRequest
            ).context
        )
        == 57
    )


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("text", ["\U0001f600" * 50, "[{,]}" * 10, '"\\' * 25, "\n" * 49 + "a"])
def test_the_largest_request_within_the_limits_is_read(text, escaped):
    speakers = {f"{number:02}" + '"' * 198: {"sex": "female", "age": 41, "education": 2} for number in range(20)}
    content = {
        "context": [{"speaker": '"' * 200, "text": text}] * 5,
        "topic": "{" * 1000,
        "respond_as": "," * 200,
        "speakers": speakers,
        "seed": 2**63 - 1,
    }
    body = json.dumps(content, ensure_ascii=escaped, indent=2).encode()
    assert len(body) <= MOST
    assert read_request(body, "application/json", SETTINGS, RespondRequest).context[4].text == text


def test_a_long_row_of_combining_marks_is_not_normalised(monkeypatch):
    calls = []
    monkeypatch.setattr(limits.unicodedata, "normalize", lambda form, text: calls.append(text) or text)
    marks = "e" + "\u0301\u0316" * 40
    assert limits.normal(marks) == marks
    assert limits.folded(marks) == marks
    assert set(calls) == {"e", ""}


def test_the_event_loop_reads_checks_and_writes_nothing_itself(serve, stub, monkeypatch):
    threads: dict[str, set[str]] = {}

    def watch(where, name):
        real = getattr(where, name)

        def watched(*args, **kwargs):
            threads.setdefault(name, set()).add(threading.current_thread().name)
            return real(*args, **kwargs)

        monkeypatch.setattr(where, name, watched)

    watch(routes, "read_request")
    watch(routes, "_encoded")
    watch(request_body, "_validated")
    watch(Service, "question")
    watch(RespondRequest, "conversation")
    watch(problems.json, "loads")
    client = serve(stub, log_text=True)
    assert client.post("/respond", json={"context": ["hi"], "topic": "pets"}).status_code == 200
    assert client.post("/respond", json={"context": ["hi"], "topic": "no such topic"}).status_code == 422
    assert set(threads) == {"read_request", "_encoded", "_validated", "question", "conversation", "loads"}
    for name, found in threads.items():
        here = {threading.current_thread().name} if name == "loads" else set()  # the test parses nothing elsewhere
        assert all(thread.startswith("requests") for thread in found - here), (name, found)


def test_texts_are_logged_outside_the_event_loop(serve, stub, monkeypatch):
    threads = []

    monkeypatch.setattr(
        logs, "event", lambda message, *_, **fields: threads.append((message, threading.current_thread().name))
    )
    client = serve(stub, log_text=True)
    client.post("/respond", json={"context": ["hi"]})
    assert dict(threads)["request"].startswith("requests")


def test_topics_and_document_are_encoded_once(serve, make_stub, monkeypatch):
    client = serve(make_stub(topics=tuple(f"topic {number}" for number in range(3000))))
    first = client.get("/topics"), client.get("/openapi.json")
    assert len(first[0].json()["topics"]) == 3000
    monkeypatch.setattr(json, "dumps", None)
    monkeypatch.setattr(Topics, "__init__", None)
    again = client.get("/topics"), client.get("/openapi.json")
    assert [each.content for each in again] == [each.content for each in first]


def test_the_spellings_of_topics_are_computed_once(monkeypatch):
    topics = tuple(f"topic {number}" for number in range(3000))
    assert limits.find_name("TOPIC 2999", topics) == "topic 2999"
    folded = []
    monkeypatch.setattr(limits, "folded", lambda name, real=limits.folded: folded.append(name) or real(name))
    monkeypatch.setattr(limits.difflib, "get_close_matches", None)  # not called for so many
    with pytest.raises(limits.UnknownTopicError, match=r"3000 known topics.*'topic 0'"):
        limits.known_topic("x" * 1000, topics)
    assert folded == ["x" * 1000]
