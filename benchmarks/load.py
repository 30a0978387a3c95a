"""A bounded load on a service of this machine: so many clients, each asking again as soon as it is answered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from threading import Lock
from typing import NamedTuple

from dialog_cvae.errors import DialogCvaeError


class Load(NamedTuple):
    """What is asked.

    Attributes:
        clients: at once.
        bodies: of the requests, each asked once.
        seconds: after which no more are asked.
    """

    clients: int
    bodies: Sequence[bytes]
    seconds: float


class Done(NamedTuple):
    """What came of it.

    Attributes:
        seconds: of each answered request.
        wall: from the first request to the last answer.
        refused: requests that were told that the service is busy.
    """

    seconds: list[float]
    wall: float
    refused: int


def run_load(port: int, load: Load) -> Done:
    """Ask a service on the loopback interface.

    Raises:
        DialogCvaeError: an answer has another status than 200 or 503.
    """
    taken, lock, seconds = iter(load.bodies), Lock(), list[float]()
    begin = time.perf_counter()
    refusals = 0

    def client(_: int) -> None:
        nonlocal refusals
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            while time.perf_counter() - begin < load.seconds:
                with lock:
                    body = next(taken, None)
                if body is None:
                    return
                asked = time.perf_counter()
                connection.request("POST", "/respond", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                said = answer.read()
                spent = time.perf_counter() - asked
                if answer.status not in (200, 503):
                    raise DialogCvaeError(f"the service answered {answer.status}: {said[:200]!r}")
                with lock:
                    if answer.status == 200:
                        seconds.append(spent)
                    else:
                        refusals += 1
        finally:
            connection.close()

    with ThreadPoolExecutor(load.clients) as pool:
        list(pool.map(client, range(load.clients)))
    if not seconds:
        raise DialogCvaeError(f"no request was answered ({refusals} refused)")
    return Done(seconds, time.perf_counter() - begin, refusals)
