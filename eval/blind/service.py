"""Replies of a running service, by `POST /respond`.

Open it to change what a service is asked. This is a small client on the standard library, because `eval` may not import
`api.client`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np

from dialog_cvae.errors import ConfigError, DialogCvaeError
from dialog_cvae.limits import MAX_PROFILES
from dialog_cvae.types import Utterance
from eval.blind.places import Answers, ContextPlace, Task

TIMEOUT_S = 120.0  # longest time without any data
RETRIES = 5  # most retries while the service is busy
LONGEST_WAIT_S = 30.0  # longest wait before one retry
NO_PROFILES = "no_profiles"  # the service's name of the problem that its model reads no profiles


class _ProfilesError(DialogCvaeError):
    """The model reads no profiles of speakers; GET /model does not say so."""


class Service:
    """A running service.

    Args:
        url: of the service, such as `http://127.0.0.1:8000`.
        api_key: a key, if the service requires one.

    Raises:
        ConfigError: the address or the key cannot be used.
        DialogCvaeError: it cannot be reached, or refuses.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self._url, self._headers = url.rstrip("/"), {"X-API-Key": api_key} if api_key else {}
        self._reads_profiles = True  # until it refuses some
        if api_key and not (api_key.isascii() and api_key.isprintable()):
            raise ConfigError("DIALOG_CVAE_API_KEY must have printable ASCII characters alone, but has others")
        try:
            _ = urlsplit(url).port  # the parts are checked when they are asked for
        except ValueError as error:
            raise ConfigError(f"{url}: is not an address of a service ({error})") from None
        try:
            model = self._ask("model")
            self._limits: Mapping[str, int] = model["limits"]
            self._free_topic = bool(model.get("free_topic", False))
            self._topics = {topic.casefold(): topic for topic in self._ask("topics")["topics"]}
        except (KeyError, TypeError, AttributeError):
            raise DialogCvaeError(f"{url}: is not a service of this project") from None

    def answers(self, task: Task) -> Answers:
        """The service's replies, with its own defaults.

        Raises:
            ConfigError: the service gives fewer replies to a request than are wanted.
            DialogCvaeError: it cannot be reached, or refuses a request.
        """
        if task.replies > self._limits["num_responses"]:
            most = self._limits["num_responses"]
            raise ConfigError(f"--replies: must be at most {most}, the limit of {self._url}, but is {task.replies}")
        return [self._replies(place, task) for place in task.places]

    def _replies(self, place: ContextPlace, task: Task) -> list[str]:
        turns = place.before.utterances[-self._limits["context"] :]
        body: dict[str, Any] = {
            "context": [{"speaker": turn.speaker, "text": turn.text} for turn in turns],
            "respond_as": place.window.reply.speaker,
            "num_responses": task.replies,
            # a request has a single number as its seed; 63 bits
            "seed": int(np.random.SeedSequence(place.seed(task.seed)).generate_state(1, np.uint64)[0] >> 1),
        }
        topic = place.before.topic if self._free_topic else self._topics.get((place.before.topic or "").casefold())
        if topic:
            body["topic"] = topic
        # profiles, as a checkpoint reads them, unless the model has refused some
        known = _profiles(place, turns) if self._reads_profiles else {}
        try:
            answer = self._ask("respond", {**body, "speakers": known} if known else body)
        except _ProfilesError:
            self._reads_profiles = False
            answer = self._ask("respond", body)
        return [reply["text"] for reply in answer["responses"]]

    def _ask(self, path: str, body: object = None) -> dict[str, Any]:
        """The JSON answer to a request; GET without a body."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self._url}/{path}", data, {"Content-Type": "application/json", **self._headers})
        for attempt in range(RETRIES + 1):
            try:
                with urlopen(request, timeout=TIMEOUT_S) as answer:
                    return _object(answer.read(), request.full_url)
            except HTTPError as error:
                with error:
                    if error.code != 503 or attempt == RETRIES:
                        raise _refusal(f"{self._url}/{path}", error) from None
                    time.sleep(_wait_s(error, attempt))
            except (OSError, HTTPException, UnicodeError) as error:
                reason = error.reason if isinstance(error, URLError) else error
                raise DialogCvaeError(f"{self._url}/{path}: cannot be reached ({reason})") from None
        raise AssertionError("the last attempt returns or raises")


def _object(content: bytes, url: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DialogCvaeError(f"{url}: the answer is not a JSON object")
    return found


def _profiles(place: ContextPlace, turns: Sequence[Utterance]) -> dict[str, dict[str, Any]]:
    """What is known of the speaker who replies and of those of the turns, the latest first, by name."""
    names = list(dict.fromkeys([place.window.reply.speaker, *(turn.speaker for turn in reversed(turns))]))
    found = {}
    for name in names[:MAX_PROFILES]:
        fields = asdict(place.before.profile(name))
        if known := {field: value for field, value in fields.items() if value is not None}:
            found[name] = known
    return found


def _refusal(url: str, error: HTTPError) -> DialogCvaeError:
    """The error with the service's message of what is wrong."""
    try:
        problem = json.load(error)
        detail = str(problem["detail"])
        kinds = [each["type"] for each in problem.get("errors", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        return DialogCvaeError(f"{url}: {error.code} {error.reason}")
    kind = _ProfilesError if NO_PROFILES in kinds else DialogCvaeError
    return kind(f"{url}: {error.code} {detail}")


def _wait_s(error: HTTPError, attempt: int) -> float:
    """Seconds before the next attempt: what the service asks for, or twice as long each time."""
    after = error.headers.get("Retry-After", "")
    return min(LONGEST_WAIT_S, float(after) if after.isdigit() else 0.5 * 2**attempt)
