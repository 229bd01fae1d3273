"""The load generator finds what is wrong and counts time as it says: one that cannot fail measures
nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.connection import Answer
from benchmarks.load.generator import Load
from benchmarks.load.question import Question, batch_questions, single_questions
from benchmarks.load.server import counted_statuses, parse_metrics
from benchmarks.load.tally import percentile

VERSION = "0123456789ab"
ADA = {"start": 0, "end": 3, "label": "PER", "score": 0.9, "text": "Ada"}
QUESTION = single_questions(["Ada"], {VERSION: [[ADA]]})[0]


def answer(content: Any, status: int = 200, request_id: bytes = b"1", **headers: bytes) -> Answer:
    given_headers = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return Answer(
        status, {b"x-request-id": request_id, **given_headers}, json.dumps(content).encode()
    )


def entities(*found: object, version: str = VERSION) -> dict[str, Any]:
    return {"model": {"name": "en", "version": version}, "entities": list(found)}


def test_a_right_answer_has_no_fault_and_is_right_the_second_time_too() -> None:
    right = answer(entities({**ADA, "score": 0.9001}))
    assert QUESTION.fault(right, b"1") is None
    assert QUESTION.fault(right, b"1") is None


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (answer(entities(ADA), request_id=b"2"), "another request"),
        (answer(entities()), "wrong entities"),
        (answer(entities({**ADA, "label": "ORG"})), "wrong entities"),
        (answer(entities({**ADA, "score": 0.8})), "wrong entities"),
        (answer(entities(ADA, version="ba9876543210")), "none of the models"),
        (answer({"results": []}), "not an answer"),
        (answer({}, status=500, content_type=b"text/plain"), "without a problem"),
        (
            answer(
                {"status": 503, "request_id": "1"},
                status=503,
                content_type=b"application/problem+json",
            ),
            "without Retry-After",
        ),
    ],
)
def test_a_wrong_answer_is_found(wrong: Answer, why: str) -> None:
    assert why in (QUESTION.fault(wrong, b"1") or "")


def test_texts_of_a_batch_that_changed_places_are_found() -> None:
    question = batch_questions(["Ada", ""], {VERSION: [[ADA], []]}, [2])[0]
    results = [{"entities": [ADA]}, {"entities": []}]
    content = {"model": {"version": VERSION}, "results": results}
    assert question.fault(answer(content), b"1") is None
    assert question.fault(answer({**content, "results": results[::-1]}), b"1") == "wrong entities"


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(1, 100))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(
    values: list[float], percent: float
) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100 - 1e-9
    assert sum(value < found for value in values) < len(values) * percent / 100 + 1e-9


@asynccontextmanager
async def stalling(stall_seconds: float) -> AsyncIterator[int]:
    """A server that answers nobody for a while after its first request, and then everybody at
    once."""
    stalled: asyncio.Task[None] | None = None

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal stalled
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(len(QUESTION.body))
            stalled = stalled or asyncio.create_task(asyncio.sleep(stall_seconds))
            await asyncio.shield(stalled)
            body = json.dumps(entities(ADA)).encode()
            request_id = head.rstrip().rpartition(b" ")[2]
            writer.write(
                b"HTTP/1.1 200 OK\r\nX-Request-ID: %s\r\nContent-Length: %d\r\n\r\n%s"
                % (request_id, len(body), body)
            )

    async def until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(until_closed, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.anyio
async def test_a_stall_is_charged_for_all_who_would_have_come_meanwhile() -> None:
    async with asyncio.timeout(30), stalling(0.5) as port:
        tally = await Load.of(port, [QUESTION]).open(rate=100, seconds=1, connections=1)
    assert (tally.sent, tally.ok, tally.n_faults) == (100, 100, 0)
    # Half of them were due while nothing moved, and waited a quarter of a second on average.
    assert sum(tally.latencies[200]) > 0.9 * 50 * 0.25


@pytest.mark.anyio
async def test_a_closed_loop_ends_when_its_questions_do() -> None:
    async with asyncio.timeout(30), stalling(0) as port:
        tally = await Load(port, iter([QUESTION] * 50)).closed(4, 30)
    assert (tally.sent, tally.ok, tally.words) == (50, 50, 50)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_requests_by_status_are_read_from_an_exposition() -> None:
    exposition = b"""# TYPE teddy_requests_total counter
teddy_requests_total{method="POST",route="/v1/entities",status="200"} 3.0
teddy_requests_total{method="POST",route="/v1/entities",status="422"} 2.0
teddy_requests_total{method="GET",route="/v1/models",status="200"} 4.0
"""
    metrics = parse_metrics(exposition)
    assert counted_statuses(metrics) == {200: 7, 422: 2}
    assert counted_statuses(metrics, "/v1/entities") == {200: 3, 422: 2}


def test_a_compressed_question_is_the_same_question() -> None:
    packed = QUESTION.gzipped()
    head, body = packed.request(b"1")
    assert b"Content-Encoding: gzip" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert packed.fault(answer(entities(ADA)), b"1") is None
    assert isinstance(packed, Question)
