import asyncio
import gzip
import json
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from backports import zstd
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from service.body import BodyLimits, read_body
from service.errors import ClientDepartedError, ServiceError
from service.problems import STATUSES
from service.protocol import MOST_PIPELINED, Protocol, make_protocol
from service.server import listen
from service.settings import Settings

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"
CHUNKED = b"POST /body HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
JSON = b"POST /body HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
LARGE_BYTES = 32 * 2**20
PATIENT: dict[str, Any] = {"header_timeout_seconds": 60, "body_timeout_seconds": 60, "keep_alive_seconds": 60}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@dataclass
class Server:
    """A real server with a plain app: `/` answers its path, and the others as their methods say."""

    settings: Settings
    refused: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    failed: list[ServiceError] = field(default_factory=list)
    clients: list["Client"] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    state: Any = None
    stop: Callable[[], Awaitable[None]] = field(init=False)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        answers = {"/body": self.read, "/large": self.give_much, "/wait": self.wait, "/half": self.give_half}
        status, content = await answers.get(scope["path"], self.greet)(Request(scope, receive), send)
        await answer(send, status, content)

    async def greet(self, request: Request, _: Send) -> tuple[int, bytes]:
        return 200, request.scope["path"].encode()

    async def read(self, request: Request, _: Send) -> tuple[int, bytes]:
        try:
            return 200, b"%d bytes" % len(await read_body(request, BodyLimits.of(self.settings)))
        except ServiceError as error:
            self.failed.append(error)
            return STATUSES[type(error)], b""

    async def give_much(self, _: Request, __: Send) -> tuple[int, bytes]:
        return 200, bytes(LARGE_BYTES)

    async def wait(self, _: Request, __: Send) -> tuple[int, bytes]:
        await self.gate.wait()
        return 200, b"waited"

    async def give_half(self, request: Request, send: Send) -> tuple[int, bytes]:
        """Begin the answer, and end it when the client has gone."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        while (await request.receive())["type"] != "http.disconnect":
            pass
        return 0, b""

    async def connect(self) -> "Client":
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def is_asked(self) -> None:
        """Return when the app has begun to work."""
        while not self.asked:
            await asyncio.sleep(0.001)

    async def empties(self) -> None:
        """Return when nobody is connected any more."""
        while self.state.connections:
            await asyncio.sleep(0.005)


async def answer(send: Send, status: int, content: bytes) -> None:
    if status:
        length = str(len(content)).encode()
        close = [(b"connection", b"close")] if status >= 400 else []
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", length), *close]})
    await send({"type": "http.response.body", "body": content, "more_body": False})


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Client:
    """A connection, on which anything may be sent."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def answer(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status_line, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await self.reader.readexactly(int(headers["content-length"]))
        return Answer(int(status_line.split()[1]), headers, body)

    async def problem(self, status: int, kind: str) -> Answer:
        """The next answer, which must be this problem and the last of its connection."""
        answer = await self.answer()
        problem = json.loads(answer.body)
        assert (answer.status, problem["type"]) == (status, f"urn:teddy:problem:{kind}")
        assert problem["status"] == status
        assert problem["title"] == kind.replace("-", " ").capitalize()
        assert problem["detail"]
        assert answer.headers["x-request-id"] == problem["request_id"]
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["connection"] == "close"
        assert answer.headers["x-content-type-options"] == "nosniff"
        await self.ends()
        return answer

    async def ends(self) -> None:
        """Return when the server has closed the connection, having sent nothing more."""
        assert await self.reader.read() == b""
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    async def drip(self, data: bytes, seconds: float = 0.01) -> None:
        """Send byte after byte until all is sent or nobody is there."""
        with suppress(ConnectionError):
            for place in range(len(data)):
                if self.writer.is_closing():
                    return
                self.send(data[place : place + 1])
                await self.writer.drain()
                await asyncio.sleep(seconds)


Serving = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture
def serving() -> Serving:
    """`async with serving(max_connections=2) as server`."""

    @asynccontextmanager
    async def serve(keep_alive: float = 60, **settings: Any) -> AsyncIterator[Server]:
        served = Server(Settings(**PATIENT | settings))
        config = uvicorn.Config(
            served.app,
            http=make_protocol(served.settings, served.refused.append),
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=keep_alive,  # type: ignore[arg-type]  # less than a second for a test
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        config.load()
        server.lifespan = config.lifespan_class(config)
        bound = listen("127.0.0.1", 0)
        served.port, served.state = bound.getsockname()[1], server.server_state
        served.stop = lambda: server.shutdown([bound])
        await server.startup([bound])
        try:
            async with asyncio.timeout(60):
                yield served
        finally:
            served.gate.set()
            await served.stop()
            for client in served.clients:
                await client.close()

    return serve


async def test_requests_are_answered_one_after_the_other_on_one_connection(serving: Serving) -> None:
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


async def test_a_head_that_comes_byte_by_byte_is_refused_when_its_time_is_over(serving: Serving) -> None:
    async with serving(header_timeout_seconds=0.2) as server:
        client = await server.connect()
        crawling = asyncio.create_task(client.drip(b"GET / HTTP/1.1\r\nX-Endless: " + b"x" * 1000))
        await client.problem(408, "header-timeout")
        await crawling
        await server.empties()
    assert server.refused == ["header-timeout"]
    assert server.asked == []


async def test_a_connection_on_which_nothing_is_asked_is_refused_too(serving: Serving) -> None:
    async with serving(header_timeout_seconds=0.1) as server:
        await (await server.connect()).problem(408, "header-timeout")


async def test_a_later_head_has_the_same_time_from_its_first_byte(serving: Serving) -> None:
    async with serving(header_timeout_seconds=0.1) as server:
        client = await server.connect()
        client.send(GET)
        await client.answer()
        await asyncio.sleep(0.2)  # being idle is allowed
        client.send(GET)
        await client.answer()
        client.send(b"G")
        await client.problem(408, "header-timeout")


async def test_an_idle_connection_is_closed_without_a_word(serving: Serving) -> None:
    async with serving(keep_alive=0.1) as server:
        client = await server.connect()
        client.send(GET)
        await client.answer()
        await client.ends()
        await server.empties()
    assert server.refused == []


async def test_empty_lines_do_not_keep_a_connection(serving: Serving) -> None:
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
async def test_a_head_that_is_too_large_is_refused(serving: Serving, head: bytes) -> None:
    async with serving(max_header_bytes=512) as server:
        client = await server.connect()
        client.send(head)
        await client.problem(431, "header-too-large")
    assert server.refused == ["header-too-large"]
    assert server.asked == []


async def test_a_head_of_nearly_the_largest_size_is_read_however_it_is_cut(serving: Serving) -> None:
    head = b"GET / HTTP/1.1\r\nHost: t\r\nX-Long: " + b"x" * 450 + b"\r\n\r\n"
    assert 480 < len(head) <= 512
    async with serving(max_header_bytes=512) as server:
        client = await server.connect()
        for size in (512, 300, 100, 7):
            for start in range(0, len(head), size):
                client.send(head[start : start + size])
                await asyncio.sleep(0)
            assert (await client.answer()).status == 200


async def test_pipelined_heads_are_measured_one_by_one(serving: Serving) -> None:
    fair = b"GET / HTTP/1.1\r\nHost: t\r\nX-Long: " + b"x" * 300 + b"\r\n\r\n"
    async with serving(max_header_bytes=512) as server:
        client = await server.connect()
        client.send(fair * 10, b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 1000)
        for _ in range(10):
            assert (await client.answer()).status == 200
        await client.problem(431, "header-too-large")
    assert server.refused == ["header-too-large"]


async def test_what_comes_before_a_fault_is_answered_first(serving: Serving) -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(b"GET /wait HTTP/1.1\r\nHost: t\r\n\r\n", GET, b"no HTTP\r\n\r\n")
        await server.is_asked()
        server.gate.set()
        assert (await client.answer()).body == b"waited"
        assert (await client.answer()).body == b"/"
        await client.problem(400, "malformed-request")


async def test_more_requests_than_may_wait_on_a_connection_are_refused_after_the_others(serving: Serving) -> None:
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


async def test_one_connection_too_many_is_refused_and_the_others_are_not_touched(serving: Serving) -> None:
    async with serving(max_connections=2) as server:
        clients = [await server.connect() for _ in range(2)]
        for client in clients:
            client.send(GET)
            await client.answer()
        late = await server.connect()
        late.send(GET)
        refusal = await late.problem(503, "too-many-connections")
        assert refusal.headers["retry-after"] == "60"
        assert len(server.asked) == 2

        for client in clients:
            client.send(GET)
            assert (await client.answer()).status == 200
        await clients[0].close()
        while len(server.state.connections) == 2:
            await asyncio.sleep(0.001)
        clients[0] = await server.connect()
        clients[0].send(GET)
        assert (await clients[0].answer()).status == 200
        for client in clients:
            await client.close()
    assert server.refused == ["too-many-connections"]


async def test_connections_that_are_turned_away_say_nothing_and_stay_are_closed(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.protocol.LINGER_SECONDS", 0.1)
    monkeypatch.setattr("service.connection.LINGER_SECONDS", 0.1)
    async with serving(max_connections=2) as server:
        served = [await server.connect() for _ in range(2)]
        while len(server.state.connections) < 2:
            await asyncio.sleep(0)
        silent = [await server.connect() for _ in range(2)]
        while len(turned_away(server)) < 2:
            await asyncio.sleep(0)
        beyond = await server.connect()
        try:
            await beyond.ends()  # without an answer: there is no end to such connections
        except ConnectionResetError:
            await beyond.close()
        for client in silent:
            assert (await client.answer()).status == 503  # though they do not close
        while turned_away(server):
            await asyncio.sleep(0.001)
        for client in (*silent, *served):
            await client.close()
    assert server.refused == ["too-many-connections"] * 3


def turned_away(server: Server) -> set[Protocol]:
    return next(iter(server.state.connections)).turned_away  # type: ignore[no-any-return]


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
async def test_what_is_no_http_is_a_problem(serving: Serving, request_bytes: bytes) -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(request_bytes)
        await client.problem(400, "malformed-request")
        await server.empties()
    assert server.refused == ["malformed-request"]
    assert server.asked == []


@pytest.mark.parametrize("body", [b"zz\r\n", b"-2\r\n{}\r\n", b"5\r\n{}\r\nxxxxxxx", b"2\r\n{}oops\r\n"])
async def test_chunks_that_are_none_are_a_problem_and_the_app_hears_that_nobody_is_there(
    serving: Serving, body: bytes
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


async def test_a_fault_after_the_answer_has_begun_cuts_the_connection(serving: Serving) -> None:
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


async def test_a_body_longer_than_announced_is_answered_and_its_rest_refused(serving: Serving) -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(JSON, b"Content-Length: 2\r\n\r\n{}{}{}")
        assert (await client.answer()).body == b"2 bytes"
        await client.problem(400, "malformed-request")


@pytest.mark.parametrize("head", [JSON + b"Content-Length: 100\r\n\r\n", CHUNKED + b"2\r\n"], ids=["length", "chunked"])
async def test_a_body_without_its_end_is_given_up(serving: Serving, head: bytes) -> None:
    async with serving(body_timeout_seconds=0.1) as server:
        client = await server.connect()
        client.send(head, b"{}")
        assert (await client.answer()).status == 408
        await client.ends()
        await server.empties()


async def test_a_body_that_comes_byte_by_byte_is_given_up(serving: Serving) -> None:
    async with serving(body_timeout_seconds=0.2, min_body_bytes_per_second=10_000) as server:
        client = await server.connect()
        client.send(JSON, b"Content-Length: 10000\r\n\r\n")
        crawling = asyncio.create_task(client.drip(b"x" * 10_000))
        assert (await client.answer()).status == 408
        await client.ends()
        await crawling


async def test_a_client_that_sends_without_end_gets_to_read_why_it_is_refused(serving: Serving) -> None:
    async with serving(max_body_bytes=200_000) as server:
        for head in (CHUNKED, JSON + b"Content-Length: 1000000000000\r\n\r\n"):
            client = await server.connect()
            sending = asyncio.create_task(flood(client, head))
            assert (await client.answer()).status == 413
            await client.ends()
            await sending
        await server.empties()


async def flood(client: Client, head: bytes) -> None:
    chunk = b"%x\r\n%s\r\n" % (50_000, b"x" * 50_000)
    client.send(head)
    with suppress(ConnectionError):
        while not client.writer.is_closing():
            client.send(chunk)
            await client.writer.drain()
            await asyncio.sleep(0)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_bomb_is_refused(serving: Serving, coding: str) -> None:
    content = bytes(16 * 2**20)
    bomb = gzip.compress(content, 1) if coding == "gzip" else zstd.compress(content)
    async with serving(max_decompressed_bytes=2**20) as server:
        client = await server.connect()
        client.send(JSON, b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding.encode(), len(bomb)), bomb)
        assert (await client.answer()).status == 413
        await client.close()


@pytest.mark.parametrize("endless", [b"0\r\n" + b"A: b\r\n" * 1000, b"2;" + b"x" * 5000, b"0\r\nA: " + b"b" * 5000])
async def test_what_surrounds_chunks_is_bounded_as_a_head_is(serving: Serving, endless: bytes) -> None:
    async with serving(max_header_bytes=1024) as server:
        client = await server.connect()
        client.send(CHUNKED, b"2\r\n{}\r\n", endless)
        await client.problem(431, "header-too-large")


async def test_the_rest_of_a_body_whose_answer_was_given_does_not_keep_the_connection(serving: Serving) -> None:
    async with serving(header_timeout_seconds=0.1, keep_alive=0.1) as server:
        client = await server.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n")
        assert (await client.answer()).status == 200
        dripping = asyncio.create_task(client.drip(b"x" * 10_000))
        await client.ends()
        await dripping
        await server.empties()
    assert server.refused == []


async def test_after_a_body_that_was_answered_early_the_connection_goes_on(serving: Serving) -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(b"POST /early HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n12345")
        assert (await client.answer()).body == b"/early"
        client.send(b"67890", GET)
        assert (await client.answer()).body == b"/"
        assert not next(iter(server.state.connections))._unread()


async def test_a_client_that_does_not_read_its_answer_is_cut(serving: Serving) -> None:
    async with serving(body_timeout_seconds=0.2) as server:
        with deaf_client(server.port) as deaf:
            deaf.sendall(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n")
            await server.is_asked()
            await server.empties()
    assert server.refused == ["answer-not-read"]


async def test_a_client_that_asks_much_and_reads_nothing_is_cut(serving: Serving) -> None:
    async with serving(body_timeout_seconds=0.2) as server:
        with deaf_client(server.port) as deaf:
            deaf.sendall(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n" * 3)
            await server.is_asked()
            await server.empties()
    assert server.asked == ["/large"] * 2  # the second waits in vain for room to answer
    assert server.refused == ["answer-not-read"]


def deaf_client(port: int) -> socket.socket:
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", port))
    return deaf


async def test_a_client_that_reads_slowly_but_steadily_gets_all_of_its_answer(serving: Serving) -> None:
    async with serving(body_timeout_seconds=0.1, keep_alive=0.1) as server:
        client = await server.connect()
        client.send(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n")
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        n_bytes = 0
        while n_bytes < LARGE_BYTES:
            n_bytes += len(await client.reader.readexactly(2**19))
            await asyncio.sleep(0.01)
        await client.ends()
    assert server.refused == []


async def test_a_client_that_vanishes_is_looked_for_by_the_system(serving: Serving) -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(GET)
        await client.answer()
        accepted = next(iter(server.state.connections))._way_out._transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        await client.close()


async def test_a_client_that_leaves_is_noticed_by_the_request_that_runs_and_those_that_wait(serving: Serving) -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(CHUNKED.replace(b"/body", b"/half"), b"0\r\n\r\n", CHUNKED)
        await client.close()
        await server.empties()
        while server.state.tasks:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("coming", [GET, b"CONNECT t:1 HTTP/1.1\r\nHost: t\r\n\r\n"], ids=["get", "connect"])
async def test_an_offer_to_upgrade_is_declined_by_an_ordinary_answer(serving: Serving, coming: bytes) -> None:
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


@pytest.mark.parametrize("framing", [b"Content-Length: 2\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
async def test_a_body_with_an_offer_to_upgrade_is_refused_rather_than_lost(serving: Serving, framing: bytes) -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(JSON, b"Connection: Upgrade\r\nUpgrade: h2c\r\n", framing)
        await client.problem(400, "upgrade-with-body")


async def test_any_bytes_are_answered_or_cut_and_the_server_goes_on(serving: Serving) -> None:
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
    async with serving(header_timeout_seconds=0.5, body_timeout_seconds=0.5, keep_alive=0.1) as server:

        async def attack(data: bytes) -> None:
            client = await server.connect()
            client.send(data)
            try:
                got = await client.reader.read()
            except ConnectionResetError:
                got = b""
            assert got == b"" or got.startswith(b"HTTP/1.1 ")
            await client.close()

        attacks = [b"".join(generator.choices(parts, k=generator.randrange(1, 8))) for _ in range(100)]
        await asyncio.gather(*map(attack, attacks))
        await server.empties()
        while server.state.tasks:
            await asyncio.sleep(0.001)
        client = await server.connect()
        client.send(GET)
        assert (await client.answer()).status == 200
        await client.close()


async def test_a_stopping_server_closes_idle_connections_and_finishes_the_others(serving: Serving) -> None:
    async with serving() as server:
        idle, busy = await server.connect(), await server.connect()
        idle.send(GET)
        await idle.answer()
        busy.send(b"GET /wait HTTP/1.1\r\nHost: t\r\n\r\n")
        while "/wait" not in server.asked:
            await asyncio.sleep(0)
        stopping = asyncio.ensure_future(server.stop())
        await idle.ends()
        server.gate.set()
        assert (await busy.answer()).body == b"waited"
        await busy.ends()
        await stopping
