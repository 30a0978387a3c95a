"""A service in process around a stub model: deterministic, instant, and able to pause."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.service import WARM_UP
from api.settings import Settings
from dialog_cvae.checkpoint import CheckpointConfig, Provenance
from dialog_cvae.config import ModelConfig
from dialog_cvae.decoding import Decoding, Draw
from dialog_cvae.respond import Question, Responder, Response
from dialog_cvae.types import Conversation

CONFIG = CheckpointConfig(
    model=ModelConfig(),
    vocab_size=16,
    topics=(),
    provenance=Provenance(data="stub", licence="CC BY 4.0"),
)


class StubReplies:
    """What a question is answered with, after one draw."""

    def __init__(self, found: list[Response]) -> None:
        self.found, self.wants, self.complete = found, 1, False

    def wanted(self) -> tuple[list[tuple[StubReplies, int]], None, None]:
        self.wants = 0
        return [(self, 0)], None, None

    def take(self, _index: int, _draw: Draw) -> None:
        self.complete = True

    def responses(self) -> list[Response]:
        return self.found


class StubPool:
    """Every draw takes one step, for which the gate must be open."""

    def __init__(self, stub: StubResponder) -> None:
        self.stub, self.keys = stub, list[tuple[StubReplies, int]]()

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, keys: list[tuple[StubReplies, int]], _start: None, _decoding: None) -> None:
        self.keys += keys

    def remove(self, leaves: Callable[[tuple[StubReplies, int]], bool]) -> None:
        self.keys = [key for key in self.keys if not leaves(key)]

    def step(self) -> list[tuple[tuple[StubReplies, int], Draw]]:
        if self.stub.calls:  # the first conversation is not one
            self.stub.entered.set()
            assert self.stub.gate.wait(10)
        finished, self.keys = [(key, Draw((1,), -1.0, 2)) for key in self.keys], []
        return finished


class StubResponder(Responder):
    """Replies are digests of everything the request asks for, so that any input that is lost on the way shows."""

    def __init__(self, distinct: int = 1000, topics: tuple[str, ...] = ("MUSIC", "PETS", "Air Pollution")) -> None:
        self.name, self.topics, self.max_context = "stub", topics, 9
        self.decoding = Decoding()
        self.config = CONFIG
        self.distinct = distinct
        self.calls: list[tuple[Conversation, dict[str, Any]]] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def pool(self) -> StubPool:  # type: ignore[override]
        return StubPool(self)

    def begin(self, questions: Sequence[Question]) -> list[StubReplies]:  # type: ignore[override]
        self.threads.add(threading.current_thread().name)
        return [StubReplies(self.found(question)) for question in questions]

    def found(self, question: Question) -> list[Response]:
        conversation, respond_as, n, seed, decoding, at, places = question
        if conversation.id == WARM_UP:
            return [Response("fine", -1.0, 2, True)]
        asked: dict[str, Any] = {"respond_as": respond_as, "n": n, "seed": seed, "decoding": decoding}
        asked |= {"at": at, "places": places} if places or at is not None else {}
        self.calls.append((conversation, asked))
        key = repr((conversation.utterances, conversation.topic, respond_as, seed, decoding))
        digest = hashlib.sha256(key.encode()).hexdigest()
        texts = [f"{digest[:8]} {i}" for i in range(min(n, self.distinct))]
        if places or at is not None:
            return [Response(text, -1.5, 2, True, at or (i / 4, -1.0)) for i, text in enumerate(texts)]
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
