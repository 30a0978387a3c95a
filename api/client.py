"""A typed client of the service, for synchronous and for asynchronous programs.

Open it to change what the client sends, or when it tries again.

    from api.client import Client

    with Client("http://127.0.0.1:8000") as client:
        answer = client.respond(["Do you have any pets?"], topic="PETS", num_responses=5, diversity=0.4)
        for candidate in answer.responses:
            print(candidate.text)

If the service is busy, the client tries again after the time that the service asks for, within the limits of
`Patience`. Sending a request twice is safe, as the service keeps no state.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, TypedDict, TypeVar, Unpack
from urllib.parse import urlencode

import httpx2
from pydantic import BaseModel

from api.client_errors import (
    InvalidRequestError,
    ServiceError,
    UnauthorisedError,
    UnavailableError,
    UnreachableError,
    read,
    retry_after,
)
from api.model_schemas import Model, Topics
from api.problem_schemas import PROBLEM_TYPE
from api.respond_schemas import RespondResponse, Turn
from dialog_cvae.config import CandidateSource
from dialog_cvae.errors import ConfigError

__all__ = [
    "AsyncClient",
    "Client",
    "InvalidRequestError",
    "Options",
    "Patience",
    "ServiceError",
    "UnauthorisedError",
    "UnavailableError",
    "UnreachableError",
]

JITTER = 0.25  # random share added to a wait: jitter, so that rejected clients do not all retry at once

T = TypeVar("T", bound=BaseModel)
Said = str | Turn | tuple[str, str]  # a text, or a speaker and a text


class Options(TypedDict, total=False):
    """The optional fields of a request; see `api.respond_schemas.RespondRequest`. None means the server's default."""

    model: str | None
    topic: str | None
    num_responses: int | None
    seed: int | None
    diversity: float | None
    min_score: float | None
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    candidates_from: CandidateSource | None
    respond_as: str | None
    speakers: Mapping[str, Mapping[str, str | int | None]] | None
    map: bool | None
    at: tuple[float, float] | None


class Patience(NamedTuple):
    """How long to retry while the service is busy.

    Attributes:
        retries: most retries.
        wait_s: most seconds to wait before retries, in total.
    """

    retries: int = 3
    wait_s: float = 30.0

    def wait(self, response: httpx2.Response, attempt: int, waited_s: float) -> float | None:
        """Seconds to wait before the next attempt; None for no further attempt.

        Args:
            response: of the last attempt.
            attempt: number of attempts before that one.
            waited_s: seconds waited so far.
        """
        if response.status_code != 503 or attempt >= self.retries:
            return None
        after = retry_after(response)
        wait = (2.0**attempt / 2 if after is None else after) * (1 + JITTER * random.random())
        return wait if waited_s + wait <= self.wait_s else None


class Client:
    """Calls a service, over connections that are kept open.

    Args:
        url: of the service, such as `http://127.0.0.1:8000`; with the prefix, if it is mounted below one.
        api_key: a key, if the service requires one.
        timeout_s: seconds without any data from the service after which a request fails.
        patience: how long to retry while the service is busy.
        transport: of httpx; default: the network.

    Raises:
        UnreachableError: the URL is invalid.
        ConfigError: the key has characters that no header can hold.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        patience: Patience = Patience(),  # noqa: B008  (immutable)
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._patience = patience
        self._http = httpx2.Client(
            base_url=_address(url), headers=_headers(api_key), timeout=timeout_s, transport=transport
        )

    def respond(self, context: Sequence[Said], **options: Unpack[Options]) -> RespondResponse:
        """Replies to a conversation.

        Args:
            context: what was said, oldest first: texts of two speakers in turn, or speakers with texts.
            options: see `Options`.

        Raises:
            ServiceError: the service refused the request or failed; the subclass and `problem` say why.
            UnreachableError: there was no response.
        """
        return self._ask("POST", "respond", RespondResponse, _body(context, options))

    def topics(self, model: str | None = None) -> tuple[str, ...]:
        """The topics that a model knows, by default the first; raises the errors of `respond`."""
        return tuple(self._ask("GET", _path("topics", model), Topics).topics)

    def model(self, model: str | None = None) -> Model:
        """A model, by default the first, the service's limits and its defaults; raises the errors of `respond`."""
        return self._ask("GET", _path("model", model), Model)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _ask(self, method: str, path: str, kind: type[T], body: object = None) -> T:
        attempt, waited_s = 0, 0.0
        while True:
            try:
                response = self._http.request(method, path, **_sent(body))
            except httpx2.HTTPError as error:
                raise _unreachable(self._http.base_url, error) from error
            wait_s = self._patience.wait(response, attempt, waited_s)
            if wait_s is None:
                return read(response, kind)
            time.sleep(wait_s)
            attempt, waited_s = attempt + 1, waited_s + wait_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncClient:
    """`Client` for asynchronous programs: the same arguments, methods and errors, to be awaited."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        patience: Patience = Patience(),  # noqa: B008  (immutable)
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._patience = patience
        self._http = httpx2.AsyncClient(
            base_url=_address(url), headers=_headers(api_key), timeout=timeout_s, transport=transport
        )

    async def respond(self, context: Sequence[Said], **options: Unpack[Options]) -> RespondResponse:
        """See `Client.respond`."""
        return await self._ask("POST", "respond", RespondResponse, _body(context, options))

    async def topics(self, model: str | None = None) -> tuple[str, ...]:
        """See `Client.topics`."""
        return tuple((await self._ask("GET", _path("topics", model), Topics)).topics)

    async def model(self, model: str | None = None) -> Model:
        """See `Client.model`."""
        return await self._ask("GET", _path("model", model), Model)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _ask(self, method: str, path: str, kind: type[T], body: object = None) -> T:
        attempt, waited_s = 0, 0.0
        while True:
            try:
                response = await self._http.request(method, path, **_sent(body))
            except httpx2.HTTPError as error:
                raise _unreachable(self._http.base_url, error) from error
            wait_s = self._patience.wait(response, attempt, waited_s)
            if wait_s is None:
                return read(response, kind)
            await asyncio.sleep(wait_s)
            attempt, waited_s = attempt + 1, waited_s + wait_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


def _address(url: str) -> str:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise UnreachableError(f"{url!r} is not a valid URL ({error})") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UnreachableError(f"{url!r} is not a valid URL such as http://127.0.0.1:8000")
    return url.rstrip("/") + "/"


def _headers(api_key: str | None) -> dict[str, str]:
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise ConfigError("the API key must consist of visible ASCII characters")  # the message must not contain it
    return {"Accept": f"application/json, {PROBLEM_TYPE}"} | ({} if api_key is None else {"X-API-Key": api_key})


def _unreachable(url: httpx2.URL, error: httpx2.HTTPError) -> UnreachableError:
    return UnreachableError(f"{url}: {str(error) or type(error).__name__}")


def _path(path: str, model: str | None) -> str:
    return path if model is None else f"{path}?{urlencode({'model': model}, errors='surrogatepass')}"


def _body(context: Sequence[Said], options: Options) -> dict[str, Any]:
    """The body of a request."""
    if isinstance(context, str):
        raise TypeError("context must be a list of utterances, not one text")
    turns: list[Any] = [_turn(said) for said in context]
    return {"context": turns, **{name: value for name, value in options.items() if value is not None}}


def _sent(body: object) -> dict[str, Any]:
    """Options that send the body. It is ASCII, so that the service can refuse NaN and lone surrogates with a reason."""
    return {} if body is None else {"content": json.dumps(body), "headers": {"Content-Type": "application/json"}}


def _turn(said: Said) -> str | dict[str, str]:
    if isinstance(said, str):
        return said
    speaker, text = (said.speaker, said.text) if isinstance(said, Turn) else said
    return {"speaker": speaker, "text": text}
