"""A service in process around a stub model: deterministic, instant, and able to pause."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.service import WARM_UP
from api.settings import Settings
from dialog_cvae.checkpoint import CheckpointConfig, Provenance
from dialog_cvae.config import ModelConfig
from dialog_cvae.respond import Decoding, Responder, Response
from dialog_cvae.types import Conversation

CONFIG = CheckpointConfig(
    model=ModelConfig(),
    vocab_size=16,
    topics=(),
    provenance=Provenance(data="stub", licence="CC BY 4.0"),
)


@dataclass(frozen=True)
class Placed:
    """A response with its place on the map."""

    text: str
    log_prob: float
    place: tuple[float, float] | None


class StubResponder(Responder):
    """Replies are digests of everything the request asks for, so that any input that is lost on the way shows."""

    def __init__(self, distinct: int = 1000, topics: tuple[str, ...] = ("MUSIC", "PETS", "Air Pollution")) -> None:
        self.name, self.topics, self.max_context = "stub", topics, 9
        self.decoding = Decoding()
        self.config = CONFIG
        self.distinct = distinct
        self.calls: list[tuple[Conversation, dict[str, Any]]] = []
        self.threads: set[str] = set()
        self.active = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def respond(
        self,
        conversation: Conversation,
        *,
        respond_as: str,
        n: int = 5,
        seed: int = 0,
        decoding: Decoding | None = None,
        at: tuple[float, float] | None = None,
        places: bool = False,
    ) -> list[Response]:
        if conversation.id == WARM_UP:
            return [Response("fine", -1.0, 2, True)]
        self.active += 1
        assert self.active == 1, "two requests are in the model at once"
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        assert self.gate.wait(10)
        asked = {"respond_as": respond_as, "n": n, "seed": seed, "decoding": decoding}
        asked |= {"at": at, "places": places} if places else {}
        self.calls.append((conversation, asked))
        key = repr((conversation.utterances, conversation.topic, respond_as, seed, decoding))
        digest = hashlib.sha256(key.encode()).hexdigest()
        self.active -= 1
        texts = [f"{digest[:8]} {i}" for i in range(min(n, self.distinct))]
        if places:
            return [Placed(text, -1.5, at or (i / 4, -1.0)) for i, text in enumerate(texts)]
        return [Response(text, -1.5 - i, 2, True) for i, text in enumerate(texts)]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DIALOG_CVAE_{name.upper()}", raising=False)


@pytest.fixture
def make_stub() -> type[StubResponder]:
    return StubResponder


@pytest.fixture
def stub() -> StubResponder:
    return StubResponder()


@pytest.fixture
def serve() -> Iterator[Callable[..., TestClient]]:
    """Start a service: `serve(responder, **settings)`; a server error becomes a 500 as a client would see it."""
    with ExitStack() as stack:

        def start(responder: Responder, **settings: Any) -> TestClient:
            app = create_app(lambda _: responder, lambda: Settings(checkpoint="none", **settings))
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield start


@pytest.fixture
def client(serve: Callable[..., TestClient], stub: StubResponder) -> TestClient:
    return serve(stub)
