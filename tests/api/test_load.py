"""Overload, and load for a long time: accepted requests are answered, and memory does not grow."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.load import Done, Load, run_load
from benchmarks.server_process import ServerProcess, run_server, wait_until

HELD = 4  # requests that may be decoded or wait
CONVERSATION = ["you like cats", "we hate rain now"]
SETTINGS = {"THREADS": 1, "MAX_WAITING": HELD, "MAX_TOKENS": 300, "LOG_FORMAT": "json"}


@pytest.fixture(scope="module")
def service(endless_folder: Path) -> Iterator[ServerProcess]:
    with run_server(endless_folder, SETTINGS) as running:
        run_load(running.port, Load(HELD, bodies(4, num_responses=5, max_tokens=20), 60))
        yield running
        running.process.terminate()
        assert running.process.wait(60) in (0, -15)
        assert "Traceback" not in running.log_text()


def bodies(count: int, **asked: Any) -> list[bytes]:
    return [json.dumps({"context": CONVERSATION, "seed": seed} | asked).encode() for seed in range(count)]


def percentile(seconds: Sequence[float], share: float) -> float:
    return float(np.quantile(seconds, share))


def seconds_inside(service: ServerProcess, since: int, status: int) -> list[float]:
    """Seconds of the answers with a status, from the service's log: from a request's headers to the answer's end."""
    lines = [json.loads(line) for line in service.log_text().splitlines()[since:]]
    return [each["seconds"] for each in lines if each["event"] == "request" and each["status"] == status]


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.endurance)])
def test_ten_times_the_capacity(service, seconds):
    """Ten times as many clients as may wait; a refused one retries after about the time of an answer.

    Times are compared only with others of the same run, because the machine may be busy.
    """
    many = bodies(100_000, num_responses=5, max_tokens=300)
    alone = run_load(service.port, Load(HELD, many, seconds / 2))
    assert alone.refused == []
    resident, logged = service.resident_mib(), len(service.log_text().splitlines())
    over = run_load(service.port, Load(10 * HELD, many, seconds, pause_s=percentile(alone.seconds, 0.5)))

    # Any outcome other than an answer, or a refusal with Retry-After, would have raised.
    asked, answered = len(over.seconds) + len(over.refused), len(over.seconds)
    refused, accepted = (seconds_inside(service, logged, status) for status in (503, 200))
    show(alone, over, refused, service.resident_mib() - resident)
    assert asked > 4 * answered, "that was no overload"
    if seconds > 30:  # shorter runs depend too much on other processes; the clients use the same cores
        assert answered / over.wall > 0.35 * len(alone.seconds) / alone.wall, "overload costs throughput"
        assert percentile(over.seconds, 0.99) < 4 * percentile(alone.seconds, 0.99)
    assert percentile(over.refused, 0.5) < percentile(over.seconds, 0.5)
    assert len(refused) == len(over.refused)
    assert percentile(refused, 0.5) < percentile(accepted, 0.5) / 4
    assert service.resident_mib() < resident + 16
    figures = service.metrics()
    assert figures["dialog_cvae_queue_depth"] == 0
    assert figures['dialog_cvae_rejections_total{reason="queue_full"}'] >= len(refused)


def show(alone: Done, over: Done, inside: Sequence[float], grown: float) -> None:
    """Print the figures, for pytest -s."""
    print(f"\nat capacity {len(alone.seconds) / alone.wall:.1f}/s, p99 {1e3 * percentile(alone.seconds, 0.99):.0f} ms")
    print(f"overload    {len(over.seconds) / over.wall:.1f}/s, p99 {1e3 * percentile(over.seconds, 0.99):.0f} ms")
    print(
        f"refused     {len(over.refused) / over.wall:.1f}/s, p50 {1e3 * percentile(over.refused, 0.5):.1f} ms at the "
        f"client, {1e3 * percentile(inside, 0.5):.2f} ms (p99 {1e3 * percentile(inside, 0.99):.2f}) in the service; "
        f"{grown:+.1f} MiB"
    )


WRONG = [
    b"",
    b"{",
    b"null",
    b"\xff\xfe",
    b"[" * 10_000,
    b'{"context": []}',
    b'{"context": ["x"], "unheard": 1}',
    json.dumps({"context": CONVERSATION, "num_responses": 1000}).encode(),
    json.dumps({"context": CONVERSATION, "diversity": 0.5, "top_p": 0.5}).encode(),
    json.dumps({"context": ["x" * 5000]}).encode(),
    json.dumps({"context": CONVERSATION, "topic": "unheard of"}).encode(),
]


def mixed(count: int) -> list[bytes]:
    """Different requests of every kind; one in four is invalid."""
    rng = random.Random(11)
    words = ("you", "me", "they", "like", "hate", "see", "cats", "dogs", "birds", "rain", "sun", "now", "here")
    found = []
    for seed in range(count):
        if rng.random() < 0.25:
            found.append(rng.choice(WRONG))
            continue
        context = [" ".join(rng.choices(words, k=rng.randrange(1, 8))) for _ in range(rng.randrange(1, 6))]
        asked: dict[str, Any] = {"context": context, "seed": seed, "max_tokens": rng.randrange(1, 20)}
        asked |= rng.choice([{}, {"map": True}, {"at": [0.5, -1.0]}, {"diversity": 0.7}, {"temperature": 0.0}])
        asked["num_responses"] = rng.randrange(1, 4)
        found.append(json.dumps(asked).encode())
    return found


def observe(service: ServerProcess, load: Future[Done]) -> list[tuple[float, float, int]]:
    """(second, resident MiB, descriptors) while a load runs."""
    begin, found = time.monotonic(), []
    while not futures.wait([load], timeout=0.1).done:
        found.append((time.monotonic() - begin, service.resident_mib(), service.descriptors()))
    return found


@pytest.mark.parametrize(("seconds", "count"), [(5, 20_000), pytest.param(600, 2_000_000, marks=pytest.mark.endurance)])
def test_nothing_grows(service, seconds, count):
    before = service.metrics()
    descriptors = service.descriptors()
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(run_load, service.port, Load(HELD, mixed(count), seconds, expected=(422,)))
        times, resident, opened = zip(*observe(service, load), strict=True)
        done = load.result()
    assert done.refused == []
    assert done.others[422] > 0.1 * len(done.seconds)

    warm = len(times) // 3
    slope = np.polyfit(times[warm:], resident[warm:], 1)[0]
    grown = slope * (times[-1] - times[warm])
    print(f"\n{len(done.seconds)} answered, {done.others[422]} invalid in {done.wall:.0f} s: {grown:+.2f} MiB")
    assert grown < 8, "MiB along the fitted line, after a third of the time"
    assert max(opened) <= descriptors + HELD + 1  # one for /metrics
    wait_until(lambda: service.descriptors() <= descriptors)

    after = service.metrics()
    for status, count_of in ((200, len(done.seconds)), (422, done.others[422])):
        name = f'dialog_cvae_requests_total{{method="POST",route="/respond",status="{status}"}}'
        assert after[name] - before.get(name, 0) == count_of
    assert after["dialog_cvae_queue_depth"] == 0
    name = 'dialog_cvae_request_seconds_count{route="/respond"}'
    assert after[name] - before[name] == len(done.seconds) + done.others[422]
    assert all(value >= 0 and np.isfinite(value) for value in after.values())
