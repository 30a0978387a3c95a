"""Several requests at once: the same replies as alone, and each its own problem."""

from __future__ import annotations

from dialog_cvae.errors import ConfigError

BODIES = [
    {"context": ["do you have pets ?"], "seed": 3, "num_responses": 2},
    {"context": ["hi", "hello"], "seed": 4, "topic": "music", "map": True},
    {"context": ["hi"], "seed": 5, "temperature": 0.5},
]


def test_each_request_gets_the_response_that_it_gets_alone(client):
    answer = client.post("/respond/batch", json={"requests": BODIES})
    assert answer.status_code == 200
    alone = [client.post("/respond", json=body).json() for body in BODIES]
    assert answer.json() == {"results": [{"response": each} for each in alone]}


def test_a_real_models_replies_are_the_same_to_the_bit(endless_folder):
    from fastapi.testclient import TestClient

    from api.app import create_app
    from api.settings import Settings

    bodies = [
        {"context": ["hi"] * n, "seed": n, "temperature": 1, "num_responses": n, "max_tokens": 5} for n in (1, 2, 3)
    ]
    with TestClient(create_app(settings=lambda: Settings(checkpoint=endless_folder))) as client:
        together = client.post("/respond/batch", json={"requests": bodies}).json()["results"]
        assert [each["response"] for each in together] == [client.post("/respond", json=body).json() for body in bodies]


def test_each_request_has_its_own_problem(client):
    bodies = [
        {"context": []},
        BODIES[0],
        {"context": ["hi"], "topic": "cars"},
        {"context": ["hi"], "max_tokens": 41},
        {},
    ]
    results = client.post("/respond/batch", json={"requests": bodies}).json()["results"]
    assert list(results[1]) == ["response"]
    for place, words in (
        (0, "at least 1 item"),
        (2, "known topics"),
        (3, "at most 40"),
        (4, "context: Field required"),
    ):
        alone = client.post("/respond", json=bodies[place]).json()
        (found,) = results[place].values()
        assert words in found["detail"]
        assert found == {name: alone[name] for name in ("type", "title", "status", "detail", "errors")}


def test_a_request_that_the_model_refuses_has_the_problem_that_it_gets_alone(client, stub, monkeypatch):
    def refuse(_question):
        raise ConfigError("not this one")

    monkeypatch.setattr(stub, "check", refuse)
    (found,) = client.post("/respond/batch", json={"requests": BODIES[:1]}).json()["results"]
    alone = client.post("/respond", json=BODIES[0]).json()
    assert found["problem"]["errors"] == [{"loc": ["body"], "msg": "not this one", "type": "input_refused"}]
    assert found["problem"] == {name: alone[name] for name in ("type", "title", "status", "detail", "errors")}


def test_requests_beyond_the_queues_places_get_a_503_of_their_own(serve, stub):
    client = serve(stub, max_waiting=2, timeout_s=0.2)
    stub.gate.clear()
    results = client.post("/respond/batch", json={"requests": BODIES}).json()["results"]
    stub.gate.set()
    problems = [each["problem"] for each in results]
    kinds = ["answer-too-slow", "answer-too-slow", "queue-full"]
    assert [(each["status"], each["type"]) for each in problems] == [(503, f"/problems/{kind}") for kind in kinds]
    assert all(each["retry_after"] >= 1 for each in problems)


def test_a_batch_has_a_limit(serve, stub):
    client = serve(stub, max_batch=2)
    answer = client.post("/respond/batch", json={"requests": BODIES})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "requests: should have at most 2 requests, has 3"
    document = client.get("/openapi.json").json()
    assert document["components"]["schemas"]["BatchRequest"]["properties"]["requests"]["maxItems"] == 2


def test_a_batch_may_be_as_large_as_its_requests_together(serve, stub):
    client = serve(stub, max_batch=40, max_waiting=40)
    body = {"context": [{"speaker": "A", "text": "hi"}] * 200, "num_responses": 1}
    answer = client.post("/respond/batch", json={"requests": [body] * 40})
    assert answer.status_code == 200
    assert all("response" in each for each in answer.json()["results"])


def test_a_failure_of_the_model_is_that_requests_problem_alone(serve, stub, monkeypatch):
    client = serve(stub)
    real = stub.begin

    def begin(questions):
        if any(question.seed == 4 for question in questions):
            raise RuntimeError("broken")
        return real(questions)

    monkeypatch.setattr(stub, "begin", begin)
    first, second, third = client.post("/respond/batch", json={"requests": BODIES}).json()["results"]
    assert second["problem"]["status"] == 500
    assert "broken" not in second["problem"]["detail"]
    assert [list(each) for each in (first, third)] == [["response"]] * 2


def test_a_batch_of_long_conversations_is_read(client):
    turns = [{"speaker": "AB"[place % 2], "text": "hi"} for place in range(100)]
    answer = client.post("/respond/batch", json={"requests": [{"context": turns, "num_responses": 1}] * 16})
    assert [list(each) for each in answer.json()["results"]] == [["response"]] * 16
