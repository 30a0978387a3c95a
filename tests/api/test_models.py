"""Several checkpoints: their names, which of them answers, and what they share."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import api.client
from api import chat
from api.app import create_app
from api.checkpoints import join_checkpoints, parse_checkpoint, parse_checkpoints
from api.client_errors import ServiceError
from api.settings import Settings, read_settings
from dialog_cvae.errors import CheckpointError, ConfigError

ASKED = {"context": ["hi"], "seed": 1, "num_responses": 2}


@pytest.fixture
def stubs(make_stub: type) -> dict[str, Any]:
    """Models that say of themselves that they were fitted on x and y."""
    found = {"x": make_stub(), "y": make_stub(topics=("RAIN",))}
    for name, stub in found.items():
        stub.name = f"{name}, step 3"
        stub.respond = lambda conversation, each=stub, **asked: [
            replace(reply, text=f"{each.name}: {reply.text}")
            for reply in type(each).respond(each, conversation, **asked)
        ]
    return found


@pytest.fixture
def serve_several(stubs: dict[str, Any]) -> Iterator[Callable[..., TestClient]]:
    with ExitStack() as stack:

        def start(checkpoint: str = "first=x,y", **settings: Any) -> TestClient:
            app = create_app(
                lambda one: stubs[str(one.checkpoint)], lambda: Settings(checkpoint=checkpoint, **settings)
            )
            return stack.enter_context(TestClient(app))

        yield start


@pytest.fixture
def client(serve_several: Callable[..., TestClient]) -> TestClient:
    return serve_several()


@pytest.mark.parametrize(
    ("asked", "speaks", "name"),
    [
        ({}, "x", "first"),
        ({"model": None}, "x", "first"),
        ({"model": "first"}, "x", "first"),
        ({"model": "y"}, "y", "y"),
        ({"model": "x, step 3"}, "x", "first"),  # what it says of itself
        ({"model": "y, step 3"}, "y", "y"),
    ],
)
def test_a_request_chooses_the_model_by_name(client: TestClient, asked: dict[str, Any], speaks: str, name: str) -> None:
    answer = client.post("/respond", json=ASKED | asked).json()
    assert answer["model"] == name
    assert all(each["text"].startswith(f"{speaks}, step 3: ") for each in answer["responses"])
    batch = client.post("/respond/batch", json={"requests": [ASKED, ASKED | asked]}).json()["results"]
    assert [each["response"]["model"] for each in batch] == ["first", name]
    assert batch[1]["response"] == answer


def test_an_unknown_model_is_refused_with_the_names_of_all(client: TestClient) -> None:
    answer = client.post("/respond", json=ASKED | {"model": "z"})
    assert answer.status_code == 422
    message = 'model: should be one of first, y, got "z"'
    assert answer.json()["errors"] == [{"loc": ["body", "model"], "msg": message, "type": "unknown_model"}]
    first, second = client.post("/respond/batch", json={"requests": [ASKED | {"model": "z"}, ASKED]}).json()["results"]
    assert (first["problem"]["status"], first["problem"]["detail"]) == (422, message)
    assert second["response"]["model"] == "first"
    for path in ("/model", "/topics"):
        answer = client.get(path, params={"model": "z"})
        assert (answer.status_code, answer.json()["detail"]) == (404, message)
    answer = client.post("/v1/chat/completions", json={"model": "z", "messages": [{"role": "user", "content": "hi"}]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert client.get("/v1/models/z").status_code == 404
    assert client.post("/respond", json=ASKED | {"model": 7}).status_code == 422


def test_each_model_is_described_and_the_default_comes_first(client: TestClient) -> None:
    about = client.get("/model").json()
    assert (about["name"], about["checkpoint"], about["models"]) == ("first", "x, step 3", ["first", "y"])
    about = client.get("/model", params={"model": "y"}).json()
    assert (about["name"], about["checkpoint"], about["models"]) == ("y", "y, step 3", ["first", "y"])
    assert client.get("/topics").json()["topics"] == ["MUSIC", "PETS", "Air Pollution"]
    assert client.get("/topics?model=y").json()["topics"] == ["RAIN"]
    assert client.get("/health/live").json()["model"] == "first"
    assert client.get("/health/ready").status_code == 200
    metrics = client.get("/metrics").text
    assert 'dialog_cvae_queue_depth{name="first"} 0.0' in metrics
    assert 'model="y, step 3",name="y"' in metrics


def test_openais_clients_choose_a_model_too(client: TestClient) -> None:
    assert [each["id"] for each in client.get("/v1/models").json()["data"]] == ["first", "y"]
    assert client.get("/v1/models/y").json()["id"] == "y"
    asked = {"model": "y", "messages": [{"role": "user", "content": "hi"}], "seed": 1}
    answer = client.post("/v1/chat/completions", json=asked).json()
    assert answer["model"] == "y"
    assert answer["choices"][0]["message"]["content"].startswith("y, step 3: ")


def test_the_python_client_and_the_chat_choose_a_model(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, transport = api.client.Client, client._transport
    with real("http://testserver", transport=transport) as found:
        assert (found.model("y").name, found.topics("y"), found.respond(["hi"], model="y").model) == (
            "y",
            ("RAIN",),
            "y",
        )
        assert found.respond(["hi"]).model == "first"
        with pytest.raises(ServiceError, match="model: should be one of first, y, got"):
            found.model("z z")
    monkeypatch.setattr(api.client, "Client", lambda url, api_key: real(url, api_key=api_key, transport=transport))
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n1\n"))
    assert chat.main(["http://testserver", "--model", "y", "-n", "1"]) == 0
    assert "y, step 3: " in capsys.readouterr().out
    assert chat.main(["--model", "y", "--checkpoint", "x"]) == 2
    assert "--model chooses one of a service's models" in capsys.readouterr().err


def test_the_openapi_document_lists_the_names(client: TestClient) -> None:
    fields = client.get("/openapi.json").json()["components"]["schemas"]["RespondRequest"]["properties"]
    assert fields["model"]["anyOf"][0]["enum"] == ["first", "y", "x, step 3", "y, step 3"]
    assert fields["topic"]["anyOf"][0]["enum"] == ["MUSIC", "PETS", "Air Pollution", "RAIN"]


def test_a_topic_is_one_of_the_chosen_model(client: TestClient) -> None:
    assert client.post("/respond", json=ASKED | {"model": "y", "topic": "rain"}).json()["topic"] == "RAIN"
    assert client.post("/respond", json=ASKED | {"topic": "rain"}).status_code == 422


def test_all_models_share_the_places_of_waiting_requests(
    serve_several: Callable[..., TestClient], stubs: dict[str, Any]
) -> None:
    client = serve_several(max_waiting=1)
    stubs["x"].gate.clear()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(client.post, "/respond", json=ASKED)
        try:
            assert stubs["x"].entered.wait(10)
            assert client.post("/respond", json=ASKED | {"model": "y"}).status_code == 503
        finally:
            stubs["x"].gate.set()
        assert working.result().status_code == 200
    assert client.post("/respond", json=ASKED | {"model": "y"}).status_code == 200


def test_one_checkpoint_keeps_its_name_and_its_folder_is_another(serve_several: Callable[..., TestClient]) -> None:
    client = serve_several("y")
    assert client.get("/model").json()["name"] == "y, step 3"
    for name in ("y", "y, step 3"):
        assert client.post("/respond", json=ASKED | {"model": name}).json()["model"] == "y, step 3"


def test_a_name_of_your_own_is_that_of_a_single_checkpoint_too(serve_several: Callable[..., TestClient]) -> None:
    assert serve_several("mine=y").post("/respond", json=ASKED).json()["model"] == "mine"


def test_if_one_checkpoint_is_broken_the_server_does_not_start(make_stub: type) -> None:
    def load(asked: Settings) -> Any:
        if str(asked.checkpoint) == "y":
            raise CheckpointError("y: broken")
        return make_stub()

    with (
        pytest.raises(CheckpointError, match="y: broken"),
        TestClient(create_app(load, lambda: Settings(checkpoint="x,y"))),
    ):
        pytest.fail("it started")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", [("a", "a", False)]),
        ("runs/a/best", [("best", "runs/a/best", False)]),
        ("a, b/c,", [("a", "a", False), ("c", "b/c", False)]),
        ("m=a,b", [("m", "a", True), ("b", "b", False)]),
        ("runs/lr=1/best", [("best", "runs/lr=1/best", False)]),
        ("m=runs/lr=1/best", [("m", "runs/lr=1/best", True)]),
    ],
)
def test_how_checkpoints_are_written(text: str, expected: list[tuple[str, str, bool]]) -> None:
    assert [(each.name, str(each.folder), each.given) for each in parse_checkpoints(text)] == expected
    assert parse_checkpoints(join_checkpoints(parse_checkpoints(text))) == parse_checkpoints(text)


def test_an_existing_folder_is_one_checkpoint_whatever_its_name(tmp_path: Path) -> None:
    for name in ("a,b", "lr=1"):
        (tmp_path / name).mkdir()
        (found,) = parse_checkpoints(str(tmp_path / name))
        assert found == (name, tmp_path / name, False)
        assert join_checkpoints([found]) == str(tmp_path / name)
    with pytest.raises(ValueError, match="can only be served alone"):
        join_checkpoints([parse_checkpoint(str(tmp_path / "a,b")), parse_checkpoint("c")])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("runs/a/best,runs/b/best", "runs/a/best and runs/b/best are both called 'best'; give them names of your own"),
        ("m=a,m=b", "a and b are both called 'm'"),
        ("m m=a", "'m m' must be a name of"),
        ("=a", "'' must be a name of"),
        ("m=", "m= must be followed by a folder"),
        (",", "names no folder"),
    ],
)
def test_checkpoints_that_cannot_be_told_apart_are_refused(
    monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.setenv("DIALOG_CVAE_CHECKPOINT", text)
    with pytest.raises(ConfigError, match=r"^DIALOG_CVAE_CHECKPOINT: ") as error:
        read_settings()
    assert words in str(error.value)
