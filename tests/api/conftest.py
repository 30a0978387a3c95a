"""A service in process around a stub model: deterministic, instant, and able to pause."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.service import WARM_UP
from api.settings import Settings
from dialog_cvae.config import Decoding
from dialog_cvae.generate.codec import Seen
from dialog_cvae.generate.decoding import Draw
from dialog_cvae.generate.question import Question, Reply
from dialog_cvae.generate.responder import Responder
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.storage.checkpoint_config import CheckpointConfig, Provenance
from dialog_cvae.types import Conversation

if TYPE_CHECKING:
    from openai import OpenAI

CONFIG = CheckpointConfig(
    model=ModelConfig(),
    vocab_size=16,
    topics=(),
    provenance=Provenance(data="stub", licence="CC BY 4.0"),
)


class StubCodec(NamedTuple):
    topics: tuple[str, ...]
    free_topic: bool = False
    max_context: int = 9
    latent_size: int = 2
    lower_case: bool = False

    def count(self, text: str) -> int:
        return len(text.split())


class StubResponder(Responder):
    """Replies are digests of the whole request, so that a test notices any lost input."""

    def __init__(self, distinct: int = 1000, topics: tuple[str, ...] = ("MUSIC", "PETS", "Air Pollution")) -> None:
        self.name, self.codec = "stub", StubCodec(topics)
        self.decoding = Decoding()
        self.config = CONFIG
        self.accepts = self.guard = None
        self.index = self.common = None
        self.distinct = distinct
        self.calls: list[tuple[Conversation, dict[str, Any]]] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def pool(self) -> StubPool:
        return StubPool(self)

    def begin(self, questions: Sequence[Question]) -> list[StubReplies]:
        return [StubReplies(self, question) for question in questions]

    def respond(self, conversation: Conversation, **asked: Any) -> list[Reply]:
        """Called in the model's thread for each request, once the gate is open."""
        self.threads.add(threading.current_thread().name)
        n, at, places = asked["n"], asked.pop("at"), asked.pop("places")
        least = asked.pop("min_score")
        del asked["likeliest"]
        places = places or at is not None
        if conversation.id == WARM_UP:
            return [Reply("fine", -1.0, 2, True)]
        key = repr(
            (conversation.utterances, conversation.topic, *(asked[name] for name in ("respond_as", "seed", "decoding")))
        )
        self.calls.append((conversation, asked | ({"at": at, "places": places} if places else {})))
        digest = hashlib.sha256(key.encode()).hexdigest()
        where = [(at or (i / 4, -1.0)) if places else None for i in range(n)]
        scores = [None if least is None else 1 / (1 + i) for i in range(n)]
        replies = [
            Reply(f"{digest[:8]} {i}", -1.5 - i, 2, True, where[i], scores[i]) for i in range(min(n, self.distinct))
        ]
        return [reply for reply in replies if reply.score is None or reply.score >= least]


class StubPool:
    """A pool whose rows all finish at the next step, once the gate is open."""

    def __init__(self, stub: StubResponder) -> None:
        self._stub = stub
        self._rows: list[tuple[StubReplies, int]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: list[tuple[StubReplies, int]]) -> None:
        self._rows += rows

    def remove(self, leaves: Callable[[tuple[StubReplies, int]], bool]) -> None:
        self._rows = [row for row in self._rows if not leaves(row)]

    def step(self) -> list[tuple[tuple[StubReplies, int], Draw]]:
        if any(replies.question.conversation.id != WARM_UP for replies, _ in self._rows):
            self._stub.entered.set()
            assert self._stub.gate.wait(10)
        finished, self._rows = self._rows, []
        return [(row, Draw((), -1.0, 2)) for row in finished]


class StubReplies:
    """The replies to one request, which all come from one row."""

    def __init__(self, stub: StubResponder, question: Question) -> None:
        self._stub, self.question = stub, question
        self.seen = Seen(len(question.conversation.utterances), cut=False)
        self.wants, self.draws = 1, question.draws
        self.found: list[Reply] | None = None

    @property
    def complete(self) -> bool:
        return self.found is not None

    def wanted(self) -> tuple[list[tuple[StubReplies, int]]]:
        self.wants = 0
        return ([(self, 0)],)

    def take(self, _index: int, _draw: Draw) -> None:
        asked = self.question._asdict()
        self.found = self._stub.respond(asked.pop("conversation"), **asked)

    def answer(self) -> list[Reply] | None:
        return self.found


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
def connect() -> Iterator[Callable[..., OpenAI]]:
    """An OpenAI client of a service in process: `connect(client, key)`."""
    import httpx2
    from openai import OpenAI

    class InProcess(httpx2.BaseTransport):
        def __init__(self, client: TestClient) -> None:
            self._client = client

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            request.read()
            sent = {name: value for name, value in request.headers.items() if name.lower() != "host"}
            answer = self._client.request(
                request.method, request.url.raw_path.decode(), content=request.content, headers=sent
            )
            return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)

    with ExitStack() as stack:

        def start(client: TestClient, key: str = "none") -> OpenAI:
            http = httpx2.Client(transport=InProcess(client))
            made = OpenAI(api_key=key, base_url="http://testserver/v1", http_client=http, max_retries=0)
            return stack.enter_context(made)

        yield start


@pytest.fixture
def client(serve: Callable[..., TestClient], stub: StubResponder) -> TestClient:
    return serve(stub)
