"""Every refusal and failure is a problem document with its request's id."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from api.body_limit import BodyLimit
from api.problems import KINDS, Refusal

GOOD = {"context": ["hi"]}
JSON = {"Content-Type": "application/json"}


def problem(answer, status: int, kind: str) -> dict[str, object]:
    """The document, after checks of RFC 9457 and of this service's own rules."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    content = answer.json()
    assert content["type"] == f"/problems/{kind}"
    assert content["title"] == KINDS[kind].title
    assert content["status"] == status
    assert content["instance"] == f"urn:dialog-cvae:request:{answer.headers['x-request-id']}"
    return content


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("POST", "/"),
        ("GET", "/respond/"),
        ("GET", "/health"),
        ("BREW", "/nothing"),
        ("OPTIONS", "/x" * 4000),
    ],
)
def test_an_unknown_path_gets_404(client, method, path):
    answer = client.request(method, path, follow_redirects=False)
    if path == "/":
        problem(answer, 405, "method-not-allowed")
    else:
        problem(answer, 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/respond", "POST"),
        ("DELETE", "/respond", "POST"),
        ("OPTIONS", "/respond", "POST"),
        ("TRACE", "/topics", "GET, HEAD"),
        ("BREW", "/health/live", "GET, HEAD"),
        ("PUT", "/metrics", "GET, HEAD"),
    ],
)
def test_a_wrong_method_gets_405_with_the_allowed_ones(client, method, path, allowed):
    answer = client.request(method, path)
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/topics", "/model", "/metrics", "/openapi.json"])
def test_head_is_get_without_the_body(client, path):
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_head_of_a_path_that_accepts_only_post(client):
    answer = client.head("/respond")
    assert (answer.status_code, answer.content, answer.headers["allow"]) == (405, b"", "POST")


@pytest.mark.parametrize("sent", ["a", "3f1c-0c4f", "A.b_c~d-9", "x" * 128])
def test_a_clients_request_id_is_kept(client, sent):
    answer = client.get("/topics", headers={"X-Request-ID": sent})
    assert answer.headers["x-request-id"] == sent
    assert problem(client.get("/no", headers={"X-Request-ID": sent}), 404, "not-found")


@pytest.mark.parametrize("sent", ["", " ", "x" * 129, "a b", "a\tb", 'a"b', "a%0ab", "\u00e9", "<script>", "a/b"])
def test_an_invalid_request_id_is_replaced(client, sent):
    named = client.get("/topics", headers={"X-Request-ID": sent.encode("latin-1")}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", named)


def test_two_request_ids_are_replaced(client):
    headers = [("X-Request-ID", "a"), ("X-Request-ID", "b")]
    assert len(client.get("/topics", headers=headers).headers["x-request-id"]) == 32


def test_an_internal_error_shows_its_id_and_nothing_else(serve, make_stub, capsys):
    class Faulty(make_stub):
        def respond(self, conversation, **asked):
            if conversation.id == "request":
                raise RuntimeError(f"/secret/path said {conversation.utterances[0].text}")
            return super().respond(conversation, **asked)

    answer = serve(Faulty()).post("/respond", json={"context": ["my password"]}, headers={"X-Request-ID": "r7"})
    content = problem(answer, 500, "internal-error")
    assert "r7" in content["detail"]
    assert "secret" not in answer.text
    logged = capsys.readouterr().err
    assert "RuntimeError" in logged
    assert "test_problems.py" in logged
    assert "password" not in logged
    assert re.search(r"failed request_id=r7\b", logged)
    assert re.search(r"request_id=r7 .*status=500", logged)


def test_an_internal_error_is_logged_with_its_message_if_text_may_be_logged(serve, make_stub, capsys):
    class Faulty(make_stub):
        def respond(self, conversation, **asked):
            if conversation.id == "request":
                raise RuntimeError(conversation.utterances[0].text)
            return super().respond(conversation, **asked)

    serve(Faulty(), log_text=True).post("/respond", json={"context": ["my password"]})
    assert "RuntimeError: my password" in capsys.readouterr().err


def test_a_body_with_a_content_length_above_the_limit_is_not_read(client):
    headers = JSON | {"Content-Length": "5374849"}
    answer = client.post("/respond", content=b"{}", headers=headers)
    content = problem(answer, 413, "body-too-large")
    assert "exceeds 5374848 bytes" in content["detail"]
    assert "5374849" in content["detail"]
    assert answer.headers["connection"] == "close"

    async def receive():
        raise AssertionError("the body is read")

    async def reads(_scope, receive, _send):
        await receive()

    scope = {"type": "http", "state": client.app_state, "headers": [(b"content-length", b"5374849")]}
    with pytest.raises(Refusal, match="Content-Length is 5374849"):
        asyncio.run(BodyLimit(reads)(scope, receive, receive))


def test_a_body_without_content_length_is_cut_off_at_the_limit(client):
    def endless():
        for _ in range(50):
            yield b" " * 1_000_000

    problem(client.post("/respond", content=endless(), headers=JSON), 413, "body-too-large")


@pytest.mark.parametrize("length", ["", "x", "-1", "1e3", "\u0661".encode().decode("latin-1")])
def test_an_invalid_content_length_is_ignored(client, length):
    headers = JSON | {"Content-Length": length.encode("latin-1")}
    assert client.post("/respond", content=json.dumps(GOOD), headers=headers).status_code == 200


def test_refusals_are_counted_by_reason(serve, stub):
    client = serve(stub, api_keys="k" * 16)
    key = {"X-API-Key": "k" * 16}
    client.post("/respond", json=GOOD)
    client.post("/respond", json={}, headers=key)
    client.post("/respond", json={}, headers=key)
    client.post("/respond", content=b"{}", headers=JSON | key | {"Content-Length": "5374849"})
    text = client.get("/metrics").text
    for reason, count in (("unauthorised", 1), ("invalid", 2), ("too_large", 1)):
        assert f'dialog_cvae_rejections_total{{reason="{reason}"}} {count}.0' in text


@pytest.mark.parametrize("kind", KINDS)
def test_the_type_of_a_problem_links_to_its_explanation(serve, stub, kind):
    answer = serve(stub, api_keys="k" * 16).get(f"/problems/{kind}")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith(KINDS[kind].title)
    assert KINDS[kind].meaning in answer.text


@pytest.mark.parametrize("kind", ["nothing", "queue-full/x", "", "%2e%2e%2ftopics"])
def test_an_unknown_kind_of_problem_gets_404(client, kind):
    problem(client.get(f"/problems/{kind}"), 404, "not-found")
