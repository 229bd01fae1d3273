"""A real server with a plain app, and clients that may send anything whatever."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from teddy.service.errors import ServiceError
from teddy.service.http.acceptor import listen
from teddy.service.http.body import BodyLimits, read_body
from teddy.service.http.problems import STATUSES
from teddy.service.http.protocol import make_protocol
from teddy.service.settings import Settings

GET = b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"
CHUNKED = (
    b"POST /body HTTP/1.1\r\nHost: t\r\n"
    b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)
JSON = b"POST /body HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
LARGE_BYTES = 32 * 2**20
PATIENT: dict[str, Any] = {
    "header_timeout_seconds": 60,
    "body_timeout_seconds": 60,
    "keep_alive_seconds": 60,
    "address_connection_share": 1,
}


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
        answers = {
            "/body": self.read,
            "/large": self.give_much,
            "/wait": self.wait,
            "/half": self.give_half,
        }
        status, content = await answers.get(scope["path"], self.greet)(
            Request(scope, receive), send
        )
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
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}
        )
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        while (await request.receive())["type"] != "http.disconnect":
            pass
        return 0, b""

    async def connect(self, address: str = "127.0.0.1") -> "Client":
        """Connect from an address of this machine."""
        client = Client(
            *await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        )
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
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-length", length), *close],
            }
        )
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


@asynccontextmanager
async def serving(keep_alive: float = 60, **settings: Any) -> AsyncIterator[Server]:
    """A server with these settings on a free port; in the end its clients are closed too."""
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
