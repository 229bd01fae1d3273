import io
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from teddy.service.app import make_tracer
from teddy.service.errors import SettingsError
from teddy.service.observability.log import configure_logs
from teddy.service.observability.tracing import (
    MOST_STATE_BYTES,
    TRACEPARENT,
    TraceContext,
    Tracer,
)
from teddy.service.settings import Settings
from tests.service.conftest import StreamWriter

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01"
SECRET = "Zyxomma"  # noqa: S105 (a dragonfly)
SCOPE = {
    "type": "http",
    "method": "POST",
    "scheme": "http",
    "http_version": "1.1",
    "server": ("127.0.0.1", 8000),
}
GUARD_SECONDS = 60


def context_of(*parents: str, states: tuple[str, ...] = ()) -> TraceContext:
    headers = [
        (b"host", b"teddy"),
        *((b"traceparent", parent.encode("latin-1")) for parent in parents),
    ]
    return TraceContext.of(
        [*headers, *((b"tracestate", state.encode("latin-1")) for state in states)]
    )


def ids(n_digits: int) -> st.SearchStrategy[str]:
    return st.integers(1, 16**n_digits - 1).map(lambda number: f"{number:0{n_digits}x}")


@given(ids(32), ids(16), st.integers(0, 255))
def test_a_valid_trace_is_continued_under_an_id_of_our_own(
    trace: str, parent: str, flags: int
) -> None:
    context = context_of(f"00-{trace}-{parent}-{flags:02x}")
    assert (context.trace_id, context.parent_id, context.flags) == (trace, parent, flags)
    assert context.sampled == (flags % 2 == 1)
    assert context.span_id != parent
    assert TRACEPARENT.fullmatch(f"00-{context.trace_id}-{context.span_id}-00".encode())


@pytest.mark.parametrize(
    "parent",
    [
        f"cc-{TRACE}-{PARENT}-01",
        f"01-{TRACE}-{PARENT}-00-what-the-future-will-be",
        f"fe-{TRACE}-{PARENT}-ff-",
    ],
)
def test_of_a_later_version_what_is_known_is_read(parent: str) -> None:
    assert (context_of(parent).trace_id, context_of(parent).parent_id) == (TRACE, PARENT)


@pytest.mark.parametrize(
    "parents",
    [
        pytest.param((), id="none"),
        pytest.param(("",), id="empty"),
        pytest.param((VALID, VALID), id="two"),
        pytest.param((f"ff-{TRACE}-{PARENT}-01",), id="the version that is none"),
        pytest.param((f"{VALID}-more",), id="version 00 with more"),
        pytest.param((f"{VALID}-",), id="version 00 with a dash"),
        pytest.param(
            (f"01-{TRACE}-{PARENT}-01.more",), id="a later version with more, but no dash"
        ),
        pytest.param((f"00-{TRACE.upper()}-{PARENT}-01",), id="capitals"),
        pytest.param((f"00-{'0' * 32}-{PARENT}-01",), id="trace of zeros"),
        pytest.param((f"00-{TRACE}-{'0' * 16}-01",), id="parent of zeros"),
        pytest.param((f"00-{TRACE[:-1]}-{PARENT}-01",), id="trace too short"),
        pytest.param((f"00-{TRACE}0-{PARENT}-01",), id="trace too long"),
        pytest.param((f"00-{TRACE[:-1]}g-{PARENT}-01",), id="not hexadecimal"),
        pytest.param((f"00-{TRACE}-{PARENT}-1",), id="flags too short"),
        pytest.param((f"00_{TRACE}_{PARENT}_01",), id="other separators"),
        pytest.param((f"00-{TRACE}-{PARENT}-01\n",), id="a line end"),
    ],
)
def test_without_a_valid_one_a_trace_begins_here(parents: tuple[str, ...]) -> None:
    context = context_of(*parents, states=("vendor=1",))
    assert context.trace_id != TRACE
    assert (context.parent_id, context.sampled, context.state) == (None, False, "")
    assert TRACEPARENT.fullmatch(f"00-{context.trace_id}-{context.span_id}-00".encode())


@given(st.binary())
def test_whatever_comes_the_ids_are_plain(value: bytes) -> None:
    context = TraceContext.of([(b"traceparent", value), (b"tracestate", value)])
    assert TRACEPARENT.fullmatch(f"00-{context.trace_id}-{context.span_id}-00".encode())


def test_ids_do_not_repeat() -> None:
    contexts = [context_of() for _ in range(1000)]
    assert (
        len({context.trace_id for context in contexts})
        == len({context.span_id for context in contexts})
        == 1000
    )


def test_the_state_is_kept_as_it_came_unless_it_is_too_long() -> None:
    assert (
        context_of(f" {VALID}\t", states=("one=1", "two=2,three=3")).state == "one=1,two=2,three=3"
    )
    assert context_of(VALID, states=("a=" + "1" * (MOST_STATE_BYTES - 2),)).state != ""
    assert context_of(VALID, states=("a=" + "1" * (MOST_STATE_BYTES - 1),)).state == ""


def test_opentelemetry_is_imported_only_for_traces() -> None:
    script = """
import sys
from teddy.service.settings import Settings
from teddy.service.app import make_tracer
assert make_tracer(Settings()) is None
# the API alone may be imported by FastAPI
sent = ("opentelemetry.sdk", "opentelemetry.exporter", "google", "requests")
assert not [name for name in sys.modules if name.startswith(sent)]
"""
    subprocess.run([sys.executable, "-c", script], timeout=GUARD_SECONDS, check=True)


def test_without_the_extra_the_refusal_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "teddy.service.observability.open_telemetry", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    with pytest.raises(SettingsError, match=r"TEDDY_TRACES: .* pip install 'teddy\[otel\]'$"):
        make_tracer(Settings(traces=True))


@dataclass
class Collector:
    """A receiver of OTLP over HTTP: what it got, and what it answers, once `gate` is open."""

    url: str = ""
    status: int = 200
    gate: Event = field(default_factory=Event)
    received: list[ExportTraceServiceRequest] = field(default_factory=list)

    def receive(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.received.append(ExportTraceServiceRequest.FromString(body))
        self.gate.wait(GUARD_SECONDS)
        handler.send_response(self.status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def spans(self) -> list[Any]:
        scopes = [
            scope
            for request in self.received
            for each in request.resource_spans
            for scope in each.scope_spans
        ]
        return [span for scope in scopes for span in scope.spans]

    def resource(self) -> dict[str, str]:
        (resource,) = {
            str(each.resource): each.resource for each in self.received[0].resource_spans
        }.values()
        return {each.key: each.value.string_value for each in resource.attributes}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector on a free port, named by the environment."""
    collector = Collector()
    collector.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.receive(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        collector.url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector
        collector.gate.set()
        end_of_flushing()
        server.shutdown()
        thread.join()


def end_of_flushing() -> None:
    """Wait for threads that a tracer has left to themselves: what they log is no other test's."""
    for thread in threading.enumerate():
        if thread.name.startswith(("OtelBatch", "traces-flush")):
            thread.join(GUARD_SECONDS)
            assert not thread.is_alive()


@contextmanager
def tracing() -> Iterator[Tracer]:
    tracer = make_tracer(Settings(traces=True))
    assert tracer is not None
    try:
        yield tracer
    finally:
        tracer.close()


def record(
    tracer: Tracer, context: TraceContext, *, status: int = 200, route: str | None = "/v1/entities"
) -> bool:
    """Record a request that waited a second and was in the network for two; whether it is
    recorded."""
    span = tracer.begin(context, SCOPE)
    if span is not None:
        now = time.monotonic()
        span.child("queue", now, now + 1)
        span.child("network", now + 1, now + 3, {"teddy.batch.words": 7})
        span.end(status, route, {"teddy.words": 3, "teddy.model.name": "en"})
    return span is not None


def attributes_of(span: Any) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes
    }


def test_a_request_is_a_span_under_its_callers_with_its_wait_and_its_work_under_it(
    collector: Collector,
) -> None:
    context = context_of(VALID, states=("vendor=1",))
    with tracing() as tracer:
        assert record(tracer, context)
    by_name = {span.name: span for span in collector.spans()}
    request, queue, network = (
        by_name.pop(name) for name in ("POST /v1/entities", "queue", "network")
    )
    assert by_name == {}

    assert {span.trace_id.hex() for span in (request, queue, network)} == {TRACE}
    assert (request.parent_span_id.hex(), request.span_id.hex()) == (PARENT, context.span_id)
    assert queue.parent_span_id == network.parent_span_id == request.span_id
    assert (request.trace_state, request.kind) == ("vendor=1", request.SPAN_KIND_SERVER)
    assert queue.end_time_unix_nano - queue.start_time_unix_nano == pytest.approx(1e9)
    assert network.end_time_unix_nano - network.start_time_unix_nano == pytest.approx(2e9)
    assert request.start_time_unix_nano <= queue.start_time_unix_nano
    assert queue.end_time_unix_nano == network.start_time_unix_nano
    assert attributes_of(network) == {"teddy.batch.words": 7}
    assert attributes_of(request) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/v1/entities",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": 8000,
        "teddy.model.name": "en",
        "teddy.words": 3,
        "url.scheme": "http",
    }


@pytest.mark.anyio
async def test_a_request_to_the_service_is_recorded_by_its_short_way_and_its_text_is_not(
    collector: Collector, serving: Any
) -> None:
    collector.gate.set()
    async with serving(traces=True) as client:
        body = {"text": "Zanzibar met Ada"}
        assert (
            await client.post("/v1/entities", json=body, headers={"traceparent": VALID})
        ).is_success
    by_name = {span.name: span for span in collector.spans()}
    assert set(by_name) == {"POST /v1/entities", "queue", "network"}
    request = by_name["POST /v1/entities"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert by_name["queue"].parent_span_id == by_name["network"].parent_span_id == request.span_id
    assert by_name["queue"].end_time_unix_nano <= by_name["network"].start_time_unix_nano
    assert by_name["network"].end_time_unix_nano <= request.end_time_unix_nano
    found = attributes_of(request)
    assert (
        found["teddy.words"],
        found["teddy.model.name"],
        found["http.response.status_code"],
    ) == (3, "en", 200)
    assert "Zanzibar" not in str(collector.received)


def test_a_trace_that_begins_here_has_the_ids_of_the_log_line(collector: Collector) -> None:
    context = context_of()
    with tracing() as tracer:
        assert record(tracer, context)
    (request,) = [span for span in collector.spans() if span.kind == span.SPAN_KIND_SERVER]
    assert (request.trace_id.hex(), request.span_id.hex()) == (context.trace_id, context.span_id)
    assert request.parent_span_id == b""


def test_an_error_of_ours_is_one_in_the_trace_and_an_unknown_path_has_no_route(
    collector: Collector,
) -> None:
    with tracing() as tracer:
        for status in (404, 500):
            assert record(tracer, context_of(), status=status, route=None)
    found, failed = (span for span in collector.spans() if span.kind == span.SPAN_KIND_SERVER)
    assert (found.name, found.status.code) == ("POST", found.status.STATUS_CODE_UNSET)
    assert (failed.status.code, attributes_of(failed)["error.type"]) == (
        failed.status.STATUS_CODE_ERROR,
        "500",
    )
    assert "http.route" not in attributes_of(found)


def test_an_invented_method_is_not_recorded(collector: Collector) -> None:
    with tracing() as tracer:
        span = tracer.begin(context_of(), SCOPE | {"method": SECRET, "server": None})
        assert span is not None
        span.end(405, None, {})
    (recorded,) = collector.spans()
    assert recorded.name == "HTTP"
    assert SECRET not in str(recorded)
    assert attributes_of(recorded)["http.request.method"] == "_OTHER"


def test_the_caller_or_the_sampler_decides_what_is_recorded(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracing() as tracer:
        assert not record(tracer, context_of(VALID.removesuffix("1") + "0"))
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    with tracing() as tracer:
        assert not record(tracer, context_of())
        assert record(tracer, context_of(VALID))
    assert len(collector.spans()) == 3


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "teddy"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine"),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "service.name=ours,deployment.environment.name=test"},
            "ours",
        ),
    ],
)
def test_the_service_is_teddy_unless_the_environment_says_otherwise(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], name: str
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    with tracing() as tracer:
        record(tracer, context_of())
    assert collector.resource()["service.name"] == name
    assert collector.resource()["telemetry.sdk.language"] == "python"


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        (
            "OTEL_TRACES_EXPORTER",
            "zipkin",
            "OTEL_TRACES_EXPORTER: zipkin is not one of otlp, console, none",
        ),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "OTEL_EXPORTER_OTLP_PROTOCOL: grpc is not spoken here",
        ),
        (
            "OTEL_BSP_MAX_QUEUE_SIZE",
            "1",
            "an OTEL_.* variable has a value that does not do: max_export_batch_size",
        ),
    ],
)
def test_a_variable_that_cannot_be_followed_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=reason):
        make_tracer(Settings(traces=True))


def test_a_collector_that_never_answers_delays_no_request_and_not_the_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teddy.service.observability.open_telemetry.LAST_FLUSH_SECONDS", 0.1)
    collector.gate.clear()
    with tracing() as tracer:
        # more than the queue holds, and than one message
        assert all(record(tracer, context_of()) for _ in range(2000))
    assert not collector.gate.is_set()


@pytest.mark.parametrize("status", [400, 503])
def test_a_collector_that_refuses_is_a_line_in_the_log(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr("teddy.service.observability.open_telemetry.LAST_FLUSH_SECONDS", 0.1)
    stream = io.StringIO()
    configure_logs("info", StreamWriter(stream))
    collector.status = status
    with tracing() as tracer:
        assert record(tracer, context_of())
    until = time.monotonic() + GUARD_SECONDS
    while '"logger":"opentelemetry' not in stream.getvalue():
        assert time.monotonic() < until
        time.sleep(0.001)


@settings(max_examples=20, deadline=None)
@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0")))
def test_what_a_client_writes_into_the_state_is_not_logged(state: str) -> None:
    stream = io.StringIO()
    configure_logs("debug", StreamWriter(stream))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_TRACES_EXPORTER", "none")
        with tracing() as tracer:
            for each in (
                state,
                f"{SECRET} {state}",
                f"{SECRET}={state}",
                f"a=1,a={SECRET}",
                f"a=1,{SECRET}",
            ):
                assert tracer.begin(context_of(VALID, states=(each,)), SCOPE) is not None
    assert SECRET not in stream.getvalue()


def test_the_event_loops_clock_is_the_one_that_spans_are_timed_by() -> None:
    loop = uvloop.new_event_loop()
    try:
        assert loop.time() == pytest.approx(time.monotonic(), abs=GUARD_SECONDS)
    finally:
        loop.close()


def test_without_traces_there_is_no_tracer() -> None:
    assert make_tracer(Settings()) is None


@pytest.fixture(autouse=True)
def _no_opentelemetry_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever the environment has; and loggers speak again in the end."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    logger = logging.getLogger("opentelemetry.trace.span")
    level = logger.level
    yield
    logger.setLevel(level)
