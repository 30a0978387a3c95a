"""CORS: pages of allowed origins may call the service, others may not."""

from __future__ import annotations

KEY = "first-key-0123456789"
GOOD = {"context": ["hi"]}
ORIGIN = "https://shop.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type,x-api-key",
}


def test_pages_of_allowed_origins_may_send_requests(serve, stub):
    client = serve(stub, cors_origins=f"https://other.example, {ORIGIN}", api_keys=KEY)
    preflight = client.options("/respond", headers=PREFLIGHT)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    refused = client.post("/respond", json=GOOD, headers={"Origin": ORIGIN})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, ORIGIN)
    answer = client.post("/respond", json=GOOD, headers={"Origin": ORIGIN, "X-API-Key": KEY})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "X-Request-ID" in answer.headers["access-control-expose-headers"]


def test_pages_of_other_origins_are_refused(serve, stub):
    client = serve(stub, cors_origins=ORIGIN)
    stranger = {"Origin": "https://evil.example"}
    refused = client.options("/respond", headers=PREFLIGHT | stranger)
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
    assert refused.json()["type"] == "/problems/origin-refused"
    assert "access-control-allow-origin" not in refused.headers
    other_method = client.options("/respond", headers=PREFLIGHT | {"Access-Control-Request-Method": "DELETE"})
    assert other_method.json()["type"] == "/problems/origin-refused"
    assert "access-control-allow-origin" not in client.get("/topics", headers=stranger).headers


def test_internal_errors_have_cors_headers_too(serve, make_stub):
    class Faulty(make_stub):
        def respond(self, conversation, **asked):
            if conversation.id == "request":
                raise RuntimeError
            return super().respond(conversation, **asked)

    answer = serve(Faulty(), cors_origins="*").post("/respond", json=GOOD, headers={"Origin": ORIGIN})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (500, "*")
    assert answer.json()["type"] == "/problems/internal-error"


def test_without_the_setting_no_origin_is_allowed(client):
    assert client.options("/respond", headers=PREFLIGHT).status_code == 405
    assert "access-control-allow-origin" not in client.get("/topics", headers={"Origin": ORIGIN}).headers
