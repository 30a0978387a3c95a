"""Measures how the service bears the worst bodies within its limits: `python -m benchmarks.hostile --help`.

Open it to add a body that is cheap to send and might be expensive to read.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from api.settings import Settings
from benchmarks.run_benchmark import run_benchmark
from benchmarks.server_process import ServerProcess, run_server
from dialog_cvae.cli import Parser, whole

HEALTH_MS, MEMORY_MIB = 50.0, 100.0  # limits for the delay of health checks, and for the rise of memory
PAUSE_S = 0.005  # seconds between two checks of health
EMOJI = "\U0001f600"
EXPLANATION = f"""\
Starts the service on a checkpoint. Sends it bodies as large as its limits allow, one at a time, while another client
asks for /health/live all the time. The table shows the time that these checks took and how far the service's memory
rose. The bar: the 99th percentile is below {HEALTH_MS:g} ms, and memory rises by less than {MEMORY_MIB:g} MiB.
"""


class Hostile(NamedTuple):
    """A body.

    Attributes:
        name: as the table shows it.
        body: function of the most bytes that a body may have.
        headers: instead of the content type of JSON.
        chunk: bytes of each chunk that it is sent in; 0 sends it with its length.
    """

    name: str
    body: Callable[[int], bytes]
    headers: tuple[tuple[str, str], ...] = ()
    chunk: int = 0


def _list_of(item: str) -> Callable[[int], bytes]:
    """A body with as many of these items in its context as it may have."""

    def body(most: int) -> bytes:
        count = (most - 20) // (len(item.encode()) + 1)
        return f'{{"context":[{",".join([item] * count)}]}}'.encode()

    return body


def _context(text: str, escaped: bool) -> Callable[[int], bytes]:
    """A valid request with 200 utterances, this text and no other in each."""
    return lambda _most: json.dumps({"context": [text] * 200, "max_tokens": 1}, ensure_ascii=escaped).encode()


def _field(name: str, begin: str, filling: str, end: str = "") -> Callable[[int], bytes]:
    """A body in which the value of one field fills everything."""
    return lambda most: f'{{"context":["hi"],"{name}":{begin}{filling * (most - 100)}{end}}}'.encode()


def _keys(most: int) -> bytes:
    return ("{" + ",".join(f'"k{number:07}":1' for number in range((most - 2) // 13)) + "}").encode()


BODIES = (
    Hostile("a short request", lambda _most: b'{"context":["hi"],"max_tokens":1}'),  # for comparison
    Hostile("valid, all characters escaped", _context(EMOJI * 2000, True)),
    Hostile("valid, all characters of 4 bytes", _context(EMOJI * 2000, False)),
    Hostile("valid, combining marks", _context("a" + "\u0301\u0316" * 999, False)),
    Hostile("valid, words", _context("we like to cook , do you ? " * 74, False)),
    Hostile("valid, no spaces", _context("abcdefghij" * 200, False)),
    Hostile("numbers as context", _list_of("1")),
    Hostile("strings as context", _list_of('"a"')),
    Hostile("empty objects as context", _list_of("{}")),
    Hostile("empty lists as context", _list_of("[]")),
    Hostile("turns as context", _list_of('{"speaker":"A","text":"a"}')),
    Hostile("unreadable texts", _context("a\x00" * 1000, True)),
    Hostile("unknown keys", _keys),
    Hostile("nested lists", lambda most: b"[" * most),
    Hostile("nested objects", lambda most: b'{"a":' * (most // 5)),
    Hostile("one text", lambda most: b'{"context":["' + b"a" * (most - 20) + b'"]}'),
    Hostile("one text, escaped", lambda most: b'{"context":["' + rb"\u0061" * ((most - 20) // 6) + b'"]}'),
    Hostile("one text without its end", lambda most: b'{"context":["' + rb"\n" * ((most - 20) // 2)),
    Hostile("one topic", _field("topic", '"', "a", '"')),
    Hostile("one number of many digits", _field("seed", "", "9")),
    Hostile("one fraction of many digits", _field("temperature", "0.", "3")),
    Hostile("spaces", lambda most: b" " * most),
    Hostile("commas", lambda most: b"," * most),
    Hostile("closings", lambda most: b"]" * most),
    Hostile("quotes", lambda most: b'"' * most),
    Hostile("UTF-16", lambda most: ('{"context":[' + "1," * (most // 4 - 20) + "1]}").encode("utf-16")),
    Hostile("bytes that are not UTF-8", lambda most: b'{"context":["' + b"\xff" * (most - 20) + b'"]}'),
    Hostile("not JSON by its type", lambda most: b"1" * most, (("Content-Type", "text/plain"),)),
    Hostile(
        "many headers",
        _context("hi", False),
        (("Content-Type", "application/json"), *(("X-API-Key", f"k{n}") for n in range(90))),
    ),
    Hostile("small chunks", _list_of("1"), chunk=1),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 success, 2 invalid arguments or failure, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    return run_benchmark(lambda: measure(arguments), summary, arguments.json)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("python -m benchmarks.hostile", description=EXPLANATION)
    parser.add_argument("checkpoint", type=Path, nargs="?", default=Path("models/swda"), help="default: models/swda")
    parser.add_argument("--rounds", type=whole(1, 1000), default=3, help="times that each body is sent (default 3)")
    parser.add_argument("--only", metavar="WORDS", default="", help="only bodies whose name contains this")
    parser.add_argument("--threads", type=whole(1, 1024), help="CPU threads of the model; default: one for each core")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    return parser


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures by name."""
    most = Settings(checkpoint=arguments.checkpoint).max_body_bytes
    rows = []
    chosen = [each for each in BODIES if arguments.only in each.name]
    with run_server(arguments.checkpoint, {"THREADS": arguments.threads}) as service:
        _send(service.port, BODIES[1], _sent(BODIES[1], most))  # so that memory for a first reply is not counted
        for each in chosen:
            content = _sent(each, most)  # now: it would delay the client that measures
            before = service.resident_mib()
            service.reset_peak()
            with Watch(service) as watch:
                began = time.perf_counter()
                statuses = {_send(service.port, each, content) for _ in range(arguments.rounds)}
                wall = time.perf_counter() - began
            rows.append(
                {
                    "name": each.name,
                    "status": "/".join(sorted(statuses)),
                    "seconds": wall / arguments.rounds,
                    "checks": len(watch.seconds),
                    "p99_ms": 1e3 * _percentile(watch.seconds, 0.99),
                    "max_ms": 1e3 * max(watch.seconds),
                    "rise_mib": service.peak_mib() - before,
                }
            )
    return {"checkpoint": arguments.checkpoint.name, "body_bytes": most, "rows": rows}


class Watch:
    """Asks for /health/live all the time, in a thread; `seconds` has the time of each answer."""

    def __init__(self, service: ServerProcess) -> None:
        self.seconds: list[float] = []
        self._port, self._stop = service.port, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=120)
        while not self._stop.is_set() or not self.seconds:
            began = time.perf_counter()
            connection.request("GET", "/health/live")
            assert connection.getresponse().read()
            self.seconds.append(time.perf_counter() - began)
            time.sleep(PAUSE_S)
        connection.close()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _sent(hostile: Hostile, most: int) -> bytes:
    """The body as it is sent."""
    body = hostile.body(most)
    return _chunked(body, hostile.chunk) if hostile.chunk else body


def _send(port: int, hostile: Hostile, content: bytes) -> str:
    """Send a body; the status of the answer, or "closed"."""
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.putrequest("POST", "/respond")
        for name, value in hostile.headers or (("Content-Type", "application/json"),):
            connection.putheader(name, value)
        connection.putheader(
            *(("Transfer-Encoding", "chunked") if hostile.chunk else ("Content-Length", str(len(content))))
        )
        connection.endheaders()
        with suppress(ConnectionError):  # the service may have refused it before its end
            connection.send(content)
        return str(connection.getresponse().status)
    except (OSError, HTTPException):
        return "closed"
    finally:
        connection.close()


def _chunked(body: bytes, size: int) -> bytes:
    parts = (body[begin : begin + size] for begin in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def _percentile(seconds: Sequence[float], share: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(report: dict[str, Any]) -> str:
    """The figures as text for the terminal."""
    lines = [
        f"{report['checkpoint']}: bodies of up to {report['body_bytes']} bytes; the bar: p99 of /health/live below "
        f"{HEALTH_MS:g} ms, memory up by less than {MEMORY_MIB:g} MiB",
        f"{'body':<34} status seconds checks  p99 ms  max ms  rise MiB",
    ]
    for row in report["rows"]:
        kept = row["p99_ms"] < HEALTH_MS and row["rise_mib"] < MEMORY_MIB
        lines.append(
            f"{row['name']:<34} {row['status']:>6} {row['seconds']:7.2f} {row['checks']:6} {row['p99_ms']:7.1f} "
            f"{row['max_ms']:7.1f} {row['rise_mib']:9.0f}{'' if kept else '  MISSED'}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
