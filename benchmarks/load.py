"""Puts a load on a service of this machine: a number of clients, each with one request at a time.

Open it to change how a client sends requests, or which answers end a benchmark as errors. A client sends its next
request as soon as it has an answer; after a refusal it can pause first.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from threading import Lock
from time import sleep
from typing import NamedTuple

from dialog_cvae.errors import DialogCvaeError

KEPT_S = 3.0  # seconds that an idle connection is reused for; uvicorn closes it after 5


class Load(NamedTuple):
    """The requests to send.

    Attributes:
        clients: number of clients that send at the same time.
        bodies: bodies of the requests, each sent once.
        seconds: time after which no more requests are sent.
        pause_s: seconds from a refusal to the client's next request, on average.
        expected: other statuses that are not errors, such as 422 if some bodies are invalid on purpose.
    """

    clients: int
    bodies: Sequence[bytes]
    seconds: float
    pause_s: float = 0.0
    expected: Collection[int] = ()


class Done(NamedTuple):
    """The result of a load.

    Attributes:
        seconds: duration of each answered request.
        wall: seconds from the first request to the last answer.
        refused: seconds of each request that was refused because the service is busy.
        others: number of answers with each other expected status.
    """

    seconds: list[float]
    wall: float
    refused: list[float]
    others: Counter[int]


def run_load(port: int, load: Load) -> Done:
    """Send the requests to a service on the loopback interface.

    Raises:
        DialogCvaeError: no request got replies, or an answer has an unexpected status. A 503 is expected if it has a
            valid Retry-After header.
    """
    taken, lock, begin = iter(load.bodies), Lock(), time.perf_counter()
    seconds, refused, others = list[float](), list[float](), Counter[int]()

    def client(_: int) -> None:
        connection, answered = HTTPConnection("127.0.0.1", port, timeout=60), begin
        try:
            while time.perf_counter() - begin < load.seconds:
                with lock:
                    body = next(taken, None)
                if body is None:
                    return
                sent = time.perf_counter()
                if sent - answered > KEPT_S:
                    connection.close()  # the next request opens it again
                connection.request("POST", "/respond", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = answer.read()
                answered = time.perf_counter()
                spent = answered - sent
                busy = _is_refusal(answer)
                if answer.status not in (200, *load.expected) and not busy:
                    raise DialogCvaeError(f"the service answered {answer.status}: {content[:200]!r}")
                with lock:
                    if busy or answer.status == 200:
                        (refused if busy else seconds).append(spent)
                    else:
                        others[answer.status] += 1
                if busy:
                    sleep(load.pause_s * random.uniform(0.5, 1.5))  # not all at once
        finally:
            connection.close()

    with ThreadPoolExecutor(load.clients) as pool:
        list(pool.map(client, range(load.clients)))
    if not seconds:
        raise DialogCvaeError(f"no request was answered ({len(refused)} refused)")
    return Done(seconds, time.perf_counter() - begin, refused, others)


def _is_refusal(answer: HTTPResponse) -> bool:
    after = answer.getheader("Retry-After", "")
    problem = answer.getheader("Content-Type") == "application/problem+json"
    return answer.status == 503 and problem and after.isdecimal() and int(after) >= 1
