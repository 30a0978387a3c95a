"""A bounded load on a service of this machine: so many clients, each asking again as soon as it is answered.

Who is refused may pause first. Clients that pause for as long as an answer takes ask, all together, for as many times
what the service can answer as there are times as many of them as it lets wait.
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

KEPT_S = 3.0  # for which an idle connection is trusted: uvicorn ends it after 5


class Load(NamedTuple):
    """What is asked.

    Attributes:
        clients: at once.
        bodies: of the requests, each asked once.
        seconds: after which no more are asked.
        pause_s: seconds from a refusal to the client's next request, on average.
        expected: further statuses that are no surprise, such as 422 where some bodies are wrong on purpose.
    """

    clients: int
    bodies: Sequence[bytes]
    seconds: float
    pause_s: float = 0.0
    expected: Collection[int] = ()


class Done(NamedTuple):
    """What came of it.

    Attributes:
        seconds: of each answered request.
        wall: from the first request to the last answer.
        refused: seconds of each request that was told that the service is busy.
        others: how often each further status came.
    """

    seconds: list[float]
    wall: float
    refused: list[float]
    others: Counter[int]


def run_load(port: int, load: Load) -> Done:
    """Ask a service on the loopback interface.

    Raises:
        DialogCvaeError: there was no reply at all, or an answer of another kind than replies, refusals that say when
            to come again, and what is expected.
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
                asked = time.perf_counter()
                if asked - answered > KEPT_S:
                    connection.close()  # opened again by what is asked next
                connection.request("POST", "/respond", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                said = answer.read()
                answered = time.perf_counter()
                spent = answered - asked
                busy = _is_refusal(answer)
                if answer.status not in (200, *load.expected) and not busy:
                    raise DialogCvaeError(f"the service answered {answer.status}: {said[:200]!r}")
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
