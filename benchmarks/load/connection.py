"""One keep-alive HTTP connection of a load generator: bytes out, an answer in, little Python.

An ordinary client takes as long for a request as the server does, and would measure itself.
"""

import asyncio
from asyncio import Future, Transport
from dataclasses import dataclass
from typing import Self, cast

HEAD_END = b"\r\n\r\n"


class BrokenConnectionError(Exception):
    """The connection ended before the answer did; `partial` says whether a part of it had come."""

    def __init__(self, message: str, *, partial: bool) -> None:
        super().__init__(message)
        self.partial = partial


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with a body of known length; the names of its headers are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether the server says that it closes the connection after it."""
        return self.headers.get(b"connection", b"").lower() == b"close"


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self.port = 0
        """The client's end, by which a server's process can be found."""
        self._transport: Transport | None = None
        self._gone = asyncio.Event()
        self._waiting: Future[Answer] | None = None
        self._buffer = b""
        self._head: tuple[int, dict[bytes, bytes], int, int] | None = None

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Raises OSError."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, *request: bytes) -> Answer:
        """The answer to a request, which may be given in several pieces.

        Raises BrokenConnectionError.
        """
        if not self.is_open or self._transport is None:
            raise BrokenConnectionError("closed before the request", partial=False)
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.writelines(request)
        return await self._waiting

    def send(self, data: bytes) -> None:
        """Write without waiting for an answer."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """After what was written has gone out."""
        if self._transport is not None:
            self._transport.close()

    async def end(self) -> None:
        """Close, and return when the socket is closed indeed."""
        self.close()
        await self._gone.wait()

    def abort(self) -> None:
        """At once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of asyncio."""
        self._transport = cast(Transport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def data_received(self, data: bytes) -> None:
        """Of asyncio: completes the answer when its last byte is there."""
        self._buffer = self._buffer + data if self._buffer else data
        if self._head is None:
            end = self._buffer.find(HEAD_END)
            if end < 0:
                return
            status, headers = parse_head(self._buffer[:end])
            self._head = (status, headers, end + 4, int(headers.get(b"content-length", b"0")))
        status, headers, start, length = self._head
        if len(self._buffer) < start + length:
            return
        body, self._buffer, self._head = (
            self._buffer[start : start + length],
            self._buffer[start + length :],
            None,
        )
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(Answer(status, headers, body))

    def connection_lost(self, error: Exception | None) -> None:
        """Of asyncio."""
        self._transport = None
        self._gone.set()
        if self._waiting is not None and not self._waiting.done():
            message = type(error).__name__ if error else "closed"
            self._waiting.set_exception(
                BrokenConnectionError(message, partial=bool(self._buffer or self._head))
            )


def parse_head(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers."""
    first, *lines = head.split(b"\r\n")
    pairs = (line.partition(b":") for line in lines)
    return int(first[9:12]), {name.lower(): value.strip() for name, _, value in pairs}
