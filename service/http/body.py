"""Read request bodies: JSON, decompressed, bounded in bytes, in time and in what it becomes."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from math import inf
from typing import TYPE_CHECKING, Any, Self

from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from teddy.service.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    ClientDepartedError,
    MediaTypeError,
    QueueFullError,
)
from teddy.service.http.compression import PIECE_BYTES, Unpacker
from teddy.service.http.json_scan import JsonLimits, JsonScanner, scan

if TYPE_CHECKING:
    from teddy.service.settings import Settings


HELD = "held_bytes"
JSON_TYPE = "application/json"
LARGE_BYTES = 4096
"""A larger body may be refused before it is read, and is scanned; a smaller one costs as little."""

MOST_MEMBERS = 4096
"""Most gzip members or zstd frames in one body: an empty frame has 9 bytes and takes as much time
as 1,000 bytes."""
TURN_SECONDS = 0.002
"""How long decompressing may block the event loop at a time."""


class BodyBudget:
    """Bytes that requests hold until they are answered, and streams for the time being.

    Bodies of one piece are not counted: nearly all are small. Nor is as much of a stream.
    """

    __slots__ = ("_held_bytes", "_most_bytes")

    def __init__(self, most_bytes: float = inf) -> None:
        self._most_bytes = most_bytes
        self._held_bytes = 0

    def hold(self, scope: Scope, n_bytes: int) -> None:
        """Count `n_bytes` more for a request.

        Raises QueueFullError when that is too much together; a single request may hold any amount.
        """
        held = scope.get(HELD, 0)
        if self._held_bytes > held and self._held_bytes + n_bytes > self._most_bytes:
            raise QueueFullError("Too many large bodies are in memory.", retry_after_seconds=1)
        scope[HELD] = held + n_bytes
        self._held_bytes += n_bytes

    def hold_line(self, scope: Scope, n_bytes: int) -> None:
        """Count `n_bytes` as all that a stream holds now. Raises as `hold`, if they are more."""
        more = max(0, n_bytes - PIECE_BYTES) - scope.get(HELD, 0)
        if more > 0:
            self.hold(scope, more)
        elif more:
            scope[HELD] += more
            self._held_bytes += more

    def release(self, scope: Scope) -> None:
        """Stop counting what a request has held."""
        self._held_bytes -= scope.pop(HELD, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """The largest and the slowest body that is accepted."""

    max_body_bytes: int
    """As sent."""
    max_decompressed_bytes: int
    """After gzip or zstd."""
    timeout_seconds: float
    """Longest wait for the next piece; may be infinite."""
    min_bytes_per_second: float
    """Slowest average, as sent, once `timeout_seconds` have been waited for pieces; 0 for none."""
    json: JsonLimits = field(default_factory=JsonLimits)
    """What it may become."""
    budget: BodyBudget = field(default_factory=BodyBudget, compare=False)
    """What all bodies together may take."""

    @classmethod
    def of(cls, settings: "Settings") -> Self:
        """Return the limits in the settings."""
        return cls(
            max_body_bytes=settings.max_body_bytes,
            max_decompressed_bytes=settings.max_decompressed_bytes,
            timeout_seconds=settings.body_timeout_seconds,
            min_bytes_per_second=settings.min_body_bytes_per_second,
            json=JsonLimits.of_texts(settings),
            budget=BodyBudget(settings.max_held_bytes),
        )


async def read_body(
    request: Request, limits: BodyLimits, refuse_early: Callable[[int], None] | None = None
) -> bytes:
    """Return the whole body, decompressed. Its media type must be JSON.

    `refuse_early` is called with the announced size of a large body before it is read.

    Raises MediaTypeError, EncodingError, BodyTooLargeError (before reading if the size is
    announced), TextTooLongError, CompressionError, BodyTimeoutError, ClientDepartedError, and
    QueueFullError when other requests hold too much already. The caller releases the budget after
    the answer.
    """
    head = _read_head(request.scope)
    if head.content_type != JSON_TYPE and not is_json(head.content_type):
        raise MediaTypeError("The body must be JSON: send 'Content-Type: application/json'.")
    if head.n_bytes > LARGE_BYTES and refuse_early is not None:
        refuse_early(head.n_bytes)
    unpacker = Unpacker(head.coding, most_members=MOST_MEMBERS) if head.coding else None
    _check_size(head.n_bytes, limits.max_body_bytes)
    arriving = _Arriving(request.receive, limits, most_bytes=limits.max_body_bytes)
    first = await anext(arriving)
    if unpacker is None and not arriving.more:  # nearly every body
        if len(first) > LARGE_BYTES:
            scan(first, limits.json)
        return first
    most_bytes = limits.max_decompressed_bytes if unpacker else limits.max_body_bytes
    hold = partial(limits.budget.hold, request.scope)
    scanner = JsonScanner(limits.json)
    return await _gather(_unpacked(first, arriving, unpacker), most_bytes, hold, scanner)


def body_chunks(request: Request, limits: BodyLimits) -> AsyncGenerator[bytes, None]:
    """Return a body of any length and media type, decompressed, in chunks of at most PIECE_BYTES.

    Nothing is read ahead: each step reads one message from the server. Raises EncodingError at
    once; CompressionError, BodyTimeoutError and ClientDepartedError while it is read.
    """
    coding = _read_head(request.scope).coding
    return _unpacked(b"", _Arriving(request.receive, limits), Unpacker(coding) if coding else None)


def is_json(content_type: str) -> bool:
    """Return whether a Content-Type is `application/json` or ends in `+json`."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


@dataclass(frozen=True, slots=True)
class _BodyHead:
    """A request's media type, Content-Encoding ("" for none) and Content-Length (0 if absent)."""

    content_type: str
    coding: str
    n_bytes: int


def _read_head(scope: Scope) -> _BodyHead:
    """Read a request's head; a Content-Encoding in several parts counts as an unknown one."""
    content_type, codings, n_bytes = b"", [], 0
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_type = value
        elif name == b"content-encoding":
            codings.append(value)
        elif name == b"content-length" and value.isdigit():
            n_bytes = int(value[:20])  # enough digits to be too many bytes
    coding = _plain_coding(codings) if codings else ""
    return _BodyHead(content_type.decode("latin-1"), coding, n_bytes)


def _plain_coding(values: Iterable[bytes]) -> str:
    """Return Content-Encoding as one name; "" for `identity`, which changes nothing."""
    coding = b",".join(values).decode("latin-1").strip().lower()
    return "" if coding == "identity" else coding


def _check_size(n_bytes: int, most_bytes: int | None) -> None:
    """Raise BodyTooLargeError for more than `most_bytes`."""
    if most_bytes is not None and n_bytes > most_bytes:
        raise BodyTooLargeError(f"The body is larger than {most_bytes} bytes.")


class _Arriving:
    """A body as the server delivers it, message by message, with a time limit for each.

    Only time spent waiting counts: a client that Teddy makes wait is not slow.

    Attributes: `more`, whether another message follows.
    """

    __slots__ = ("_limits", "_most_bytes", "_n_bytes", "_receive", "_waited_seconds", "more")

    def __init__(
        self, receive: Receive, limits: BodyLimits, *, most_bytes: int | None = None
    ) -> None:
        self.more = True
        self._receive = receive
        self._limits = limits
        self._most_bytes = most_bytes
        self._n_bytes = 0
        self._waited_seconds = 0.0

    async def __anext__(self) -> bytes:
        """Return the bytes of the next message.

        Raises BodyTooLargeError, BodyTimeoutError, ClientDepartedError.
        """
        message = await self._message()
        if message["type"] == "http.disconnect":
            raise ClientDepartedError("The client left before its request was complete.")
        self.more = message.get("more_body", False)
        data: bytes = message.get("body", b"")
        self._n_bytes += len(data)
        _check_size(self._n_bytes, self._most_bytes)
        return data

    async def _message(self) -> Message:
        # Most bodies are there before they are asked for. Setting up asyncio.timeout takes 4 to 13
        # microseconds, this first step half a one.
        receiving = self._receive().__await__()
        try:
            awaited = next(receiving)
        except StopIteration as received:
            message: Message = received.value
            return message
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            max_wait = self._max_wait_seconds()
            async with asyncio.timeout(None if max_wait == inf else max_wait):
                return await _Resumed(receiving, awaited)
        except TimeoutError:
            raise BodyTimeoutError("The body comes too slowly, or its end does not come.") from None
        finally:
            self._waited_seconds += loop.time() - began

    def _max_wait_seconds(self) -> float:
        """Return how long the next message may take, by its own limit and by the average rate."""
        longest = self._limits.timeout_seconds
        rate = self._limits.min_bytes_per_second
        earned = self._n_bytes / rate if rate else inf
        return min(longest, max(longest, earned) - self._waited_seconds)


class _Resumed:
    """An awaitable whose first step has been taken: it yields `awaited` first, then goes on."""

    __slots__ = ("_awaited", "_started")

    def __init__(self, started: Generator[Any, Any, Message], awaited: Any) -> None:
        self._started = started
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, Message]:
        """Continue as `await` would have."""
        awaited = self._awaited
        try:
            while True:
                try:
                    sent = yield awaited
                except BaseException as error:  # cancelled, by the timeout or from outside
                    awaited = self._started.throw(error)
                else:
                    awaited = self._started.send(sent)
        except StopIteration as done:
            message: Message = done.value
            return message


async def _unpacked(
    first: bytes, arriving: _Arriving, unpacker: Unpacker | None
) -> AsyncGenerator[bytes, None]:
    """Yield pieces of at most PIECE_BYTES, and give way to other tasks after every turn."""
    loop = asyncio.get_running_loop()
    data = first
    while True:
        turn_ends = loop.time() + TURN_SECONDS
        for piece in unpacker.pieces(data) if unpacker else _cut(data):
            if piece:
                yield piece
            if loop.time() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = loop.time() + TURN_SECONDS
        if not arriving.more:
            break
        data = await anext(arriving)
    if unpacker:
        unpacker.finish()


def _cut(data: bytes) -> Iterable[bytes]:
    """Split `data` into pieces of at most PIECE_BYTES."""
    if len(data) <= PIECE_BYTES:
        return (data,)
    return (data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES))


async def _gather(
    pieces: AsyncGenerator[bytes, None],
    most_bytes: int,
    hold: Callable[[int], None],
    scanner: JsonScanner,
) -> bytes:
    """Join all pieces.

    Calls `hold` with each piece's size first, and scans it; both may raise.

    Raises BodyTooLargeError before it holds more than `most_bytes` and one piece.
    """
    whole = BytesIO()  # its value is taken without a copy
    async with aclosing(pieces):
        async for piece in pieces:
            _check_size(whole.tell() + len(piece), most_bytes)
            hold(len(piece))
            scanner.feed(piece)
            whole.write(piece)
    return whole.getvalue()
