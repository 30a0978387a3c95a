"""Startup, health, timeouts and settings."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import create_app, load_responder
from api.settings import Settings, read_settings
from dialog_cvae.config import Decoding
from dialog_cvae.data.reply_index import ReplyIndex
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.errors import CheckpointError, ConfigError
from dialog_cvae.generate.opening import dialog_codec
from dialog_cvae.generate.responder import Responder
from dialog_cvae.model.build import build_model
from dialog_cvae.types import Conversation, Utterance
from tests.conftest import WORDS


def test_health_and_topics(client):
    assert client.get("/health/live").json() == {"status": "live", "model": "stub", "licence": "CC BY 4.0"}
    assert client.get("/health/ready").json() == {"status": "ready"}
    assert client.get("/topics").json() == {"topics": ["MUSIC", "PETS", "Air Pollution"]}
    assert "swagger" in client.get("/docs").text


def test_before_the_model_is_loaded_only_the_process_is_healthy(stub):
    client = TestClient(create_app(lambda _: stub, lambda: Settings(checkpoint="none")))  # not started
    assert client.get("/health/live").status_code == 200
    for answer in (
        client.get("/health/ready"),
        client.get("/topics"),
        client.post("/respond", json={"context": ["hi"]}),
    ):
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "/problems/not-loaded"
        assert answer.json()["detail"] == "the model is not loaded yet"
        assert answer.headers["retry-after"] == "1"


def test_health_answers_while_the_model_works_and_a_full_queue_gets_503(serve, stub):
    client = serve(stub, max_waiting=1)
    stub.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(client.post, "/respond", json={"context": ["hi"]})
        try:
            assert stub.entered.wait(10)
            refused = client.post("/respond", json={"context": ["hi"]})
            assert refused.status_code == 503
            assert "at most 1 request" in refused.json()["detail"]
            assert refused.headers["retry-after"] == "1"
            assert client.get("/health/live").status_code == 200
            assert client.get("/health/ready").status_code == 200
        finally:
            stub.gate.set()
        assert working.result().status_code == 200


def test_an_answer_that_takes_too_long_gets_503(serve, stub):
    client = serve(stub, timeout_s=0.05)
    stub.gate.clear()
    try:
        late = client.post("/respond", json={"context": ["hi"]})
    finally:
        stub.gate.set()
    assert late.status_code == 503
    assert "0.05 seconds" in late.json()["detail"]


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("DIALOG_CVAE_CHECKPOINT", "some/folder")
    monkeypatch.setenv("DIALOG_CVAE_MAX_RESPONSES", "3")
    monkeypatch.setenv("DIALOG_CVAE_TEMPERATURE", "")
    settings = read_settings()
    assert (settings.checkpoint, settings.max_responses, settings.temperature) == (Path("some/folder"), 3, None)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CHECKPOINT", "", "is not set"),
        ("MAX_RESPONSES", "many", "integer"),
        ("MAX_RESPONSES", "0", "greater than or equal to 1"),
        ("MAX_RESPONSES", "257", "less than or equal to 256"),
        ("TEMPERATURE", "nan", "finite"),
        ("TEMPERATURE", "0.001", "at least 0.01"),
        ("TOP_P", "2", "less than or equal to 1"),
        ("DEVICE", "gpu", "pattern"),
        ("TIMEOUT_S", "-1", "greater than 0"),
        ("BODY_TIMEOUT_S", "0", "greater than 0"),
        ("ENGINE", "tensorflow", "'onnx'"),
        ("DIVERSITY", "1.5", "less than or equal to 1"),
        ("CORS_ORIGINS", "https://example.org/", "without a path"),
        ("CORS_ORIGINS", "example.org", "without a path"),
        ("CORS_ORIGINS", "*,https://example.org", "* alone"),
        ("METRICS", "maybe", "'key'"),
        ("LOG_FORMAT", "xml", "'json'"),
        ("PAGE", "maybe", "boolean"),
    ],
)
def test_an_invalid_setting_is_one_line_that_names_variable_and_value(monkeypatch, name, value, words):
    monkeypatch.setenv("DIALOG_CVAE_CHECKPOINT", "x")
    monkeypatch.setenv(f"DIALOG_CVAE_{name}", value)
    with pytest.raises(ConfigError) as error:
        read_settings()
    message = str(error.value)
    assert f"DIALOG_CVAE_{name}" in message
    assert words in message
    assert value in message
    assert "Value error" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("DIVERSITY", "0.5"), ("TEMPERATURE", "1")),
        (("DIVERSITY", "0.5"), ("CANDIDATES", "0")),
        (("API_KEYS", "my-secret-key-0123"), ("API_KEYS_FILE", "keys")),
        (("DEVICE", "cuda"), ("ENGINE", "onnx-int8")),
    ],
)
def test_settings_that_contradict_each_other_are_named_in_one_line(monkeypatch, first, second):
    monkeypatch.setenv("DIALOG_CVAE_CHECKPOINT", "x")
    for name, value in (first, second):
        monkeypatch.setenv(f"DIALOG_CVAE_{name}", value)
    with pytest.raises(ConfigError) as error:
        read_settings()
    message = str(error.value)
    assert f"DIALOG_CVAE_{first[0]}" in message
    assert f"DIALOG_CVAE_{second[0]}" in message
    assert "secret" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("METRICS", " Off ", "off"),
        ("METRICS", "1", "on"),
        ("PAGE", "off", False),
        ("LOG_TEXT", "on", True),
        ("CORS_ORIGINS", "https://a.example, http://localhost:3000", ("https://a.example", "http://localhost:3000")),
        ("CORS_ORIGINS", "https://a.example:443,http://[::1]:80", ("https://a.example", "http://[::1]")),
        ("CORS_ORIGINS", "https://a.example:80,http://b:443", ("https://a.example:80", "http://b:443")),
        ("CORS_ORIGINS", "*", ("*",)),
        ("CORS_ORIGINS", "", ()),
    ],
)
def test_forms_in_which_settings_can_be_written(monkeypatch, name, value, read):
    monkeypatch.setenv("DIALOG_CVAE_CHECKPOINT", "x")
    monkeypatch.setenv(f"DIALOG_CVAE_{name}", value)
    assert getattr(read_settings(), name.lower()) == read


@pytest.mark.parametrize(("device", "engine"), [("cpu", "onnx"), ("cuda:1", "torch"), ("mps", "torch")])
def test_the_engine_follows_the_device(device, engine):
    assert Settings(checkpoint="x", device=device).engine_name == engine


def test_a_model_that_gives_no_reply_is_not_ready(serve, make_stub):
    class Silent(make_stub):
        def respond(self, *_args, **_kwargs):
            return []

    with pytest.raises(ConfigError, match="gave no reply"):
        serve(Silent())


@pytest.fixture
def corpus_only(tiny_checkpoint):
    """A model that answers with people's replies alone, none of them to the first conversation."""
    made = Responder(
        TorchEngine(build_model(tiny_checkpoint)), dialog_codec(tiny_checkpoint), tiny_checkpoint.config, "tiny"
    )
    made.index = ReplyIndex.of(
        Conversation(name, (Utterance("A", "wie spät ist es"), Utterance("B", "we like cats"), Utterance("A", said)))
        for name, said in (("1", "danke"), ("2", "gut"))
    )
    made.decoding = Decoding(1.0, max_tokens=8, candidates=4, candidates_from="corpus")
    return made


def warning(capfd):
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "no reply to a first conversation" in line]
    assert " WARNING " in line
    return line


def test_an_index_without_a_reply_to_the_first_conversation_is_served(serve, corpus_only, capfd):
    client = serve(corpus_only)
    asked = {"context": ["hello", "hi", "wie spät ist es"], "respond_as": "B"}
    assert [each["text"] for each in client.post("/respond", json=asked).json()["responses"]] == ["we like cats"]
    assert "the index has none that may be returned" in warning(capfd)


def test_a_word_filter_that_refuses_the_first_replies_is_served(serve, corpus_only, tmp_path, capfd):
    (tmp_path / "words").write_text("\n".join(WORDS))
    serve(corpus_only, blocked_words=tmp_path / "words")
    assert "the word filter or the guard refused all" in warning(capfd)
    assert not corpus_only.accepts("cats")


def start(**env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DIALOG_CVAE_")}
    command = [sys.executable, "-m", "uvicorn", "api.app:app", "--port", "0"]
    return subprocess.run(
        command, env=clean | env, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_server_that_cannot_start_prints_one_line_and_ends(tmp_path):
    missing = start()
    assert missing.returncode != 0
    assert "error: DIALOG_CVAE_CHECKPOINT is not set" in missing.stderr
    assert "Traceback" not in missing.stderr
    broken = start(DIALOG_CVAE_CHECKPOINT=str(tmp_path / "nothing"))
    assert broken.returncode != 0
    assert str(tmp_path / "nothing") in broken.stderr
    assert "Traceback" not in broken.stderr


def test_a_missing_checkpoint_and_a_missing_device_have_different_errors(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="nothing"):
        load_responder(Settings(checkpoint=tmp_path / "nothing"))

    def no_driver(*_args, **_kwargs):
        raise RuntimeError("Found no NVIDIA driver\nand a page of advice")

    monkeypatch.setattr("dialog_cvae.generate.responder.Responder.load", no_driver)
    with pytest.raises(ConfigError, match=r"^DIALOG_CVAE_DEVICE: cuda can't be used: Found no NVIDIA driver$"):
        load_responder(Settings(checkpoint=tmp_path, device="cuda"))


def test_importing_the_application_loads_no_framework():
    code = "import sys, api.app; api.app.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
