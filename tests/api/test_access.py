"""API keys, and pages of other origins."""

from __future__ import annotations

import pytest

from api.api_keys import read_keys
from api.settings import Settings
from dialog_cvae.errors import ConfigError

KEY, OTHER = "first-key-0123456789", "second-key-987654321"
GOOD = {"context": ["hi"]}


@pytest.fixture
def guarded(serve, stub):
    return serve(stub, api_keys=f"{KEY}, {OTHER}")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer  {OTHER} "},
        {"X-API-Key": OTHER},
        {"X-API-Key": KEY, "Authorization": f"Bearer {OTHER}"},
        {"X-API-Key": KEY, "Authorization": "Basic dXNlcjpwYXNz"},
    ],
)
def test_a_key_opens(guarded, headers):
    assert guarded.post("/respond", json=GOOD, headers=headers).status_code == 200
    assert guarded.get("/topics", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Bearer {KEY.upper()}"},
        {"Authorization": f"Bearer {KEY},{OTHER}"},
        {"X-API-Key": ""},
        {"X-API-Key": f"Bearer {KEY}"},
        {"X-API-Key": b"\xff" * 20},
        {"X-API-Key": KEY, "Authorization": "Bearer wrong"},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {KEY}"},
        {"X-API-Key": KEY, "Authorization": ""},
    ],
)
@pytest.mark.parametrize("path", ["/respond", "/topics", "/model", "/nothing", "/health/other", "//metrics"])
def test_without_a_right_key_nothing_is_told(guarded, stub, path, headers):
    answer = guarded.request("POST" if path == "/respond" else "GET", f"http://testserver{path}", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/unauthorised"
    assert stub.calls == []
    assert KEY not in answer.text


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/openapi.json", "/health/live", "/health/ready", "/metrics", "/page/nothing.js"]
)
def test_what_needs_no_key(guarded, path):
    assert guarded.get(path, follow_redirects=False).status_code in (200, 307, 404)


@pytest.mark.parametrize(("setting", "without", "with_key"), [("on", 200, 200), ("key", 401, 200), ("off", 401, 404)])
def test_metrics_are_for_everybody_or_for_keys_or_off(serve, stub, setting, without, with_key):
    client = serve(stub, api_keys=KEY, metrics=setting)
    assert client.get("/metrics").status_code == without
    assert client.get("/metrics", headers={"X-API-Key": KEY}).status_code == with_key


def test_below_a_prefix_the_same_is_open(stub):
    from fastapi.testclient import TestClient

    from api.app import create_app

    app = create_app(lambda _: stub, lambda: Settings(checkpoint="none", api_keys=KEY))
    with TestClient(app, root_path="/model-a") as client:
        assert client.get("/model-a/health/live").status_code == 200
        assert client.get("/model-a/topics").status_code == 401
        assert client.get("/model-a/topics", headers={"X-API-Key": KEY}).status_code == 200


def test_keys_are_read_from_a_file(tmp_path, serve, stub):
    file = tmp_path / "keys"
    file.write_text(f"\ufeff{KEY}\r\n\n  {OTHER}  \n", encoding="utf-8")
    client = serve(stub, api_keys_file=file)
    for key in (KEY, OTHER):
        assert client.get("/topics", headers={"X-API-Key": key}).status_code == 200
    assert client.get("/topics", headers={"X-API-Key": ""}).status_code == 401


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "contains no key"),
        (b" \n\n", "contains no key"),
        (f"{KEY}\nshort".encode(), "key 2 must have 16 to 256 characters, but has 5"),
        (b"x" * 257, "has 257"),
        (b"two words in one key", "key 1 must consist of visible ASCII"),
        ("schlüssel-schlüssel".encode(), "visible ASCII"),
        (b"\xff\xfe" * 20, "not UTF-8"),
    ],
)
def test_a_useless_file_of_keys_is_refused_without_telling_any(tmp_path, content, words):
    file = tmp_path / "keys"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as error:
        read_keys(Settings(checkpoint="none", api_keys_file=file))
    assert "DIALOG_CVAE_API_KEYS_FILE" in str(error.value)
    assert KEY not in str(error.value)
    assert "short" not in str(error.value)


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_of_keys_that_is_none_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="can't be read"):
        read_keys(Settings(checkpoint="none", api_keys_file=tmp_path / name))


ORIGIN = "https://shop.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type,x-api-key",
}


def test_pages_of_named_origins_may_ask(serve, stub):
    client = serve(stub, cors_origins=f"https://other.example, {ORIGIN}", api_keys=KEY)
    preflight = client.options("/respond", headers=PREFLIGHT)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    refused = client.post("/respond", json=GOOD, headers={"Origin": ORIGIN})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, ORIGIN)
    answer = client.post("/respond", json=GOOD, headers={"Origin": ORIGIN, "X-API-Key": KEY})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "X-Request-ID" in answer.headers["access-control-expose-headers"]


def test_pages_of_other_origins_may_not(serve, stub):
    client = serve(stub, cors_origins=ORIGIN)
    stranger = {"Origin": "https://evil.example"}
    refused = client.options("/respond", headers=PREFLIGHT | stranger)
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
    assert refused.json()["type"] == "/problems/origin-refused"
    assert "access-control-allow-origin" not in refused.headers
    other_method = client.options("/respond", headers=PREFLIGHT | {"Access-Control-Request-Method": "DELETE"})
    assert other_method.json()["type"] == "/problems/origin-refused"
    assert "access-control-allow-origin" not in client.get("/topics", headers=stranger).headers


def test_pages_may_read_of_our_faults_too(serve, make_stub):
    class Faulty(make_stub):
        def respond(self, conversation, **asked):
            if conversation.id == "request":
                raise RuntimeError
            return super().respond(conversation, **asked)

    answer = serve(Faulty(), cors_origins="*").post("/respond", json=GOOD, headers={"Origin": ORIGIN})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (500, "*")
    assert answer.json()["type"] == "/problems/internal-error"


def test_without_the_setting_no_page_may(client):
    assert client.options("/respond", headers=PREFLIGHT).status_code == 405
    assert "access-control-allow-origin" not in client.get("/topics", headers={"Origin": ORIGIN}).headers


def test_the_document_tells_which_routes_need_a_key(guarded, client):
    paths = guarded.get("/openapi.json").json()
    assert set(paths["components"]["securitySchemes"]) == {"bearer", "header"}
    secured = {path for path, item in paths["paths"].items() for each in item.values() if "security" in each}
    assert secured == {"/respond", "/topics", "/model"}
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]
