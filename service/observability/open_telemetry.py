"""Spans through OpenTelemetry's SDK, sent by OTLP over HTTP.

Imported with `TEDDY_TRACES` only; needs `teddy[otel]`.

The standard variables say the rest: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`,
`OTEL_TRACES_SAMPLER` and so on. Spans wait in a bounded queue and are sent by a thread of the SDK;
a slow or absent collector costs spans, not requests. A request with its two children costs about 60
us, one that the sampler drops 7.

Requests share batches, so one run of the network belongs to many traces. Each of them gets a child
span of its own with the batch's times. The other way, one span for the batch with a link to each
request, would be kept or dropped by a sampler that knows nothing of those requests, and few viewers
follow links back. The price: the times of these children, added up, are more than the network's
time.
"""

import logging
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from threading import Thread

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.trace import Tracer as OpenTelemetry
from starlette.types import Scope

from teddy.service.errors import SettingsError
from teddy.service.observability.tracing import Attributes, TraceContext

LAST_FLUSH_SECONDS = 3.0
PROTOCOL = "http/protobuf"
EXPORTERS: dict[str, Callable[[], SpanExporter]] = {
    "otlp": OTLPSpanExporter,
    "console": ConsoleSpanExporter,
}
METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
)


class OpenTelemetryTracer:
    """Records a server span for each request that the sampler keeps.

    Raises SettingsError for an `OTEL_*` variable that it cannot follow.
    """

    def __init__(self) -> None:
        # All that it ever says is which part of a client's `tracestate` is wrong, and that quotes
        # what was sent.
        logging.getLogger("opentelemetry.trace.span").setLevel(logging.CRITICAL)
        self._ids = RequestIds()
        try:
            self._exporters = make_exporters()
            self._provider = TracerProvider(
                resource=resource(), id_generator=self._ids, shutdown_on_exit=False
            )
            for exporter in self._exporters:
                self._provider.add_span_processor(BatchSpanProcessor(exporter))
        except ValueError as error:
            raise SettingsError(
                f"an OTEL_* variable has a value that does not do: {error}"
            ) from error
        self._tracer = self._provider.get_tracer("teddy", version("teddy"))

    def begin(self, context: TraceContext, scope: Scope) -> "RequestSpan | None":
        """Return the span of a request that begins now; None for one that is not recorded."""
        method = scope["method"] if scope["method"] in METHODS else "HTTP"
        self._ids.context = context
        span = self._tracer.start_span(
            method, remote_parent(context), SpanKind.SERVER, request_attributes(scope)
        )
        self._ids.context = None
        return RequestSpan(self._tracer, span, method) if span.is_recording() else None

    def close(self) -> None:
        """Send what has been recorded; what a slow collector has not taken in time is lost."""
        closing = Thread(target=self._provider.shutdown, name="traces-flush", daemon=True)
        closing.start()
        closing.join(LAST_FLUSH_SECONDS)
        if closing.is_alive():
            for exporter in self._exporters:
                exporter.shutdown()  # or it would try again, and the SDK wait, for half a minute


class RequestSpan:
    """A request's span, and its start by the wall clock and the monotonic clock."""

    def __init__(self, tracer: OpenTelemetry, span: Span, method: str) -> None:
        self._tracer = tracer
        self._span = span
        self._method = method
        self._monotonic_seconds = time.monotonic()
        self._wall_nanoseconds = time.time_ns()

    def child(
        self,
        name: str,
        start_seconds: float,
        end_seconds: float,
        attributes: Attributes | None = None,
    ) -> None:
        """Record a part of the request when it is over."""
        start = self._wall_time(max(start_seconds, self._monotonic_seconds))
        context = set_span_in_context(self._span, Context())
        child = self._tracer.start_span(
            name, context, SpanKind.INTERNAL, attributes, start_time=start
        )
        child.end(max(start, self._wall_time(end_seconds)))

    def end(self, status: int, route: str | None, attributes: Attributes) -> None:
        """Record the request."""
        if route is not None:
            self._span.update_name(f"{self._method} {route}")
            self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(StatusCode.ERROR)
        self._span.set_attributes(attributes)
        self._span.end(self._wall_time(time.monotonic()))

    def _wall_time(self, monotonic_seconds: float) -> int:
        return self._wall_nanoseconds + round((monotonic_seconds - self._monotonic_seconds) * 1e9)


class RequestIds(RandomIdGenerator):
    """Gives a request's span the ids that its log line has, and its children new ones."""

    def __init__(self) -> None:
        self.context: TraceContext | None = None

    def generate_trace_id(self) -> int:
        """Return the id of a trace that begins here."""
        return int(self.context.trace_id, 16) if self.context else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Return the id of the span that begins now."""
        return int(self.context.span_id, 16) if self.context else super().generate_span_id()


def remote_parent(context: TraceContext) -> Context:
    """Return the caller's span, as the SDK wants it; empty for a trace that begins here."""
    if context.parent_id is None:
        return Context()
    parent = SpanContext(
        trace_id=int(context.trace_id, 16),
        span_id=int(context.parent_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(context.flags),
        trace_state=TraceState.from_header([context.state]) if context.state else None,
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())


def request_attributes(scope: Scope) -> Attributes:
    """Return what is known of a request at its head, by OpenTelemetry's semantic conventions.

    Without its client's address, and without what a client could write a text into: `url.path`,
    `url.query`, `user_agent.original`, an invented method.
    """
    host, port = scope.get("server") or (None, None)
    known: dict[str, str | int | None] = {
        "http.request.method": scope["method"] if scope["method"] in METHODS else "_OTHER",
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope["http_version"],
        "server.address": host,
        "server.port": port,
    }
    return {name: value for name, value in known.items() if value is not None}


def resource() -> Resource:
    """Return the spans' resource: Teddy, unless OTEL_SERVICE_NAME or other variables name one."""
    ours = Resource({"service.name": "teddy", "service.version": version("teddy")})
    return Resource.create(ours.merge(OTELResourceDetector().detect()).attributes)


def make_exporters() -> list[SpanExporter]:
    """Return the exporters that `OTEL_TRACES_EXPORTER` names.

    Raises SettingsError for an unknown one, or another protocol.
    """
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if (protocol := os.environ.get(name) or PROTOCOL) != PROTOCOL:
            raise SettingsError(f"{name}: {protocol} is not spoken here, only {PROTOCOL}")
    named = [name.strip() for name in (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(",")]
    if unknown := [name for name in named if name not in EXPORTERS and name != "none"]:
        raise SettingsError(
            f"OTEL_TRACES_EXPORTER: {unknown[0]} is not one of {', '.join(EXPORTERS)}, none"
        )
    return [EXPORTERS[name]() for name in named if name != "none"]
