import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.service.api.line_tagging import WINDOW_BYTES, WINDOW_LINES
from teddy.service.client import (
    AsyncClient,
    Client,
    ModelVersion,
    Options,
    Refusal,
    Result,
    RetryPolicy,
    StreamBrokenError,
    TeddyServiceError,
    Timing,
    UnreachableError,
)
from teddy.service.client.conduct import STREAM_BYTES, STREAM_LINES, Chunks
from tests.service.live import Live, listening

pytestmark = pytest.mark.anyio

MODEL = {"name": "en", "version": "0123456789ab"}
EMPTY = {"model": MODEL, "entities": []}
TEXTS = ["Ada met Grace", "", "Mississippian", "é 中 \U0001f9f8 Ada", "\u2028 Up"]


@pytest.fixture
async def live(predictor: Any) -> AsyncIterator[Live]:
    async with listening(predictor) as live:
        yield live


@dataclass
class Machine:
    """A clock that only sleep moves, dice that show their maximum, and a service that answers as it
    is told."""

    answers: list[httpx.Response | Exception]
    now: float = 1_000_000_000.0
    slept: list[float] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, **options: Any) -> Client:
        timing = Timing(monotonic=lambda: self.now, wall=lambda: self.now, draw=lambda: 1.0)
        transport = httpx.MockTransport(self.answer)
        return Client(
            "http://teddy", transport=transport, timing=timing, sleep=self.sleep, **options
        )


def problem(status: int, kind: str, **headers: str) -> httpx.Response:
    content = {
        "type": f"urn:teddy:problem:{kind}",
        "title": kind,
        "status": status,
        "detail": "Because.",
    }
    named = {"Content-Type": "application/problem+json", "X-Request-ID": "abc"} | headers
    return httpx.Response(
        status,
        content=json.dumps(content),
        headers={k.replace("_", "-"): v for k, v in named.items()},
    )


def lines_of(*answers: dict[str, Any]) -> httpx.Response:
    content = b"".join(json.dumps(answer).encode() + b"\n" for answer in answers)
    return httpx.Response(
        200, content=content, headers={"X-Teddy-Model": "en", "X-Teddy-Model-Version": "1"}
    )


async def test_both_clients_find_what_the_service_finds(live: Live) -> None:
    def use(found: list[Any]) -> None:
        with Client(live.url) as client:
            found += [client.tag(text, tokens=True) for text in TEXTS]
            found += client.tag_batch(TEXTS, tokens=True)
            found += client.stream(TEXTS, tokens=True)
            found += client.stream(iter(TEXTS), tokens=True, together=2)

    async def use_async(found: list[Any]) -> None:
        async with AsyncClient(live.url) as client:
            found += [await client.tag(text, tokens=True) for text in TEXTS]
            found += [result async for result in client.tag_batch(each_of(TEXTS), tokens=True)]
            found += [result async for result in client.stream(TEXTS, tokens=True)]
            found += [
                result async for result in client.stream(each_of(TEXTS), tokens=True, together=2)
            ]

    blocking: list[Result] = []
    asynchronous: list[Result] = []
    await asyncio.to_thread(use, blocking)
    await use_async(asynchronous)
    assert blocking == asynchronous
    assert blocking == blocking[: len(TEXTS)] * 4
    assert [[entity.text for entity in result.entities] for result in blocking[:3]] == [
        ["Ada", "Grace"],
        [],
        TEXTS[2:3],
    ]
    assert blocking[0].tokens is not None
    assert [TEXTS[0][token.start : token.end] for token in blocking[0].tokens] == TEXTS[0].split()
    assert blocking[0].model == ModelVersion(**MODEL)


async def each_of(texts: Sequence[str]) -> AsyncIterator[str]:
    for text in texts:
        await asyncio.sleep(0)
        yield text


async def test_options_mean_the_same_in_every_method(live: Live) -> None:
    text = "Ada the Mississippian"

    def use() -> None:
        with Client(live.url) as client:
            asked: list[Options] = [
                {},
                {"labels": ["LONG"]},
                {"labels": []},
                {"min_score": 0.5},
                {"offset_unit": "utf16"},
            ]
            for options in asked:
                found: list[Any] = [
                    client.tag(text, **options),
                    *client.tag_batch([text], **options),
                ]
                assert [*found, *client.stream([text], **options)] == found[:1] * 3

    await asyncio.to_thread(use)


async def test_the_models_and_whether_they_are_ready(live: Live) -> None:
    async with AsyncClient(live.url) as client:
        (summary,) = await client.models()
        assert (summary.name, summary.default, summary.labels) == ("en", True, ("UPPER", "LONG"))
        details = await client.model("en")
        assert details.summary == summary
        assert details.published["training_data"] == [{"name": "none", "licence": "CC0-1.0"}]
        with pytest.raises(TeddyServiceError, match="404 unknown-model"):
            await client.model("none")
        with pytest.raises(TeddyServiceError, match="404 not-found"):
            await client.model("../models/en")
        assert await client.ready()
        live.app.state.drain.begin()
        assert not await client.ready()
    async with AsyncClient("http://127.0.0.1:9") as client:
        assert not await client.ready()


async def test_a_stream_of_any_size_ends_however_full_the_buffers_are(
    live: Live, predictor: Any
) -> None:
    predictor.batches = _Forgetful()
    n_texts, text = 500, ("A" * 999 + " ") * 100

    def stream() -> int:
        with Client(live.url) as client:
            results = client.stream(text for _ in range(n_texts))
            return sum(len(result.entities) for result in results if isinstance(result, Result))

    assert n_texts * len(text) == 50_000_000
    n_answers = await asyncio.wait_for(asyncio.to_thread(stream), 240)
    assert n_answers == n_texts * 100


class _Forgetful(list[Any]):
    def append(self, item: Any) -> None:
        pass


def test_what_a_client_sends_at_once_is_within_what_the_service_takes_before_it_is_read_from() -> (
    None
):
    assert STREAM_BYTES <= WINDOW_BYTES
    assert STREAM_LINES <= WINDOW_LINES


async def test_a_text_that_cannot_be_tagged_is_refused_in_its_place(live: Live) -> None:
    async with AsyncClient(live.url) as client:
        results = [result async for result in client.stream(["Ada", "\ud800", "Kaputt", "Eve"])]
        assert [isinstance(result, Refusal) for result in results] == [False, True, True, False]
        assert [(each.status, each.kind) for each in results if isinstance(each, Refusal)] == [
            (422, "invalid-request"),
            (500, "internal-error"),
        ]
        with pytest.raises(TeddyServiceError, match="422 invalid-request"):
            await client.tag("\ud800")


async def test_texts_are_taken_no_sooner_than_results(live: Live) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "Ada"

    def use() -> None:
        with Client(live.url) as client:
            for calls in (client.stream, client.tag_batch):
                before = taken
                for n, _ in zip(range(1, 8), calls(endless(), together=3), strict=False):
                    assert taken - before <= n + 2

    await asyncio.to_thread(use)


@given(st.lists(st.text(max_size=6)), st.integers(1, 4), st.integers(1, 8))
def test_chunks_hold_all_items_in_order_within_their_bounds(
    items: list[str], most_items: int, most_size: int
) -> None:
    chunks = list(Chunks[str](most_items, most_size).of(items))
    assert [item for chunk in chunks for item in chunk] == items
    for chunk in chunks:
        assert 1 <= len(chunk) <= most_items
        assert len(chunk) == 1 or sum(map(len, chunk)) <= most_size


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
def test_who_is_told_when_to_come_back_comes_back_then(status: int, as_date: bool) -> None:
    machine = Machine([], now=1_000_000_000.0)
    when = formatdate(machine.now + 7, usegmt=True) if as_date else "7"
    machine.answers = [
        problem(status, "queue-full", Retry_After=when),
        httpx.Response(200, json=EMPTY),
    ]
    assert machine.client().tag("").entities == ()
    assert machine.slept == [7.0]


def test_pauses_double_up_to_the_longest_and_are_drawn_at_random_below_that() -> None:
    policy = RetryPolicy(attempts=5, first_pause_seconds=1, longest_pause_seconds=3)
    machine = Machine([*[httpx.ConnectError("no")] * 4, httpx.Response(200, json=EMPTY)])
    machine.client(retries=policy).tag("")
    assert machine.slept == [1, 2, 3, 3]


def test_the_time_that_is_left_is_told_and_never_passed() -> None:
    machine = Machine([problem(503, "queue-full", Retry_After="4")] * 3)
    with pytest.raises(TeddyServiceError) as raised:
        machine.client(timeout_seconds=10).tag("")
    assert [request.headers["X-Request-Timeout"] for request in machine.requests] == [
        "10.000",
        "6.000",
        "2.000",
    ]
    assert machine.slept == [4, 4]
    error = raised.value
    assert (error.status, error.kind, error.detail) == (503, "queue-full", "Because.")
    assert (error.request_id, error.retry_after_seconds) == ("abc", 4.0)


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 500, 504])
def test_what_would_fail_again_is_not_tried_again(status: int) -> None:
    machine = Machine([problem(status, "whatever")])
    with pytest.raises(TeddyServiceError, match=f"{status} whatever: Because."):
        machine.client().tag("")
    assert machine.slept == []


def test_a_reload_is_tried_once() -> None:
    for failure in (httpx.ReadError("broke"), problem(503, "not-ready")):
        machine = Machine([failure])
        with pytest.raises((UnreachableError, TeddyServiceError)):
            machine.client().reload("en")
        assert len(machine.requests) == 1


def test_a_service_that_is_not_there_is_given_up() -> None:
    machine = Machine([httpx.ConnectError("refused")] * 3)
    with pytest.raises(UnreachableError, match="no answer: refused"):
        machine.client(retries=RetryPolicy(attempts=3)).tag("")
    assert len(machine.requests) == 3


def test_an_error_page_of_somebody_else_is_an_error_too() -> None:
    machine = Machine([httpx.Response(404, text="<h1>Who are you?</h1>")])
    with pytest.raises(TeddyServiceError) as raised:
        machine.client().tag("")
    assert (raised.value.status, raised.value.kind, raised.value.retry_after_seconds) == (
        404,
        "not-found",
        None,
    )


def test_a_stream_goes_on_behind_what_was_answered() -> None:
    closing = {
        "type": "urn:teddy:problem:shutting-down",
        "title": "",
        "status": 503,
        "detail": "Bye.",
    }
    machine = Machine([lines_of(EMPTY, {"error": closing, "final": True}), lines_of(EMPTY, EMPTY)])
    assert len(list(machine.client().stream(["a", "b", "c"]))) == 3
    sent = [
        [json.loads(each)["text"] for each in request.content.splitlines()]
        for request in machine.requests
    ]
    assert sent == [["a", "b", "c"], ["b", "c"]]


def test_a_broken_stream_says_how_many_texts_were_answered() -> None:
    machine = Machine([lines_of(EMPTY, EMPTY), httpx.ReadError("gone"), httpx.ReadError("gone")])
    stream = machine.client(retries=RetryPolicy(attempts=2)).stream(
        ["a", "b", "c", "d"], together=2
    )
    assert [next(stream), next(stream)]
    with pytest.raises(StreamBrokenError, match="broke after 2 answers: no answer: gone") as raised:
        next(stream)
    assert raised.value.answered == 2


def test_large_bodies_are_compressed_and_small_ones_are_not() -> None:
    machine = Machine([httpx.Response(200, json=EMPTY)] * 2)
    client = machine.client(gzip_from_bytes=100)
    client.tag("short")
    client.tag("long " * 100)
    small, large = machine.requests
    assert "Content-Encoding" not in small.headers
    assert large.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(large.content)) == {"text": "long " * 100}


def test_the_key_is_shown() -> None:
    machine = Machine([httpx.Response(200, json=EMPTY)])
    machine.client(api_key="sesame").tag("")
    assert machine.requests[0].headers["Authorization"] == "Bearer sesame"


@pytest.mark.parametrize("together", [0, -1])
def test_at_least_one_text_travels_at_a_time(together: int) -> None:
    method: Callable[..., Iterator[Any]]
    for method in (Machine([]).client().stream, Machine([]).client().tag_batch):
        with pytest.raises(ValueError, match="at least one text"):
            next(method(["a"], together=together))


def test_the_client_needs_neither_torch_nor_fastapi() -> None:
    code = "import sys, teddy.service.client; print(*{name.split('.')[0] for name in sys.modules})"
    root = Path(__file__).parents[2]
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    heavy = {
        "torch",
        "numpy",
        "fastapi",
        "starlette",
        "uvicorn",
        "pydantic",
        "structlog",
        "prometheus_client",
    }
    assert set(output.split()) & heavy == set()
