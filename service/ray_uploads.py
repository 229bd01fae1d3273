"""Streams behind Ray: what a client sends is bounded, because nothing there slows it down.

Ray takes a request's body from the network as fast as it comes and keeps it until somebody asks for it. Where a body is
read as fast, that does no harm; a stream is read as fast as its lines are tagged. So here it may have as many bytes as
any other body, which are counted when they come and not when they are wanted.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from teddy.service.errors import BodyTooLargeError

STREAM = "/v1/entities/stream"


class UploadLimit:
    """Middleware: reading a stream of more than `max_bytes` raises BodyTooLargeError after what came before."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as an ASGI app does."""
        if scope["type"] != "http" or scope["path"] != STREAM:
            await self._app(scope, receive, send)
            return
        async with counted(receive, self._max_bytes) as bounded_receive:
            await self._app(scope, bounded_receive, send)


@asynccontextmanager
async def counted(receive: Receive, max_bytes: int) -> AsyncIterator[Receive]:
    """The messages of `receive`, taken as they come; what is over `max_bytes` is thrown away, and an error instead."""
    messages: asyncio.Queue[Message | Exception] = asyncio.Queue()

    async def next_message() -> Message:
        message = await messages.get()
        if isinstance(message, Exception):
            raise message
        return message

    taking = asyncio.create_task(take(receive, messages, max_bytes))
    try:
        yield next_message
    finally:
        taking.cancel()


async def take(receive: Receive, messages: "asyncio.Queue[Message | Exception]", max_bytes: int) -> None:
    """Move all messages to the queue, until the client has gone."""
    n_bytes = 0
    try:
        while (message := await receive())["type"] == "http.request":
            was_within = n_bytes <= max_bytes
            n_bytes += len(message.get("body", b""))
            if n_bytes <= max_bytes:
                messages.put_nowait(message)
            elif was_within:
                messages.put_nowait(BodyTooLargeError(f"A stream may have {max_bytes} bytes here; begin another."))
        messages.put_nowait(message)
    except Exception as error:
        messages.put_nowait(error)  # for whoever asks next: here nobody would see it
