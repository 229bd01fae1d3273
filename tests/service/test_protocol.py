import asyncio
import gzip
import random
from typing import Any

import pytest
from backports import zstd

from teddy.service.errors import ClientDepartedError
from teddy.service.http.problems import MOST_PIPELINED
from tests.service.wire import CHUNKED, GET, JSON, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


async def test_requests_are_answered_one_after_the_other_on_one_connection() -> None:
    async with serving() as server:
        client = await server.connect()
        for _ in range(3):
            client.send(GET)
            assert (await client.answer()).body == b"/"
            client.send(JSON, b"Content-Length: 2\r\n\r\n{}")
            assert (await client.answer()).body == b"2 bytes"
        await client.close()
        await server.empties()
    assert server.refused == []


async def test_a_head_that_comes_byte_by_byte_is_refused_when_its_time_is_over() -> None:
    async with serving(header_timeout_seconds=0.2) as server:
        client = await server.connect()
        crawling = asyncio.create_task(client.drip(b"GET / HTTP/1.1\r\nX-Endless: " + b"x" * 1000))
        await client.problem(408, "header-timeout")
        await crawling
        await server.empties()
    assert server.refused == ["header-timeout"]
    assert server.asked == []


async def test_a_connection_on_which_nothing_is_asked_is_refused_too() -> None:
    async with serving(header_timeout_seconds=0.1) as server:
        await (await server.connect()).problem(408, "header-timeout")


async def test_a_later_head_has_the_same_time_from_its_first_byte() -> None:
    async with serving(header_timeout_seconds=0.1) as server:
        client = await server.connect()
        client.send(GET)
        await client.answer()
        await asyncio.sleep(0.2)  # being idle is allowed
        client.send(GET)
        await client.answer()
        client.send(b"G")
        await client.problem(408, "header-timeout")


async def test_empty_lines_do_not_keep_a_connection() -> None:
    async with serving(keep_alive=0.1, header_timeout_seconds=0.1) as server:
        client = await server.connect()
        client.send(GET)
        await client.answer()
        dripping = asyncio.create_task(client.drip(b"\r\n" * 1000))
        await client.problem(408, "header-timeout")
        await dripping


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: t\r\nX-Long: " + b"x" * 1000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX-Long: " + b"x" * 1_000_000,
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100_000,
        b"GET /" + b"x" * 1000 + b" HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET /" + b"x" * 1_000_000,
        b"\r\n" * 1000,
    ],
    ids=["header", "endless-header", "headers", "url", "endless-url", "empty-lines"],
)
async def test_a_head_that_is_too_large_is_refused(head: bytes) -> None:
    async with serving(max_header_bytes=512) as server:
        client = await server.connect()
        client.send(head)
        await client.problem(431, "header-too-large")
    assert server.refused == ["header-too-large"]
    assert server.asked == []


async def test_a_head_of_nearly_the_largest_size_is_read_however_it_is_cut() -> None:
    head = b"GET / HTTP/1.1\r\nHost: t\r\nX-Long: " + b"x" * 450 + b"\r\n\r\n"
    assert 480 < len(head) <= 512
    async with serving(max_header_bytes=512) as server:
        client = await server.connect()
        for size in (512, 300, 100, 7):
            for start in range(0, len(head), size):
                client.send(head[start : start + size])
                await asyncio.sleep(0)
            assert (await client.answer()).status == 200


async def test_pipelined_heads_are_measured_one_by_one() -> None:
    fair = b"GET / HTTP/1.1\r\nHost: t\r\nX-Long: " + b"x" * 300 + b"\r\n\r\n"
    async with serving(max_header_bytes=512) as server:
        client = await server.connect()
        client.send(fair * 10, b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 1000)
        for _ in range(10):
            assert (await client.answer()).status == 200
        await client.problem(431, "header-too-large")
    assert server.refused == ["header-too-large"]


async def test_what_comes_before_a_fault_is_answered_first() -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(b"GET /wait HTTP/1.1\r\nHost: t\r\n\r\n", GET, b"no HTTP\r\n\r\n")
        await server.is_asked()
        server.gate.set()
        assert (await client.answer()).body == b"waited"
        assert (await client.answer()).body == b"/"
        await client.problem(400, "malformed-request")


async def test_more_requests_than_may_wait_on_a_connection_are_refused_after_the_others() -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(b"GET /wait HTTP/1.1\r\nHost: t\r\n\r\n", GET * 10_000)
        await server.is_asked()
        assert len(next(iter(server.state.connections)).pipeline) == MOST_PIPELINED
        server.gate.set()
        assert (await client.answer()).body == b"waited"
        for _ in range(MOST_PIPELINED):
            assert (await client.answer()).body == b"/"
        assert "retry-after" in (await client.problem(429, "too-many-pipelined")).headers


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\0\1\2\3",
        b"no HTTP\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nHost: t\r\n\r\n",
        JSON + b"Content-Length: many\r\n\r\n{}",
        JSON + b"Content-Length: -1\r\n\r\n{}",
        JSON + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        JSON + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        JSON + b"Content-Length: 99999999999999999999999999\r\n\r\n{}",
    ],
    ids=str,
)
async def test_what_is_no_http_is_a_problem(request_bytes: bytes) -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(request_bytes)
        await client.problem(400, "malformed-request")
        await server.empties()
    assert server.refused == ["malformed-request"]
    assert server.asked == []


REFUSED_HEADS = {
    (501, "transfer-encoding"): [
        JSON + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        JSON + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        JSON + b"Transfer-Encoding: GZIP , Chunked\r\n\r\n0\r\n\r\n",
        JSON + b"Transfer-Encoding: deflate\r\n\r\n",
        JSON + b"Transfer-Encoding: xchunked\r\n\r\n",
    ],
    (400, "host"): [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-Host: t\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nHost: t\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nhOST: other\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: t\r\nHost: t\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t, u\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t/u@v\r\n\r\n",
        b"POST /body HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    ],
    (505, "http-version"): [
        b"GET / HTTP/2.0\r\nHost: t\r\n\r\n",
        b"GET / HTTP/0.9\r\nHost: t\r\n\r\n",
        b"POST /body HTTP/2.0\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}",
    ],
}


@pytest.mark.parametrize(
    ("refusal", "head"), [(kind, head) for kind, heads in REFUSED_HEADS.items() for head in heads]
)
async def test_a_head_that_is_not_for_this_server_is_refused_before_the_app_hears_of_it(
    refusal: tuple[int, str], head: bytes
) -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(GET)
        assert (await client.answer()).status == 200
        client.send(head)
        await client.problem(*refusal)
    assert server.refused == [refusal[1]]
    assert server.asked == ["/"]


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a_b.example:8000\r\n\r\n",
        b"GET http://t/ HTTP/1.1\r\nHost: t\r\n\r\n",
    ],
)
async def test_a_probe_without_a_host_and_any_name_of_a_host_are_answered(head: bytes) -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(head)
        assert (await client.answer()).status == 200


@pytest.mark.parametrize("name", [b"chunked", b"Chunked", b"CHUNKED"])
async def test_chunked_is_chunked_however_it_is_written(name: bytes) -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(CHUNKED.replace(b"chunked", name), b"2\r\n{}\r\n0\r\n\r\n")
        assert (await client.answer()).body == b"2 bytes"


@pytest.mark.parametrize(
    "body", [b"zz\r\n", b"-2\r\n{}\r\n", b"5\r\n{}\r\nxxxxxxx", b"2\r\n{}oops\r\n"]
)
async def test_chunks_that_are_none_are_a_problem_and_the_app_hears_that_nobody_is_there(
    body: bytes,
) -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(CHUNKED)
        await server.is_asked()
        client.send(body)
        await client.problem(400, "malformed-request")
        while not server.failed:
            await asyncio.sleep(0.001)
    assert isinstance(server.failed[0], ClientDepartedError)


async def test_a_fault_after_the_answer_has_begun_cuts_the_connection() -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(CHUNKED.replace(b"/body", b"/half"))
        assert (await client.reader.readuntil(b"half")).startswith(b"HTTP/1.1 200")
        client.send(b"no chunk\r\n")
        try:
            await client.ends()
        except ConnectionResetError:
            await client.close()
        await server.empties()


async def test_a_body_longer_than_announced_is_answered_and_its_rest_refused() -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(JSON, b"Content-Length: 2\r\n\r\n{}{}{}")
        assert (await client.answer()).body == b"2 bytes"
        await client.problem(400, "malformed-request")


@pytest.mark.parametrize(
    "head", [JSON + b"Content-Length: 100\r\n\r\n", CHUNKED + b"2\r\n"], ids=["length", "chunked"]
)
async def test_a_body_without_its_end_is_given_up(head: bytes) -> None:
    async with serving(body_timeout_seconds=0.1) as server:
        client = await server.connect()
        client.send(head, b"{}")
        assert (await client.answer()).status == 408
        await client.ends()
        await server.empties()


async def test_a_body_that_comes_byte_by_byte_is_given_up() -> None:
    async with serving(body_timeout_seconds=0.2, min_body_bytes_per_second=10_000) as server:
        client = await server.connect()
        client.send(JSON, b"Content-Length: 10000\r\n\r\n")
        crawling = asyncio.create_task(client.drip(b"x" * 10_000))
        assert (await client.answer()).status == 408
        await client.ends()
        await crawling


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_bomb_is_refused(coding: str) -> None:
    content = bytes(16 * 2**20)
    bomb = gzip.compress(content, 1) if coding == "gzip" else zstd.compress(content)
    async with serving(max_decompressed_bytes=2**20) as server:
        client = await server.connect()
        client.send(
            JSON,
            b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding.encode(), len(bomb)),
            bomb,
        )
        assert (await client.answer()).status == 413
        await client.close()


@pytest.mark.parametrize(
    "endless", [b"0\r\n" + b"A: b\r\n" * 1000, b"2;" + b"x" * 5000, b"0\r\nA: " + b"b" * 5000]
)
async def test_what_surrounds_chunks_is_bounded_as_a_head_is(endless: bytes) -> None:
    async with serving(max_header_bytes=1024) as server:
        client = await server.connect()
        client.send(CHUNKED, b"2\r\n{}\r\n", endless)
        await client.problem(431, "header-too-large")


@pytest.mark.parametrize(
    "coming", [GET, b"CONNECT t:1 HTTP/1.1\r\nHost: t\r\n\r\n"], ids=["get", "connect"]
)
async def test_an_offer_to_upgrade_is_declined_by_an_ordinary_answer(coming: bytes) -> None:
    offer = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    async with serving() as server:
        client = await server.connect()
        client.send(offer, GET)
        for _ in range(2):
            assert (await client.answer()).body == b"/"
        client.send(offer)
        assert (await client.answer()).body == b"/"
        client.send(coming)
        if coming == GET:
            assert (await client.answer()).body == b"/"
            await client.close()
        else:
            await client.problem(400, "malformed-request")


FRAMINGS = [
    b"Content-Length: 2\r\n\r\n{}",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_body_with_an_offer_to_upgrade_is_refused_rather_than_lost(framing: bytes) -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(JSON, b"Connection: Upgrade\r\nUpgrade: other\r\n", framing)
        await client.problem(400, "upgrade-with-body")


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_body_behind_an_offer_of_http2_is_read_as_java_wants_it(framing: bytes) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAA\r\nUpgrade: h2c\r\n"
    async with serving() as server:
        client = await server.connect()
        for _ in range(2):
            client.send(JSON, offer, framing)
            answer = await client.answer()
            assert (answer.status, answer.body) == (200, await plain_answer(server, framing))
        await client.close()


async def plain_answer(server: Any, framing: bytes) -> bytes:
    client = await server.connect()
    client.send(JSON, framing)
    body: bytes = (await client.answer()).body
    await client.close()
    return body


async def test_any_bytes_are_answered_or_cut_and_the_server_goes_on() -> None:
    generator = random.Random(7)  # noqa: S311
    parts = [
        GET,
        CHUNKED,
        JSON,
        b"2\r\n{}\r\n",
        b"0\r\n\r\n",
        b"Content-Length: 2\r\n\r\n",
        b"{}",
        b"\r\n",
        b"\0",
        b"GET ",
    ]
    async with serving(
        header_timeout_seconds=0.5, body_timeout_seconds=0.5, keep_alive=0.1
    ) as server:

        async def attack(data: bytes) -> None:
            client = await server.connect()
            client.send(data)
            try:
                got = await client.reader.read()
            except ConnectionResetError:
                got = b""
            assert got == b"" or got.startswith(b"HTTP/1.1 ")
            await client.close()

        attacks = [
            b"".join(generator.choices(parts, k=generator.randrange(1, 8))) for _ in range(100)
        ]
        await asyncio.gather(*map(attack, attacks))
        await server.empties()
        while server.state.tasks:
            await asyncio.sleep(0.001)
        client = await server.connect()
        client.send(GET)
        assert (await client.answer()).status == 200
        await client.close()
