"""API keys: which paths need one, where they are sent, and where they are read from."""

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
def test_a_valid_key_is_accepted(guarded, headers):
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
def test_without_a_valid_key_the_answer_is_401(guarded, stub, path, headers):
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
def test_these_paths_need_no_key(guarded, path):
    assert guarded.get(path, follow_redirects=False).status_code in (200, 307, 404)


@pytest.mark.parametrize(("setting", "without", "with_key"), [("on", 200, 200), ("key", 401, 200), ("off", 401, 404)])
def test_metrics_are_open_or_need_a_key_or_are_off(serve, stub, setting, without, with_key):
    client = serve(stub, api_keys=KEY, metrics=setting)
    assert client.get("/metrics").status_code == without
    assert client.get("/metrics", headers={"X-API-Key": KEY}).status_code == with_key


def test_open_paths_are_the_same_below_a_prefix(stub):
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
def test_an_invalid_file_of_keys_is_refused_without_showing_keys(tmp_path, content, words):
    file = tmp_path / "keys"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as error:
        read_keys(Settings(checkpoint="none", api_keys_file=file))
    assert "DIALOG_CVAE_API_KEYS_FILE" in str(error.value)
    assert KEY not in str(error.value)
    assert "short" not in str(error.value)


@pytest.mark.parametrize("name", ["missing", "."])
def test_an_unreadable_file_of_keys_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="can't be read"):
        read_keys(Settings(checkpoint="none", api_keys_file=tmp_path / name))


def test_the_document_says_which_routes_need_a_key(guarded, client):
    paths = guarded.get("/openapi.json").json()
    assert set(paths["components"]["securitySchemes"]) == {"bearer", "header"}
    secured = {path for path, item in paths["paths"].items() for each in item.values() if "security" in each}
    assert secured == {"/respond", "/respond/batch", "/feedback", "/admin/reload", "/topics", "/model"}
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]


def test_the_public_document_has_no_topic_and_no_name_of_a_model(guarded, serve, stub):
    def request(client):
        return client.get("/openapi.json").json()["components"]["schemas"]["RespondRequest"]["properties"]

    for field, kept in (("topic", "PETS"), ("model", "stub")):
        assert kept not in str(request(guarded)[field])
        assert kept in str(request(serve(stub))[field])
