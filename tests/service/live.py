"""A real server on a free loopback port, and streams over real sockets whose both ends are in the
test's hands."""

import asyncio
import json
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from fastapi import FastAPI

from teddy.service.app import create_app
from teddy.service.http.acceptor import listen
from teddy.service.process.server import Server
from teddy.service.settings import Settings


@dataclass(frozen=True)
class Live:
    """A server that is ready."""

    app: FastAPI
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def queue_words(self) -> int:
        words: int = self.app.state.service.metrics.queue_words
        return words


@asynccontextmanager
async def listening(predictor: Any, **options: Any) -> AsyncIterator[Live]:
    """Serve `predictor` in this process's event loop, with the given settings."""
    settings = Settings(**options)
    app = create_app(settings, lambda _: predictor)
    bound = listen("127.0.0.1", 0)
    server = Server(app, settings)
    # serve() would take this process's signals
    serving = asyncio.create_task(server._serve(sockets=[bound]))
    try:
        while not server.started:
            await asyncio.sleep(0.001)
        await app.state.loading
        yield Live(app, bound.getsockname()[1])
    finally:
        predictor.gate.set()
        server.should_exit = True
        await serving


@dataclass
class RawStream:
    """POST /v1/entities/stream, sent and read a piece at a time."""

    reader: StreamReader
    writer: StreamWriter
    _begun: bytes = field(default=b"", init=False)

    @classmethod
    async def open(
        cls, port: int, query: str = "", headers: str = "", receive_buffer: int | None = None
    ) -> Self:
        with_buffer = socket.socket()
        if receive_buffer:
            with_buffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        with_buffer.setblocking(False)
        await asyncio.get_running_loop().sock_connect(with_buffer, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=with_buffer, limit=2**16)
        writer.write(
            f"POST /v1/entities/stream{query} HTTP/1.1\r\nHost: teddy\r\n"
            f"Connection: close\r\n{headers}"
            "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        return cls(reader, writer)

    async def send(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self.writer.drain()

    async def finish(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def head(self) -> str:
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def lines(self) -> AsyncIterator[dict[str, Any]]:
        """The lines of the answer, whose head has been read."""
        while size := int(await self.reader.readline(), 16):
            *ended, self._begun = (
                self._begun + (await self.reader.readexactly(size + 2))[:-2]
            ).split(b"\n")
            for line in ended:
                yield json.loads(line)
        assert not self._begun, "the last line has an end"

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


def line(text: str, **others: Any) -> bytes:
    """A line of a stream."""
    return json.dumps({"text": text, **others}).encode() + b"\n"
