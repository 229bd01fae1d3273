import asyncio
import json
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient, Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teddy.model.predictor import load
from teddy.service.api.answers import LineSplitter
from teddy.service.api.line_tagging import GROUP_LINES, WINDOW_BYTES, WINDOW_LINES
from teddy.service.http.compression import PIECE_BYTES
from tests.service.live import RawStream, line, listening

pytestmark = pytest.mark.anyio

MEDIA_TYPE = {"Content-Type": "application/x-ndjson"}
with_client = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=50,
    deadline=None,
)
texts = st.text(max_size=30) | st.sampled_from(
    ["Ada met Grace", "", "Mississippian", "é 中 \U0001f9f8 Ada", "\u2028 Up"]
)
SURROGATE = b'{"id": 3, "text": "\\ud800"}'
bad_lines = st.sampled_from(
    [
        b"nope",
        b"[]",
        b'{"text": 1}',
        b'{"id": "a", "txt": "b"}',
        b'{"text": "\xff"}',
        SURROGATE,
        b"{" * 500,
        b"\0",
    ]
)


async def post(
    client: AsyncClient, content: bytes | AsyncIterator[bytes], query: str = ""
) -> Response:
    return await client.post(f"/v1/entities/stream{query}", content=content, headers=MEDIA_TYPE)


def read(answer: Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200
    assert not answer.content or answer.content.endswith(b"\n")
    return [json.loads(each) for each in answer.content.split(b"\n")[:-1]]


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    borders = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(borders)]


async def pieces_of(data: bytes, places: Sequence[int]) -> AsyncIterator[bytes]:
    for piece in cut(data, places):
        yield piece


async def test_a_line_has_its_answer_and_the_head_says_which_model_gives_it(
    client: AsyncClient,
) -> None:
    answer = await post(
        client, line("when Ada", id=7) + line("met", id="x") + line("Grace"), "?tokens=true"
    )
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert (answer.headers["x-teddy-model"], answer.headers["x-teddy-model-version"]) == (
        "en",
        "0123456789ab",
    )
    first, second, third = read(answer)
    assert first == {
        "id": 7,
        "entities": [{"start": 5, "end": 8, "label": "UPPER", "score": 0.9, "text": "Ada"}],
        "tokens": [
            {"start": 0, "end": 4, "tag": "O", "score": 1.0},
            {"start": 5, "end": 8, "tag": "S-UPPER", "score": 1.0},
        ],
    }
    assert second["id"] == "x"
    assert "id" not in third


@with_client
@given(batch=st.lists(texts, max_size=8))
async def test_a_stream_finds_what_a_batch_finds_and_what_its_texts_have_alone(
    client: AsyncClient, batch: list[str]
) -> None:
    streamed = [each["entities"] for each in read(await post(client, b"".join(map(line, batch))))]
    together = (await client.post("/v1/entities/batch", json={"texts": batch})).json()["results"]
    alone = [
        (await client.post("/v1/entities", json={"text": text})).json()["entities"]
        for text in batch
    ]
    assert streamed == [each["entities"] for each in together] == alone


@with_client
@given(
    lines=st.lists(bad_lines | texts.map(lambda text: line(text).strip()), max_size=8),
    ends=st.sampled_from([b"\n", b"\r\n", b"\n\n \n"]),
    places=st.lists(st.integers(0, 10_000), max_size=10),
    complete=st.booleans(),
)
async def test_however_the_bytes_arrive_each_line_has_the_answer_that_it_has_alone(
    client: AsyncClient, lines: list[bytes], ends: bytes, places: list[int], complete: bool
) -> None:
    body = ends.join(lines) + (ends if complete else b"")
    together = (await post(client, pieces_of(body, places))).content
    assert together == b"".join([(await post(client, each)).content for each in lines])


@pytest.mark.parametrize(
    ("bad", "status", "kind", "answered_id"),
    [
        (b"nope", 422, "invalid-request", None),
        (b'{"id": 1}', 422, "invalid-request", 1),
        (b'{"id": 1, "text": "a", "model": "en"}', 422, "invalid-request", 1),
        (b'{"id": true, "text": "a"}', 422, "invalid-request", None),
        (b'{"id": 1, "text": "\xff"}', 422, "invalid-request", None),
        (SURROGATE, 422, "invalid-request", 3),
        (b'{"id": 1, "text": "' + b"a" * 101 + b'"}', 413, "text-too-long", 1),
        (b'{"id": 1, "text": "' + b"a" * 1000 + b'"}', 413, "body-too-large", None),
        (b'{"id": "k", "text": "Kaputt"}', 500, "internal-error", "k"),
    ],
)
async def test_a_bad_line_is_answered_in_its_place_and_passed_over(
    serving: Any, bad: bytes, status: int, kind: str, answered_id: str | int | None
) -> None:
    async with serving(max_text_characters=100, max_body_bytes=500) as client:
        before, refused, after = read(await post(client, line("Ada") + bad + b"\n" + line("Eve")))
    assert [before["entities"][0]["text"], after["entities"][0]["text"]] == ["Ada", "Eve"]
    assert refused.get("id") == answered_id
    assert refused["error"].pop("detail")
    title = kind.replace("-", " ").capitalize()
    assert refused["error"] == {
        "type": f"urn:teddy:problem:{kind}",
        "title": title,
        "status": status,
    }


async def test_an_error_never_quotes_the_text(client: AsyncClient) -> None:
    secret = (
        b'{"text": ["Geheim"], "Geheim": "Geheim"}\n{"text": "Geheim\xff"}\n'
        b'{"text": "Geheim Kaputt"}\n"Geheim"'
    )
    answers = read(await post(client, secret))
    assert len(answers) == 4
    details = [each["error"]["detail"] for each in answers]
    assert [detail for detail in details if "Geheim" in detail] == details[:1]
    # the name of a field, and no value
    assert "Geheim: Extra inputs are not permitted" in details[0]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["Ada", "Mississippian"]),
        ("?labels=LONG", ["Mississippian"]),
        ("?labels=LONG&labels=UPPER", ["Ada", "Mississippian"]),
        ("?labels=", []),
        ("?min_score=0.9", ["Ada"]),
        ("?model=en", ["Ada", "Mississippian"]),
    ],
)
async def test_options_are_in_the_query(client: AsyncClient, query: str, found: list[str]) -> None:
    (answer,) = read(await post(client, line("Ada the Mississippian"), query))
    assert [entity["text"] for entity in answer["entities"]] == found


async def test_offsets_are_in_the_unit_that_was_asked_for(client: AsyncClient) -> None:
    for unit, start in (("character", 2), ("utf16", 3), ("byte", 5)):
        (answer,) = read(await post(client, line("\U0001f9f8 Ada"), f"?offset_unit={unit}"))
        assert answer["entities"][0]["start"] == start


@pytest.mark.parametrize(
    ("query", "status", "kind"),
    [
        ("?min_score=2", 422, "invalid-request"),
        ("?tokens=perhaps", 422, "invalid-request"),
        ("?offset_unit=word", 422, "invalid-request"),
        ("?sentences=words", 422, "invalid-request"),
        ("?texts=a", 422, "invalid-request"),
        ("?labels=NONE", 422, "unknown-label"),
        ("?model=none", 404, "unknown-model"),
    ],
)
async def test_wrong_options_are_a_problem_before_the_stream_begins(
    client: AsyncClient, query: str, status: int, kind: str
) -> None:
    answer = await post(client, line("Ada"), query)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:teddy:problem:{kind}")


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"Content-Type": "application/json"}, 415, "media-type"),
        ({"Content-Type": "application/x-ndjson", "Content-Encoding": "rot13"}, 415, "encoding"),
        ({"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}, 400, "compression"),
        (
            {"Content-Type": "application/x-ndjson", "X-Request-Timeout": "soon"},
            400,
            "timeout-header",
        ),
    ],
)
async def test_a_wrong_head_is_a_problem_before_the_stream_begins(
    client: AsyncClient, headers: dict[str, str], status: int, kind: str
) -> None:
    answer = await client.post("/v1/entities/stream", content=line("Ada"), headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:teddy:problem:{kind}")


async def test_no_lines_have_no_answers(client: AsyncClient) -> None:
    assert read(await post(client, b"")) == read(await post(client, b"\n \r\n\n")) == []


async def test_both_names_of_the_media_type_will_do(client: AsyncClient) -> None:
    headers = {"Content-Type": "application/jsonl; charset=utf-8"}
    answer = await client.post("/v1/entities/stream", content=line("Ada"), headers=headers)
    assert read(answer)[0]["entities"][0]["text"] == "Ada"


@given(
    data=st.binary(max_size=60).map(lambda data: data.replace(b"x", b"\n")),
    places=st.lists(st.integers(0, 99)),
)
def test_lines_are_what_stands_between_newlines(data: bytes, places: list[int]) -> None:
    splitter = LineSplitter(max_bytes=8)
    lines = [each for piece in cut(data, places) for each in splitter.feed(piece)] + splitter.end()
    expected = [each if len(each) <= 8 else None for each in data.split(b"\n")]
    stripped = [each and each.strip(b" \t\r") for each in expected]
    assert lines == [each for each in stripped if each != b""]


def test_a_line_that_is_too_long_is_not_held_in_memory() -> None:
    splitter = LineSplitter(max_bytes=2**16)
    piece = b"a" * 2**14
    tracemalloc.start()
    try:
        given_lines = [each for _ in range(1000) for each in splitter.feed(piece)]
        assert tracemalloc.get_traced_memory()[1] < 2**18
    finally:
        tracemalloc.stop()
    assert given_lines == [None]
    assert splitter.feed(b"\nshort\n") == [b"short"]


async def test_a_client_can_wait_for_each_answer_before_it_sends_the_next_line(
    predictor: Any,
) -> None:
    async with asyncio.timeout(30), listening(predictor) as live:
        stream = await RawStream.open(live.port)
        await stream.send(b'{"te')
        assert (await stream.head()).startswith("HTTP/1.1 200 ")
        await stream.send(b'xt": "Ada"}\n')
        answers = stream.lines()
        for name in ("Ada", "Grace", "Eve"):
            assert (await anext(answers))["entities"][0]["text"] == name
            await stream.send(line({"Ada": "Grace", "Grace": "Eve", "Eve": ""}[name]))
        await stream.finish()
        assert [answer async for answer in answers] == [{"entities": []}]
        await stream.close()


async def test_who_does_not_read_is_not_read_from_and_others_are_served(predictor: Any) -> None:
    sent = 0

    async def send_for_ever(stream: RawStream) -> None:
        nonlocal sent
        while True:
            await stream.send(line("Ada " * 100) * 50)
            sent += 50

    async with (
        asyncio.timeout(60),
        listening(predictor) as live,
        AsyncClient(base_url=live.url) as other,
    ):
        stream = await RawStream.open(live.port, "?tokens=true", receive_buffer=2**14)
        sending = asyncio.create_task(send_for_ever(stream))
        seen = -1
        while seen < sent:  # until nothing moves any more
            seen = sent
            for _ in range(20):
                answer = await other.post("/v1/entities", json={"text": "Eve"})
                assert answer.json()["entities"][0]["text"] == "Eve"
                await asyncio.sleep(0.01)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        stream.writer.transport.abort()
        while live.queue_words:
            await asyncio.sleep(0.001)
    # What was taken in is what the window, the server's read buffer and the kernel's buffers hold.
    assert sum(window.n_words for batch in predictor.batches for window in batch) < 100 * 20_000


async def test_a_client_that_sends_all_before_it_reads_anything_gets_by_within_the_window(
    predictor: Any,
) -> None:
    text = "a " * (WINDOW_BYTES // WINDOW_LINES // 2 - 10)
    body = line(text) * WINDOW_LINES
    assert WINDOW_BYTES * 0.9 < len(body) <= WINDOW_BYTES
    async with asyncio.timeout(60), listening(predictor) as live:
        stream = await RawStream.open(live.port, "?tokens=true", receive_buffer=2**12)
        predictor.gate.clear()
        for start in range(0, len(body), 1000):
            await stream.send(body[start : start + 1000])
        await stream.finish()
        while stream.writer.transport.get_write_buffer_size():  # all of it has left this process
            await asyncio.sleep(0.001)
        predictor.gate.set()
        await stream.head()
        answers = [answer async for answer in stream.lines()]
        assert [len(answer["tokens"]) for answer in answers] == [len(text.split())] * WINDOW_LINES
        await stream.close()


async def test_a_client_that_leaves_frees_its_places(predictor: Any) -> None:
    async with (
        asyncio.timeout(30),
        listening(predictor) as live,
        AsyncClient(base_url=live.url) as other,
    ):
        predictor.gate.clear()
        stream = await RawStream.open(live.port)
        await stream.send(line("Ada"))
        assert await asyncio.to_thread(predictor.entered.wait, 30)
        await stream.send(line("Ada and Eve") * 3 * GROUP_LINES)
        while not live.queue_words:
            await asyncio.sleep(0.001)
        await stream.close()
        while live.queue_words:
            await asyncio.sleep(0.001)
        predictor.gate.set()
        while 'reason="client-departed"} 1.0' not in (await other.get("/metrics")).text:
            await asyncio.sleep(0.001)


async def test_a_full_queue_is_waited_for(predictor: Any) -> None:
    async with (
        asyncio.timeout(30),
        listening(predictor, queue_words=100, client_queue_share=0.5) as live,
    ):
        predictor.gate.clear()
        stream = await RawStream.open(live.port)
        await stream.send(line("Ada and Eve") * 6 * GROUP_LINES)
        await stream.finish()
        await stream.head()
        assert await asyncio.to_thread(predictor.entered.wait, 30)
        predictor.gate.set()
        answers = [answer async for answer in stream.lines()]
        assert [len(answer.get("entities", ())) for answer in answers] == [2] * 6 * GROUP_LINES
        await stream.close()


async def test_a_service_that_shuts_down_answers_the_lines_that_it_has_read_and_says_so(
    predictor: Any,
) -> None:
    async with asyncio.timeout(30), listening(predictor) as live:
        stream = await RawStream.open(live.port)
        await stream.send(line("Ada") + line("Eve") + b'{"text": "half a li')
        await stream.head()
        answers = stream.lines()
        assert [(await anext(answers))["entities"][0]["text"] for _ in range(2)] == ["Ada", "Eve"]
        live.app.state.drain.close()
        (last,) = [answer async for answer in answers]
        assert (last["error"]["type"], last["error"]["status"]) == (
            "urn:teddy:problem:shutting-down",
            503,
        )
        assert last["final"] is True
        await stream.close()


async def test_a_stream_may_idle_as_long_as_a_request_may_take(predictor: Any) -> None:
    async with asyncio.timeout(30), listening(predictor, request_timeout_seconds=0.3) as live:
        stream = await RawStream.open(live.port)
        await stream.send(line("Ada"))
        await stream.head()
        first, last = [answer async for answer in stream.lines()]
        assert first["entities"][0]["text"] == "Ada"
        assert (last["error"]["type"], last["final"]) == ("urn:teddy:problem:body-timeout", True)
        await stream.close()


async def test_a_line_that_takes_too_long_fails_alone(predictor: Any) -> None:
    async with asyncio.timeout(30), listening(predictor) as live:
        predictor.gate.clear()
        stream = await RawStream.open(live.port, headers="X-Request-Timeout: 0.2\r\n")
        await stream.send(line("Ada", id=1))
        await stream.head()
        answers = stream.lines()
        late = await anext(answers)
        assert (late["id"], late["error"]["type"]) == (1, "urn:teddy:problem:deadline")
        predictor.gate.set()
        await stream.send(line("Eve"))
        await stream.finish()
        assert [answer["entities"][0]["text"] async for answer in answers] == ["Eve"]
        await stream.close()


async def test_unfinished_lines_that_together_are_too_large_end_their_streams_and_no_others(
    predictor: Any,
) -> None:
    """They count among the bodies held, until they are answered or dropped."""
    begun, rest = b'{"text": "' + b"a " * 500_000, b'Ada"}\n'
    async with (
        asyncio.timeout(60),
        listening(predictor, max_held_bytes=2_200_000, queue_words=10**9) as live,
    ):
        for _ in range(2):  # what they held has come back
            streams = [await RawStream.open(live.port) for _ in range(5)]
            short = streams.pop()
            budget = live.app.state.service.body_limits.budget
            for each in streams[:2]:
                await each.send(begun)
            while budget._held_bytes < 2 * (len(begun) - PIECE_BYTES):
                await asyncio.sleep(0.001)
            for each in streams[2:]:
                await each.send(begun)
                await each.head()
                (end,) = [answer async for answer in each.lines()]
                assert (end["final"], end["error"]["title"]) == (True, "Queue full")
                await each.close()
            for each in [short, *streams[:2]]:
                await each.send(line("Ada") if each is short else rest)
                await each.finish()
                await each.head()
                (answer,) = [answer async for answer in each.lines()]
                assert [found["text"] for found in answer["entities"]] == ["Ada"]
                await each.close()
        while budget._held_bytes:
            await asyncio.sleep(0.001)


async def test_the_model_that_ships_finds_the_same_in_a_stream(serving: Any) -> None:
    shipped = load(precision="fp32")
    batch = [
        "He said, Teddy Roosevelt was a great President!",
        "",
        "In Oslo it rains.",
        "Ada met Grace. " * 50,
    ] * 40
    async with serving(load=lambda _: shipped) as client:
        streamed = read(await post(client, b"".join(map(line, batch))))
    found = [
        [(each["start"], each["end"], each["label"]) for each in answer["entities"]]
        for answer in streamed
    ]
    expected = [
        [(each.start, each.end, each.label) for each in entities] for entities in shipped.tag(batch)
    ]
    assert found == expected


async def test_the_documentation_has_the_lines_and_their_media_types(client: AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    described = document["paths"]["/v1/entities/stream"]["post"]
    content = described["requestBody"]["content"]
    assert set(content) == {"application/x-ndjson", "application/jsonl"}
    assert content["application/x-ndjson"]["itemSchema"] == {
        "$ref": "#/components/schemas/StreamLine"
    }
    answered = described["responses"]["200"]
    assert set(answered["headers"]) == {"X-Teddy-Model", "X-Teddy-Model-Version"}
    for reference in answered["content"]["application/x-ndjson"]["itemSchema"]["anyOf"]:
        assert reference["$ref"].rpartition("/")[2] in document["components"]["schemas"]
    options = {
        "model",
        "labels",
        "min_score",
        "offset_unit",
        "sentences",
        "threshold",
        "n_best",
        "tokens",
    }
    assert {parameter["name"] for parameter in described["parameters"]} == options


ENDLESS = """
import importlib.util, sys
from collections import deque
from teddy.service.app import create_app
from teddy.service.observability.log import configure_logs
from teddy.service.http.acceptor import listen
from teddy.service.process.server import Server
from teddy.service.settings import Settings
configure_logs("error")
found = importlib.util.spec_from_file_location("conftest", sys.argv[1])
sys.modules["conftest"] = conftest = importlib.util.module_from_spec(found)
found.loader.exec_module(conftest)
predictor = conftest.FakePredictor(batches=deque(maxlen=1))
settings = Settings()
with listen("127.0.0.1", 0) as bound:
    app = create_app(
        settings, lambda _: predictor, on_ready=lambda: print(bound.getsockname()[1], flush=True)
    )
    Server(app, settings).run(sockets=[bound])
"""


def resident_bytes(pid: int) -> int:
    for entry in Path(f"/proc/{pid}/status").read_text().splitlines():
        if entry.startswith("VmRSS:"):
            return int(entry.split()[1]) * 1024
    raise AssertionError("a process without memory")


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads a process's memory as Linux shows it"
)
async def test_a_stream_without_end_needs_no_more_memory_than_a_short_one() -> None:
    n_lines, at_once = 100_000, 500
    command = [sys.executable, "-c", ENDLESS, str(Path(__file__).with_name("conftest.py"))]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as process:
        try:
            assert process.stdout
            port = int(await asyncio.to_thread(process.stdout.readline))
            resident = await asyncio.wait_for(
                resident_while_streaming(port, process.pid, n_lines, at_once), 300
            )
        finally:
            process.kill()
    assert resident[-1] < resident[0] * 1.02 + 2**20, resident


async def resident_while_streaming(port: int, pid: int, n_lines: int, at_once: int) -> list[int]:
    """Resident bytes of the server after a quarter of the lines was answered, after a half, and so
    on."""
    stream = await RawStream.open(port)

    async def send() -> None:
        for start in range(0, n_lines, at_once):
            await stream.send(
                b"".join(
                    line(f"Ada met {i:x} in Oslo today", id=i)
                    for i in range(start, start + at_once)
                )
            )
        await stream.finish()

    sending = asyncio.create_task(send())
    await stream.head()
    resident = []
    n_answers = 0
    async for answer in stream.lines():
        assert answer["id"] == n_answers
        n_answers += 1
        if n_answers % (n_lines // 4) == 0:
            resident.append(resident_bytes(pid))
    await sending
    await stream.close()
    assert n_answers == n_lines
    return resident
