"""The same conversation gets the same replies from Python and over HTTP, however it is spelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dialog_cvae.config import Decoding
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.engines.torch_language import build_language_model
from dialog_cvae.generate.language_codec import LanguageCodec
from dialog_cvae.generate.opening import dialog_codec
from dialog_cvae.generate.responder import Responder
from dialog_cvae.model.build import build_model
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.find_backbone import open_backbone
from dialog_cvae.types import Conversation, Profile, Utterance
from tests.dialog_cvae.generate.naive_language import SIZES, NaiveLanguageEngine, language_checkpoint
from tests.dialog_cvae.storage.tiny_bases import drawn, write_gguf

SAMPLED = Decoding(1.0, max_tokens=6)


@pytest.fixture
def dialog(roles_checkpoint: Checkpoint) -> Responder:
    """A model that reads speakers by their roles A and B."""
    config = roles_checkpoint.config
    return Responder(TorchEngine(build_model(roles_checkpoint)), dialog_codec(roles_checkpoint), config, "tiny")


@pytest.fixture
def language(tmp_path: Any) -> Responder:
    """A language model that reads names as text."""
    base = write_gguf(tmp_path / "tiny.gguf", drawn())
    checkpoint, found = language_checkpoint(base), open_backbone(base)
    codec = LanguageCodec(found.tokenizer, SIZES, found.config.vocab_size)
    config = checkpoint.config.model_copy(update={"respond_as": ("agent",), "roles": ("customer", "agent")})
    return Responder(NaiveLanguageEngine(build_language_model(checkpoint, found)), codec, config, "tiny")


def assert_alike(
    client: TestClient, responder: Responder, turns: list[tuple[str, str]], topic: str, respond_as: str, **more: Any
) -> list[str]:
    """Python and HTTP give the same replies to the same words; returns them."""
    asked = Conversation("c", tuple(Utterance(*turn) for turn in turns), topic, **more)
    replies = responder.respond(asked, respond_as=respond_as, n=3, seed=4, decoding=SAMPLED)
    profiles = {name: {"sex": each.sex} for name, each in asked.speakers.items()}
    body = {
        "context": [{"speaker": speaker, "text": text} for speaker, text in turns],
        "topic": topic,
        "respond_as": respond_as,
        "speakers": profiles,
    }
    options = {"num_responses": 3, "seed": 4, "temperature": 1, "top_p": 1, "max_tokens": SAMPLED.max_tokens}
    answer = client.post("/respond", json=body | options).json()
    texts = [reply.text for reply in replies]
    assert [each["text"] for each in answer["responses"]] == texts
    assert [each["log_prob"] for each in answer["responses"]] == [reply.log_prob for reply in replies]
    return texts


def test_a_dialog_model(serve: Callable[..., TestClient], dialog: Responder) -> None:
    client = serve(dialog, candidates=0)
    plain = assert_alike(client, dialog, [("A", "we like cats"), ("B", "they hate dogs")], "PETS", "B")
    turns = [(" a", "we  like\ncats"), ("b ", "they hate dogs")]
    assert assert_alike(client, dialog, turns, "pets ", "b") == plain
    profiles = {"a ": Profile("female")}
    assert assert_alike(client, dialog, turns, "pets", "b", speakers=profiles) != plain


def test_a_language_model(serve: Callable[..., TestClient], language: Responder) -> None:
    client = serve(language, candidates=0)
    plain = assert_alike(client, language, [("customer", "caf\u00e9 au lait"), ("agent", "hi")], "late trains", "agent")
    turns = [("Customer", "cafe\u0301 au\n lait "), (" AGENT", "hi")]
    assert assert_alike(client, language, turns, " late\ntrains", "Agent") == plain
    unknown = [(" Cafe\u0301", "hi")]
    assert_alike(client, language, unknown, "late trains", " Bo\u0308")
