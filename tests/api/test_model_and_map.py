"""Diversity, the latent map, GET /model, and the page."""

from __future__ import annotations

import json

import pytest

from api import routes
from dialog_cvae.config import Decoding
from dialog_cvae.data.reply_index import ReplyIndex
from dialog_cvae.generate.decoding import decoding_for
from dialog_cvae.types import Conversation, Utterance

JSON = {"Content-Type": "application/json"}


def test_diversity_sets_the_decoding_options(client, stub):
    client.post("/respond", json={"context": ["hi"], "diversity": 0.25, "max_tokens": 7})
    ((_, asked),) = stub.calls
    assert asked["decoding"] == decoding_for(0.25, Decoding(max_tokens=7))


def test_options_of_a_request_override_the_default_diversity(serve, stub):
    client = serve(stub, diversity=0.5)
    for change in ({}, {"diversity": 1}, {"temperature": 0.3}, {"top_p": 0.5}):
        client.post("/respond", json={"context": ["hi"]} | change)
    expected = [decoding_for(0.5, Decoding()), decoding_for(1, Decoding()), Decoding(0.3), Decoding(top_p=0.5)]
    assert [asked["decoding"] for _, asked in stub.calls] == expected


def test_top_p_and_candidates_of_the_server_apply_at_every_diversity(serve, stub):
    client = serve(stub, top_p=0.7, candidates=48, temperature=2.0)
    client.post("/respond", json={"context": ["hi"], "diversity": 0.5})
    ((_, asked),) = stub.calls
    assert asked["decoding"] == decoding_for(0.5, Decoding(top_p=0.7, candidates=48))


@pytest.mark.parametrize("given", [{"temperature": 0.5}, {"top_p": 0.9}, {"temperature": 0, "top_p": 1}])
def test_diversity_together_with_an_option_it_sets_is_refused_naming_both(client, stub, given):
    answer = client.post("/respond", json={"context": ["hi"], "diversity": 0.5} | given)
    assert answer.status_code == 422
    messages = str(answer.json())
    assert "diversity" in messages
    assert [field for field in given if field not in messages] == []
    assert stub.calls == []


def test_places_are_returned_only_with_map(client, stub):
    plain = client.post("/respond", json={"context": ["hi"], "map": False, "seed": 1}).json()
    mapped = client.post("/respond", json={"context": ["hi"], "map": True, "seed": 1}).json()
    assert all(set(each) == {"text", "log_prob", "source", "finish_reason"} for each in plain["responses"])
    assert [each["place"] for each in mapped["responses"]] == [[i / 4, -1.0] for i in range(5)]
    assert [asked.get("places") for _, asked in stub.calls] == [None, True]


def test_a_place_on_the_map_gives_one_response_by_default(client, stub):
    answer = client.post("/respond", json={"context": ["hi"], "at": [6, -0.5]}).json()
    assert [each["place"] for each in answer["responses"]] == [[6.0, -0.5]]
    assert (
        len(client.post("/respond", json={"context": ["hi"], "at": [0, 0], "num_responses": 3}).json()["responses"])
        == 3
    )
    assert [(asked["at"], asked["n"]) for _, asked in stub.calls] == [((6.0, -0.5), 1), ((0.0, 0.0), 3)]


@pytest.mark.parametrize(
    "change",
    [
        {"at": [0]},
        {"at": [0, 0, 0]},
        {"at": [0, 6.01]},
        {"at": [float("nan"), 0]},
        {"at": [float("-inf"), 0]},
        {"at": "0,0"},
        {"at": ["0", 0]},
        {"at": [True, 0]},
        {"map": 1},
        {"map": "yes"},
        {"diversity": -0.01},
        {"diversity": 1.01},
        {"diversity": float("nan")},
        {"diversity": "high"},
        {"diversity": True},
    ],
)
def test_invalid_places_and_diversities_are_refused(client, stub, change):
    answer = client.post("/respond", content=json.dumps({"context": ["hi"]} | change), headers=JSON)
    assert answer.status_code == 422
    assert next(iter(change)) in str(answer.json())
    assert stub.calls == []


def test_get_model_shows_limits_and_defaults(serve, make_stub):
    client = serve(make_stub(), max_responses=3, max_context=7, max_text_chars=99, max_tokens=12, temperature=0.5)
    card = client.get("/model").json()
    assert card.pop("version")
    assert card == {
        "name": "stub",
        "models": ["stub"],
        "checkpoint": "stub",
        "licence": "CC BY 4.0",
        "topics": 3,
        "free_topic": False,
        "respond_as": [],
        "index": None,
        "engine": "onnx",
        "limits": {"num_responses": 3, "context": 7, "text_chars": 99, "tokens": 12},
        "defaults": {
            "num_responses": 3,
            "diversity": None,
            "nearest_diversity": 0.625,
            "temperature": 0.5,
            "top_p": 1.0,
            "max_tokens": 12,
            "prior_temperature": 1.0,
            "candidates": 0,
            "candidates_from": "model",
            "min_score": None,
        },
    }


@pytest.fixture
def page(tmp_path, monkeypatch):
    (tmp_path / "index.html").write_text("<title>Try it</title>")
    (tmp_path / "app.js").write_text("1")
    monkeypatch.setattr(routes, "PAGE", tmp_path)


@pytest.mark.usefixtures("page")
def test_the_page_and_its_parts_are_served(serve, stub):
    client = serve(stub)
    assert client.get("/").text == "<title>Try it</title>"
    assert client.get("/page/app.js").text == "1"
    assert client.get("/page/nothing.js").status_code == 404
    assert client.get("/page/../app.py").status_code == 404
    assert client.get("/page/%2e%2e/app.py").status_code == 404
    assert client.get("/topics").status_code == 200


@pytest.mark.usefixtures("page")
def test_security_headers_forbid_other_hosts(serve, stub):
    client = serve(stub)
    for answer in (client.get("/"), client.get("/page/app.js")):
        assert answer.headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
    missing = client.get("/page/nothing.js")
    assert missing.json()["type"] == "/problems/not-found"
    other_method = client.post("/page/app.js")
    assert (other_method.status_code, other_method.headers["allow"]) == (405, "GET, HEAD")
    head = client.head("/page/app.js")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "1")


@pytest.mark.usefixtures("page")
def test_without_the_page_the_root_redirects_to_the_documentation(serve, stub):
    client = serve(stub, page=False)
    assert client.get("/", follow_redirects=False).headers["location"] == "docs"
    assert client.get("/page/app.js").status_code == 404


INDEX = ReplyIndex.of(
    [Conversation(name, (Utterance("A", f"hi {name}"), Utterance("B", "hello there"))) for name in ("Ann", "Bob")]
)


def test_the_source_of_candidates_is_the_requests_and_get_model_says_what_there_is(serve, stub):
    stub.index = INDEX
    client = serve(stub)
    for source in ("corpus", "both", "model", None):
        client.post("/respond", json={"context": ["hi"], "candidates_from": source})
    assert [asked["decoding"].candidates_from for _, asked in stub.calls] == ["corpus", "both", "model", "model"]
    model = client.get("/model").json()
    assert model["index"] == {"replies": 1, "min_conversations": 2}
    assert model["defaults"]["candidates_from"] == "model"


def test_a_place_on_the_map_is_the_models_whatever_the_default(serve, stub):
    stub.index, stub.decoding = INDEX, Decoding(candidates_from="both")
    client = serve(stub)
    client.post("/respond", json={"context": ["hi"], "at": [0, 0]})
    client.post("/respond", json={"context": ["hi"]})
    assert [asked["decoding"].candidates_from for _, asked in stub.calls] == ["model", "both"]
    refused = client.post("/respond", json={"context": ["hi"], "at": [0, 0], "candidates_from": "both"})
    assert refused.status_code == 422
    assert "together with at" in refused.json()["errors"][0]["msg"]


@pytest.mark.parametrize("source", ["corpus", "both"])
def test_a_model_without_an_index_refuses_candidates_of_the_corpus(client, stub, source):
    answer = client.post("/respond", json={"context": ["hi"], "candidates_from": source})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["loc"] == ["body", "candidates_from"]
    assert f"this model has no index of responses, got {source}" in error["msg"]
    assert stub.calls == []
    assert client.get("/model").json()["index"] is None
