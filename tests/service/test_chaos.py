"""A real server with a real model, and all that production does to one. After each: nothing
answered wrongly, nothing hanging, as many requests counted as were answered, memory flat.

The long forms of these are in `make soak`.
"""

import asyncio
import gzip
import json
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from benchmarks.load.connection import Answer, Connection
from benchmarks.load.generator import Load
from benchmarks.load.model_files import damaged, redated, version_of
from benchmarks.load.processes import descendants, holders, open_files, resident_bytes
from benchmarks.load.question import (
    Found,
    Question,
    as_json,
    batch_questions,
    entities_of,
    problem_fault,
    single_questions,
)
from benchmarks.load.server import Server, counted_statuses
from benchmarks.load.tally import Tally
from teddy.model.predictor import Predictor
from teddy.model.system.files import write_atomically
from teddy.service.http.json_scan import JsonLimits
from teddy.service.settings import Settings
from tests.conftest import PEOPLE, PLACES

pytestmark = pytest.mark.anyio

KEY = "chaos-chaos-chaos"
AUTHORIZATION = f"Authorization: Bearer {KEY}"
JSON = "Content-Type: application/json"
PATIENCE_SECONDS = 60.0
"""With anything: only what hangs takes so long."""
SLOW_SECONDS = 1.0
"""What the server grants a slow client here."""
MOST_GROWTH_BYTES = 48_000_000
LIMITS = JsonLimits.of_texts(Settings())
MOST_BODY_BYTES, MOST_UNPACKED_BYTES = 1_000_000, 2_000_000

SETTINGS: dict[str, object] = {
    "precision": "fp32",
    "api_keys": f"admin:{KEY}",
    "queue_words": 10_000_000,
    "max_body_bytes": MOST_BODY_BYTES,
    "max_decompressed_bytes": MOST_UNPACKED_BYTES,
    "header_timeout_seconds": SLOW_SECONDS,
    "body_timeout_seconds": SLOW_SECONDS,
    "reload_poll_seconds": 0,
    "drain_seconds": 0.2,
}


def made_up_texts(n: int) -> list[str]:
    draw = random.Random(7)  # noqa: S311
    words = [*PEOPLE, *PLACES, "went", "to", "in", "and", "saw", "nobody", ",", "."]
    return [" ".join(draw.choices(words, k=draw.choice((0, 1, 5, 25, 60)))) for _ in range(n)]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return made_up_texts(80)


@pytest.fixture(scope="module")
def found(tiny_predictor: Predictor, texts: list[str]) -> Found:
    """What the tiny model finds in each of the texts, in this process."""
    return {tiny_predictor.version: entities_of(tiny_predictor, texts)}


@pytest.fixture(scope="module")
def questions(texts: list[str], found: Found) -> list[Question]:
    """Single texts and batches, mixed."""
    asked = single_questions(texts, found) + batch_questions(texts, found, (1, 3, 16, 40))
    keyed = [each.with_headers(AUTHORIZATION) for each in asked]
    random.Random(1).shuffle(keyed)  # noqa: S311
    return keyed


@pytest.fixture(scope="module")
def model_file(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny model that a test may spoil, if it mends it again."""
    file = tmp_path_factory.mktemp("served") / "tiny.teddy"
    file.write_bytes(tiny_model.read_bytes())
    return file


@pytest.fixture(scope="module")
def server(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One worker that most tests share: what one leaves behind the next one finds."""
    log = tmp_path_factory.mktemp("chaos") / "log"
    with Server.teddy(log, "--model", f"tiny={model_file}", settings=SETTINGS) as server:
        asyncio.run(server.ready())
        asyncio.run(asyncio.wait_for(warm(server.port), PATIENCE_SECONDS))
        yield server


async def warm(port: int) -> None:
    """What a process allocates once, before memory is compared."""
    texts = made_up_texts(400)
    asked = [each.with_headers(AUTHORIZATION) for each in single_questions(texts, None)]
    await Load.of(port, asked).closed(8, 1.0)


@asynccontextmanager
async def peace(server: Server, questions: list[Question]) -> AsyncIterator[Counter[int]]:
    """Around chaos, which counts the answers it got by status: afterwards all is as it was, and
    counted right.

    A client that left without waiting is counted by its test under 0: the server may have answered
    it all the same."""
    before, memory, files = (
        await server.metrics(),
        resident_bytes(server.pid),
        open_files(server.pid),
    )
    answered: Counter[int] = Counter()
    async with asyncio.timeout(PATIENCE_SECONDS):
        yield answered
        left = answered.pop(0, 0)
        after = await settled(server, sum(counted(before).values()) + answered.total() + left)
        extra = counted(after) - counted(before) - answered
        assert not counted(before) + answered - counted(after)
        assert extra.total() == left
        assert set(extra) <= {200, 400, 408, 499}
        while open_files(server.pid) > files + 2:
            await asyncio.sleep(0.02)
        assert resident_bytes(server.pid) < memory + MOST_GROWTH_BYTES
        tally = await Load.of(server.port, questions, name="peace").closed(4, 0.2)
        assert_all_right(tally)


async def settled(server: Server, total: int) -> dict[str, float]:
    """The metrics, once nothing is in flight but the scrape itself, nothing waits, and so many were
    counted."""
    while True:
        metrics = await server.metrics()
        if (
            metrics["teddy_requests_in_flight"] == 1
            and metrics["teddy_queue_words"] == 0
            and counted(metrics).total() >= total
        ):
            return metrics
        await asyncio.sleep(0.02)


def counted(metrics: dict[str, float]) -> Counter[int]:
    """Requests for entities by status."""
    routes = ("/v1/entities", "/v1/entities/batch", "/v1/entities/stream")
    return sum((counted_statuses(metrics, route) for route in routes), Counter())


def assert_all_right(tally: Tally) -> None:
    assert tally.ok == tally.sent > 0, str(tally)
    assert not tally.n_faults, str(tally)


def post(
    body: bytes, *headers: str, path: str = "/v1/entities", request_id: bytes = b"chaos"
) -> bytes:
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: t",
        AUTHORIZATION,
        f"X-Request-ID: {request_id.decode()}",
        *headers,
    )
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body


async def ask(server: Server, request: bytes) -> Answer:
    connection = await Connection.open("127.0.0.1", server.port)
    try:
        return await connection.ask(request)
    finally:
        await connection.end()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00" * 100,
        b'{"text": "\xff\xfe"}',
        b'{"text": "\xc3("}',
        b'{"text": "\xed\xa0\x80"}',
        b'{"text": "\\ud800"}',
        b'{"text": 1e999}',
        b'{"text": "a", "min_score": NaN}',
        b'{"text": "a", "text": 1}',
        b'{"text": ["a"]}',
        b'[{"text": "a"}]',
        b'{"text": "a"',
        b'{"text": "a"} {"text": "b"}',
        b"[" * 200_000,
        b'{"text":' * 50_000,
        b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"text": "a", "labels": [' + b'"x",' * 100_000 + b'"x"]}',
        b"{" + b",".join(b'"%d": %d' % (i, i) for i in range(50_000)) + b"}",
        b'{"text": ' + b"9" * 500_000 + b"}",
    ],
    ids=lambda body: f"{body[:24]!r}x{len(body)}",
)
async def test_a_body_that_is_no_request_is_a_problem_of_the_client(
    server: Server, questions: list[Question], body: bytes
) -> None:
    n_strings = body.count(b'"') // 2
    marks = sum(map(body.count, b":[{")) + max(0, body.count(b",") - n_strings)
    is_too_large = marks > LIMITS.most_marks or n_strings > LIMITS.most_strings
    async with peace(server, questions) as answered:
        for path in ("/v1/entities", "/v1/entities/batch"):
            answer = await ask(server, post(body, JSON, path=path))
            answered[answer.status] += 1
            assert answer.status == (413 if is_too_large else 422)
            assert problem_fault(answer, b"chaos") is None


async def test_bombs_of_gzip_and_zstd_do_not_go_off(
    server: Server, questions: list[Question]
) -> None:
    from backports import zstd

    bomb = b'{"text": "' + b"a" * 100_000_000 + b'"}'
    packed = {"gzip": gzip.compress(bomb, 9), "zstd": zstd.compress(bomb)}
    assert all(len(each) < MOST_BODY_BYTES for each in packed.values())
    async with peace(server, questions) as answered:
        for encoding, body in packed.items():
            answers = await asyncio.gather(
                *(ask(server, post(body, JSON, f"Content-Encoding: {encoding}")) for _ in range(20))
            )
            answered.update(answer.status for answer in answers)
            assert {answer.status for answer in answers} == {413}
        for body in (
            packed["gzip"][:-20],
            b"\x1f\x8b" + b"\x00" * 50,
            b"",
            gzip.compress(packed["gzip"]),
        ):
            answer = await ask(server, post(body, JSON, "Content-Encoding: gzip"))
            answered[answer.status] += 1
            assert answer.status in (400, 413, 422)
            assert problem_fault(answer, b"chaos") is None


async def test_a_body_that_is_too_large_is_refused_and_the_others_are_served(
    server: Server, questions: list[Question]
) -> None:
    async with peace(server, questions) as answered:
        body = as_json({"text": "a" * MOST_BODY_BYTES})
        statuses = await asyncio.gather(
            *(status_of_large(server, post(body, JSON)) for _ in range(10))
        )
        answered.update(statuses)
        assert set(statuses) == {413}


async def status_of_large(server: Server, request: bytes) -> int:
    """The status of an answer that comes while the request is still being sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(request)
        return int((await reader.readuntil(b"\r\n")).split()[1])
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_clients_that_leave_before_their_answer_harm_nobody(
    server: Server, questions: list[Question], texts: list[str]
) -> None:
    batches = batch_questions(texts * 8, None, (160,) * 4)
    async with peace(server, questions) as answered:
        load = Load.of(server.port, questions, name="stays")
        staying = asyncio.create_task(load.closed(4, PATIENCE_SECONDS))
        for number in range(60):
            connection = await Connection.open("127.0.0.1", server.port)
            connection.send(
                post(batches[number % len(batches)].body, JSON, path="/v1/entities/batch")
            )
            await asyncio.sleep(random.Random(number).uniform(0, 0.03))  # noqa: S311
            if number % 2:
                connection.abort()
            await connection.end()
        load.stop()
        tally = await staying
        assert_all_right(tally)
        answered.update(tally.statuses)
        answered[0] = 60


async def test_connections_that_are_half_open_or_crawl_end_and_nobody_waits_for_them(
    server: Server, questions: list[Question]
) -> None:
    whole = post(as_json({"text": "Anna Berg went to Oslo ."}), JSON)
    async with peace(server, questions) as answered:
        crawling = [
            asyncio.create_task(crawl(server.port, whole, n)) for n in range(0, len(whole), 4)
        ]
        load = Load.of(server.port, questions, name="quick")
        tally = await load.closed(4, 1.5 * SLOW_SECONDS)
        assert_all_right(tally)
        answered.update(tally.statuses)
        statuses = await asyncio.gather(*crawling)
        assert set(statuses) <= {None, 408}
        # Only what has a whole head has a path, under which it is counted.
        head = whole.index(b"\r\n\r\n") + 4
        answered[408] += sum(n >= head for n in range(0, len(whole), 4))


async def crawl(port: int, request: bytes, n_bytes: int) -> int | None:
    """Send a part of a request and then nothing; gives the status that came before the server hung
    up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request[:n_bytes])
        head = await reader.read(64)
        while await reader.read(4096):
            pass
        return int(head.split()[1]) if head else None
    except ConnectionError:
        return None
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_ten_thousand_tiny_requests_leave_nothing_behind(
    server: Server, questions: list[Question]
) -> None:
    tiny = Question(
        path="/v1/entities", body=b'{"text":"Oslo"}', found=None, headers=(AUTHORIZATION,)
    )
    async with peace(server, questions) as answered:
        load = Load(server.port, iter([tiny] * 10_000), name="tiny")
        tally = await load.closed(32, PATIENCE_SECONDS)
        assert_all_right(tally)
        assert tally.sent == 10_000
        answered.update(tally.statuses)


async def test_a_model_file_that_is_spoilt_leaves_the_old_one_serving_and_a_good_one_takes_over(
    server: Server, questions: list[Question], model_file: Path
) -> None:
    good = model_file.read_bytes()
    other = redated(good)
    async with peace(server, questions) as answered:
        load = Load.of(
            server.port,
            [each.for_versions(version_of(good), version_of(other)) for each in questions],
            name="swap",
        )
        asking = asyncio.create_task(load.closed(4, PATIENCE_SECONDS))
        for spoilt in (b"", b"PK\x03\x04", good[: len(good) // 2], damaged(good), os.urandom(5000)):
            write_atomically(model_file, spoilt)
            assert (await reload(server)).status == 422
        model_file.unlink()
        assert (await reload(server)).status == 422
        for content in (other, good):
            write_atomically(model_file, content)
            answer = await reload(server)
            assert answer.status == 200, answer.body
            assert json.loads(answer.body)["version"] == version_of(content)
        load.stop()
        tally = await asking
        assert_all_right(tally)
        answered.update(tally.statuses)


async def reload(server: Server) -> Answer:
    return await ask(server, post(b"", path="/v1/models/tiny/reload"))


async def test_a_full_disk_under_the_log_stops_nobody(
    tiny_model: Path, tmp_path: Path, questions: list[Question]
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    async with asyncio.timeout(2 * PATIENCE_SECONDS):
        with Server.teddy(
            tmp_path / "log", "--model", f"tiny={tiny_model}", stderr=full, settings=SETTINGS
        ) as server:
            await server.ready()
            assert_all_right(await Load.of(server.port, questions).closed(8, 0.5))
            server.signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.wait) == 0


async def test_a_killed_worker_takes_its_own_requests_with_it_and_sigterm_takes_none(
    tiny_model: Path, tmp_path: Path, questions: list[Question]
) -> None:
    workers, connections = 2, 12
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        with Server.teddy(
            tmp_path / "log",
            "--workers",
            str(workers),
            "--model",
            f"tiny={tiny_model}",
            settings=SETTINGS,
        ) as server:
            first = await server.all_ready(workers)
            load = Load.of(server.port, questions, name="kill")
            asking = asyncio.create_task(load.closed(connections, PATIENCE_SECONDS))
            await asyncio.sleep(0.5)
            served_by = holders(server.port, descendants(server.pid))
            victim = next(
                served_by[each.port] for each in load.connections if each.port in served_by
            )
            os.kill(victim, signal.SIGKILL)
            await asyncio.sleep(0.5)
            load.stop()
            killed = await asking
            second = await server.all_ready(workers, without={victim})
            assert first - second == {victim}
            # A connection that was opened while we looked is not known; it can only have been the
            # victim's.
            assert {served_by.get(each.port, victim) for each in killed.broken} <= {victim}
            assert not killed.n_faults, str(killed)
            assert killed.ok + len(killed.broken) + killed.unreachable >= killed.sent
            counted_ok = counted(await server.metrics())[200]
            assert killed.ok - connections <= counted_ok <= killed.sent

            load = Load.of(server.port, questions, name="term")
            asking = asyncio.create_task(load.closed(connections, PATIENCE_SECONDS))
            await asyncio.sleep(0.3)
            server.signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.wait) == 0
            load.stop()
            stopped = await asking
            assert not stopped.n_faults, str(stopped)
            assert set(stopped.statuses) <= {200, 503}
            assert not any(each.partial for each in stopped.broken)
            assert server.logged_statuses("term-") == stopped.statuses
