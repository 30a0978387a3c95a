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


# What the `openai` package for JavaScript sends from a browser; the last two only for some calls.
JS_CLIENT = (
    "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-os,x-stainless-package-version,"
    "x-stainless-retry-count,x-stainless-runtime,x-stainless-runtime-version,x-stainless-timeout,"
    "openai-organization,openai-project,x-stainless-helper-method,x-stainless-poll-helper"
)


def test_openais_client_in_a_browser_may_send_its_headers(serve, stub):
    client = serve(stub, cors_origins=ORIGIN, api_keys=KEY)
    asked = PREFLIGHT | {"Access-Control-Request-Headers": JS_CLIENT}
    preflight = client.options("/v1/chat/completions", headers=asked)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, ORIGIN)
    allowed = {name.strip().lower() for name in preflight.headers["access-control-allow-headers"].split(",")}
    assert set(JS_CLIENT.split(",")) <= allowed
    sent = {name: "1" for name in JS_CLIENT.split(",") if name.startswith("x-")}
    body = {"model": "stub", "messages": [{"role": "user", "content": "hi"}]}
    for key, status in ((KEY, 200), ("wrong", 401)):
        headers = sent | {"Origin": ORIGIN, "Authorization": f"Bearer {key}"}
        answer = client.post("/v1/chat/completions", json=body, headers=headers)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)


def test_other_headers_and_origins_stay_refused(serve, stub):
    client = serve(stub, cors_origins=ORIGIN)
    for names in (
        f"{JS_CLIENT},x-other",
        "x-stainless-",
        "x-stainless-a b",
        f"x-stainless-{'a' * 65}",
        "x-stainless-\u00e9",
    ):
        asked = PREFLIGHT | {"Access-Control-Request-Headers": names.encode("latin-1")}
        assert client.options("/respond", headers=asked).status_code == 400
    stranger = PREFLIGHT | {"Origin": "https://evil.example", "Access-Control-Request-Headers": "x-stainless-os"}
    refused = client.options("/respond", headers=stranger)
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    alone = client.options("/respond", headers=PREFLIGHT | {"Access-Control-Request-Headers": "X-Stainless-OS"})
    assert alone.status_code == 200
