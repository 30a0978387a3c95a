"""Traces: what spans hold, what they must not hold, and that a request never depends on them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import traces
from api.app import create_app
from api.settings import Settings
from dialog_cvae.generate.responder import Responder

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
BODY = {"context": ["my secret words"], "num_responses": 2, "seed": 1}
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
REASON = "OpenTelemetry is not installed: pip install '.[trace]'"


@pytest.fixture(autouse=True)
def _no_variables_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        ENDPOINT,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_SDK_DISABLED",
        "OTEL_SERVICE_NAME",
        "OTEL_TRACES_EXPORTER",
        "OTEL_TRACES_SAMPLER",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Services that start now send traces, to this exporter."""
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter", reason=REASON)
    found = memory.InMemorySpanExporter()
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setattr(traces, "_exporter", lambda: found)
    return found


@pytest.fixture
def spans(exporter: Any) -> Callable[[TestClient], list[Any]]:
    """The spans of a service so far, in order of their begin: `spans(client)`."""

    def sent(client: TestClient) -> list[Any]:
        client.app_state["traces"]._provider.force_flush()
        return sorted(exporter.get_finished_spans(), key=lambda span: span.start_time)

    return sent


def stopping(responder: Responder) -> TestClient:
    """A service that stops at the end of a `with` block."""
    return TestClient(create_app(lambda _: responder, lambda: Settings(checkpoint="none")))


def test_a_request_is_a_span_around_its_wait_and_its_decoding(serve, stub, spans):
    client = serve(stub)
    text = client.post("/respond", json=BODY, headers={"X-Request-ID": "r1"}).json()["responses"][0]["text"]
    request, queue, decode = spans(client)
    assert [span.name for span in (request, queue, decode)] == ["POST /respond", "queue", "decode"]
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.route": "/respond",
        "http.response.status_code": 200,
        "dialog_cvae.request_id": "r1",
        "dialog_cvae.model": "stub",
    }
    assert dict(queue.attributes) == {"dialog_cvae.model": "stub"}
    assert dict(decode.attributes) == {"dialog_cvae.model": "stub", "dialog_cvae.rows": 2, "dialog_cvae.tokens": 2}
    assert (request.parent, request.kind.name, request.status.status_code.name) == (None, "SERVER", "UNSET")
    assert {span.parent.span_id for span in (queue, decode)} == {request.context.span_id}
    assert {span.context.trace_id for span in (queue, decode)} == {request.context.trace_id}
    assert request.start_time <= queue.start_time <= queue.end_time == decode.start_time
    assert decode.start_time <= decode.end_time <= request.end_time
    assert request.resource.attributes["service.name"] == "dialog-cvae"
    for span in (request, queue, decode):
        assert "secret" not in span.to_json()
        assert text not in span.to_json()


def test_the_wait_ends_when_the_request_joins_the_batch(serve, stub, spans):
    """The second request waits until the first is decoded: there are rows for one of them only."""
    client = serve(stub, max_rows=1)
    stub.gate.clear()
    threads = [threading.Thread(target=client.post, args=("/respond",), kwargs={"json": BODY}) for _ in range(2)]
    threads[0].start()
    assert stub.entered.wait(10)
    threads[1].start()
    batcher = client.app_state["models"].default.batcher
    while batcher.held() < 2 and threads[1].is_alive():
        time.sleep(0.01)
    opened = time.time_ns()
    stub.gate.set()
    for thread in threads:
        thread.join(10)
    found = spans(client)
    queues, decodes = [[span for span in found if span.name == name] for name in ("queue", "decode")]
    assert len(queues) == len(decodes) == 2
    assert decodes[0].start_time < queues[1].start_time < decodes[0].end_time  # it arrived during the first decoding
    assert queues[1].end_time == decodes[1].start_time > opened


def test_a_trace_goes_on_where_the_client_began_it(serve, stub, spans):
    client = serve(stub)
    client.get("/topics", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    (span,) = spans(client)
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)


@pytest.mark.parametrize(
    "sent",
    [
        [f"00-{TRACE}-{PARENT}"],
        ["00-" + "0" * 32 + f"-{PARENT}-01"],
        [f"00-{TRACE}-{PARENT}-01"] * 2,
        ["0" * 600],
        ["\xff\xe9"],
        [""],
    ],
)
def test_an_invalid_parent_is_ignored(serve, stub, spans, capsys, sent):
    client = serve(stub)
    capsys.readouterr()
    headers = [(b"traceparent", each.encode("latin-1")) for each in sent]
    assert client.get("/topics", headers=headers).status_code == 200
    (span,) = spans(client)
    assert span.parent is None
    assert len(capsys.readouterr().err.splitlines()) == 1  # the request's own line


def test_a_client_may_ask_not_to_be_traced(serve, stub, spans):
    client = serve(stub)
    assert client.post("/respond", json=BODY, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"}).status_code == 200
    assert spans(client) == []


def test_paths_and_queries_are_not_sent(serve, stub, spans):
    client = serve(stub)
    for path in ("/secret?secret=1", "/topics?q=secret", "/page/secret", "/v1/models/secret"):
        client.get(path)
    client.request("SECRET", "/topics", headers={"tracestate": "a=secret"})
    client.head("/topics")
    found = spans(client)
    assert [span.name for span in found] == [
        "GET",
        "GET /topics",
        "GET /page/{path}",
        "GET /v1/models/{name:path}",
        "HTTP /topics",
        "HEAD /topics",
    ]
    assert not [span for span in found if "secret" in span.to_json().lower()]


def test_probes_are_not_traced(serve, stub, spans):
    client = serve(stub)
    for path in ("/health/live", "/health/ready", "/metrics"):
        client.get(path)
    assert spans(client) == []


def test_each_request_of_a_batch_has_its_spans(serve, stub, spans):
    client = serve(stub)
    client.post("/respond/batch", json={"requests": [BODY, BODY | {"seed": 2}, {"context": []}]})
    request, *rest = spans(client)
    assert request.name == "POST /respond/batch"
    assert sorted(span.name for span in rest) == ["decode", "decode", "queue", "queue"]
    assert {span.parent.span_id for span in rest} == {request.context.span_id}


def test_errors_show_their_type_and_no_message(serve, stub, spans, monkeypatch):
    def fail(*_args: object, **_asked: object) -> None:
        raise RuntimeError("my secret words")

    client = serve(stub)
    monkeypatch.setattr(stub, "respond", fail)
    assert client.post("/respond", json=BODY).status_code == 500
    request, queue, decode = spans(client)
    assert [span.status.status_code.name for span in (request, queue, decode)] == ["ERROR", "UNSET", "ERROR"]
    assert (request.attributes["error.type"], decode.attributes["error.type"]) == ("500", "RuntimeError")
    assert not [span for span in (request, queue, decode) if "secret" in span.to_json() or span.events]


def test_a_request_that_times_out_in_the_queue_has_no_decoding(serve, stub, spans):
    client = serve(stub, max_rows=1, timeout_s=0.2)
    stub.gate.clear()
    threads = [threading.Thread(target=client.post, args=("/respond",), kwargs={"json": BODY}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    stub.gate.set()
    found = spans(client)
    assert sorted(span.name for span in found) == ["POST /respond", "POST /respond", "decode", "queue", "queue"]
    waiting = [span for span in found if span.name == "queue"][1]
    assert waiting.attributes["error.type"] == "Busy"
    assert waiting.end_time - waiting.start_time >= 0.19e9


def test_the_last_spans_are_sent_when_the_service_stops(stub, exporter):
    with stopping(stub) as client:
        client.get("/topics")
    assert [span.name for span in exporter.get_finished_spans()] == ["GET /topics"]


@pytest.fixture
def collector() -> Iterator[HTTPServer]:
    """A collector on a port of this machine; `status` is what it answers, and `received` what it got."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.received.append((self.path, body))  # type: ignore[attr-defined]
            self.send_response(self.server.status)  # type: ignore[attr-defined]
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    server.received, server.status = [], 200  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_collector_gets_the_spans_and_no_text(stub, collector, monkeypatch):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason=REASON)
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")  # FastAPI's own spans would hold paths and queries
    with stopping(stub) as client:
        text = client.post("/respond", json=BODY).json()["responses"][0]["text"]
    ((path, body),) = collector.received
    (found,) = ExportTraceServiceRequest.FromString(body).resource_spans
    assert path == "/v1/traces"
    assert {each.key: each.value.string_value for each in found.resource.attributes}["service.name"] == "mine"
    (ours,) = found.scope_spans
    assert ours.scope.name == "dialog-cvae"
    assert {span.name for span in ours.spans} == {"POST /respond", "queue", "decode"}
    assert b"secret" not in body
    assert text.encode() not in body


def test_requests_do_not_notice_a_collector_that_refuses(stub, collector, monkeypatch, capsys):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason=REASON)
    collector.status = 400
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{collector.server_port}")
    with stopping(stub) as client:
        assert client.post("/respond", json=BODY).status_code == 200
    assert collector.received
    logged = capsys.readouterr().err
    assert "Failed to export" in logged
    assert "secret" not in logged


def test_an_exporter_that_hangs_delays_the_end_only_so_long(stub, exporter, monkeypatch):
    released, finished = threading.Event(), threading.Event()

    def hanging(_spans: Any) -> None:
        released.wait(10)  # OpenTelemetry itself gives an exporter up after 30 s
        finished.set()

    monkeypatch.setattr(exporter, "export", hanging)
    monkeypatch.setattr(traces, "CLOSING_S", 0.1)
    with stopping(stub) as client:
        assert client.post("/respond", json=BODY).status_code == 200
    try:
        assert not finished.is_set()
    finally:
        released.set()
    assert finished.wait(10)


def test_without_the_packages_there_is_one_warning_and_the_service_runs(serve, stub, monkeypatch, capsys):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    client = serve(stub)
    assert client.post("/respond", json=BODY).status_code == 200
    warnings = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert len(warnings) == 1
    assert f"no traces are sent variable={ENDPOINT}" in warnings[0]
    assert "pip install 'dialog-cvae[trace]'" in warnings[0]


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "OTEL_TRACES_EXPORTER: should be otlp or none, got 'jaeger'"),
        ({ENDPOINT: "collector:4318"}, f"{ENDPOINT}: should begin with http:// or https://"),
        (
            {ENDPOINT: "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: should be http/protobuf, got 'grpc'",
        ),
    ],
)
def test_what_cannot_be_sent_is_said_at_the_start(serve, stub, capsys, monkeypatch, variables, reason):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    client = serve(stub)
    assert client.app_state["traces"] is None
    assert [line.rpartition("reason=")[2] for line in capsys.readouterr().err.splitlines() if "WARNING" in line] == [
        f'"{reason}"'
    ]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {ENDPOINT: ""},
        {ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"},
        {ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_traces_are_off_unless_a_variable_asks_for_them(variables, capsys):
    assert traces.open_traces(variables) is None
    assert capsys.readouterr().err == ""
