"""Traces for OpenTelemetry: a span for each request, and within it spans of its wait in the queue and of its decoding.

Open it to change what a span holds: never what people said, a path, a query or the message of an error. Traces are off
unless one of OpenTelemetry's variables asks for them; only then are the packages imported.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import logs, problems
from api.prometheus import METHODS
from api.request_log import UNMATCHED, route_of
from api.request_record import path_below, record_of
from dialog_cvae import extras

NAME = extras.DISTRIBUTION  # name in traces, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES gives another
PROBES = {"/health/live", "/health/ready", "/metrics"}  # not traced: they are requested every few seconds
CLOSING_S = 5.0  # seconds for sending the last spans when the server stops
PARENT = b"traceparent"
_MAX_PARENT_CHARS = 512  # OpenTelemetry logs a warning for longer ones, and any client could send one
_EXPORTER = "OTEL_TRACES_EXPORTER"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def open_traces(environment: Mapping[str, str] = os.environ) -> Traces | None:
    """Begin to send traces, if a variable asks for them; if that is impossible, log why and go on without."""
    variable = _asked_by(environment)
    if variable is None:
        return None
    logs.adopt("opentelemetry")  # its errors, such as those of a collector that can't be reached
    try:
        reason = _unsupported(environment)
        traces = None if reason else Traces(_exporter())
    except ImportError:
        reason = extras.explanation("trace", ["opentelemetry-sdk"])
    except Exception as error:  # the service must run, even if the packages fail on their variables
        reason = f"{type(error).__name__}: {error}"
    if reason:
        logs.event("no traces are sent", logging.WARNING, variable=variable, reason=reason)
        return None
    logs.event("traces are sent", variable=variable)
    return traces


class TimedJob(Protocol):
    """What the spans need to know about a job in a model's queue; times are nanoseconds since 1970."""

    rows: int
    tokens: int
    accepted: int
    admitted: int | None


class Traces:
    """Makes spans and sends them from a thread of its own, so that no request waits for it or gets its errors.

    Args:
        exporter: receives finished spans; one of `opentelemetry.sdk.trace.export`.

    Raises:
        ImportError: OpenTelemetry's packages are not installed.
    """

    def __init__(self, exporter: Any) -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        own = Resource({SERVICE_NAME: NAME, SERVICE_VERSION: version(NAME)})
        given = Resource.create()
        named = not str(given.attributes[SERVICE_NAME]).startswith("unknown_service")
        # Not the provider of the whole process, which FastAPI and others would use too.
        self._provider = TracerProvider(
            resource=own.merge(given) if named else given.merge(own), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(NAME, version(NAME))

    def request(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> RequestSpan:
        """Begin the span of a request, as part of the client's trace if it began one."""
        return RequestSpan(self._tracer, method, headers)

    async def close(self) -> None:
        """Send the last spans. A collector that does not answer delays the end by `CLOSING_S` at most."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, CLOSING_S)


class RequestSpan:
    """The span of a request, from its headers to the end of its answer."""

    def __init__(self, tracer: Any, method: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        from opentelemetry import trace

        self._api, self._tracer = trace, tracer
        self._method = method if method in METHODS else "HTTP"  # as OpenTelemetry names the spans of other methods
        self._models: set[str] = set()
        self._span = tracer.start_span(
            self._method,
            context=_parent(headers),
            kind=trace.SpanKind.SERVER,
            attributes={"http.request.method": method if method in METHODS else "_OTHER"},
        )
        self._context = trace.set_span_in_context(self._span)

    def in_model(self, name: str) -> ModelSpans:
        """The spans of the request, or of one in a batch, in the model of this name."""
        self._models.add(name)
        return ModelSpans(self._api, self._tracer, self._context, name)

    def end(self, route: str, status: int, request_id: str) -> None:
        """End the span: the request is answered, with this status."""
        span = self._span
        if route != UNMATCHED:
            span.update_name(f"{self._method} {route}")
            span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        span.set_attribute("dialog_cvae.request_id", request_id)
        if self._models:
            span.set_attribute("dialog_cvae.model", ",".join(sorted(self._models)))
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(self._api.StatusCode.ERROR)
        span.end()


class ModelSpans:
    """The spans of one job in a model's queue: `queue` until it joins the batch, then `decode`."""

    def __init__(self, api: Any, tracer: Any, context: Any, model: str) -> None:
        self._api, self._tracer, self._context, self._model = api, tracer, context, model

    def ended(self, job: TimedJob, error: BaseException | None) -> None:
        """Make the spans of a job that was answered or ended with an error."""
        now = time.time_ns()
        admitted = job.admitted
        self._add("queue", job.accepted, admitted or now, {}, error if admitted is None else None)
        if admitted is not None:
            counts = {"dialog_cvae.rows": job.rows, "dialog_cvae.tokens": job.tokens}
            self._add("decode", admitted, now, counts, error)

    def _add(self, name: str, began: int, ended: int, counts: dict[str, int], error: BaseException | None) -> None:
        attributes = {"dialog_cvae.model": self._model, **counts}
        if error is not None:
            attributes["error.type"] = type(error).__qualname__
        span = self._tracer.start_span(name, context=self._context, attributes=attributes, start_time=began)
        if error is not None:
            span.set_status(self._api.StatusCode.ERROR)
        span.end(ended)


_current: ContextVar[RequestSpan | None] = ContextVar("request span", default=None)


def in_model(name: str) -> ModelSpans | None:
    """The spans of the present request in the model of this name; None if it is not traced."""
    request = _current.get()
    return None if request is None else request.in_model(name)


class TraceRequests:
    """Middleware: makes a span for each request except `PROBES`. It needs the request's record (`api.request_log`)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, within its span."""
        traces: Traces | None = scope.get("state", {}).get("traces") if scope["type"] == "http" else None
        if traces is None or path_below(scope) in PROBES:
            await self.app(scope, receive, send)
            return
        record, status = record_of(scope), problems.CLIENT_GONE

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        span = traces.request(record.method, scope["headers"])
        token = _current.set(span)
        try:
            await self.app(scope, receive, sending)
        finally:
            _current.reset(token)
            span.end(route_of(scope), status, record.request_id)


def _asked_by(environment: Mapping[str, str]) -> str | None:
    """The variable that asks for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if wanted := environment.get(_EXPORTER, "").strip().lower():
        return None if wanted == "none" else _EXPORTER
    return next((name for name in _ENDPOINTS if environment.get(name, "").strip()), None)


def _unsupported(environment: Mapping[str, str]) -> str | None:
    """Why traces can't be sent as the variables ask; None if they can."""
    wanted = environment.get(_EXPORTER, "").strip() or "otlp"
    if wanted.lower() != "otlp":
        return f"{_EXPORTER}: should be otlp or none, got {wanted!r}"
    name, protocol = _first(_PROTOCOLS, environment)
    if protocol not in ("", "http/protobuf"):
        return f"{name}: should be http/protobuf, got {protocol!r}"
    name, endpoint = _first(_ENDPOINTS, environment)
    if endpoint and not endpoint.lower().startswith(("http://", "https://")):
        return f"{name}: should begin with http:// or https://"
    return None


def _first(names: Iterable[str], environment: Mapping[str, str]) -> tuple[str, str]:
    """The first of these variables that is set, and its value; both empty if none is set."""
    found = ((name, environment.get(name, "").strip()) for name in names)
    return next((each for each in found if each[1]), ("", ""))


def _exporter() -> Any:
    """Sends spans to a collector over HTTP; it reads its address and all else from OpenTelemetry's variables."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _parent(headers: Iterable[tuple[bytes, bytes]]) -> Any:
    """The client's span that `traceparent` names; without a valid header, a new trace begins."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    sent = [value.decode("latin-1") for name, value in headers if name.lower() == PARENT]
    if len(sent) != 1 or len(sent[0]) > _MAX_PARENT_CHARS:
        return Context()
    return TraceContextTextMapPropagator().extract({PARENT.decode(): sent[0]}, Context())
