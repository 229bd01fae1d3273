"""Tag lines: many at a time, answered in order.

    lines -> groups -> a task for each: read, tag, write -> answers, in order

A window bounds the lines that are being worked on. It has room again when the client has taken an
answer, and only then more lines are read. So a client that reads slowly slows down only its own
stream, an endless stream needs no more memory than a short one, and a client that reads nothing
before it has sent everything succeeds if that is at most `WINDOW_LINES` lines and `WINDOW_BYTES`
bytes.
"""

import asyncio
from asyncio import Queue, Task, TaskGroup
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from teddy.model.errors import TeddyError
from teddy.model.text.words import Text
from teddy.service.api.answers import (
    LineLimits,
    LineOptions,
    LineSplitter,
    Read,
    end_with,
    read_lines,
)
from teddy.service.errors import (
    ClientDepartedError,
    ClientShareError,
    InferenceError,
    QueueFullError,
)
from teddy.service.inference.fair_queue import RequestContext
from teddy.service.inference.models import ServedModel
from teddy.service.inference.tagging import Tagging

if TYPE_CHECKING:
    from teddy.model.tags.search import Search
    from teddy.model.text.documents import Tagged

WINDOW_LINES = 1024
WINDOW_BYTES = 2**18
GROUP_LINES = 128
GROUP_BYTES = 2**14
"""Lines that arrive together share a task and its cost; this is about a batch of words."""
GROUPS_AT_ONCE = 4
"""Enough to keep the network busy, and few enough to leave the queue, and the client's share of
it, to other requests."""
FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.32
Line = bytes | None
"""None stands for a line that was too long to be kept."""
Departure = Callable[[], Awaitable[None]]
"""Returns when the client has gone; usable once its input has been read."""
Send = Callable[[bytes], Awaitable[None]]
"""Returns when the client, or a small buffer before it, has taken the bytes."""
log = structlog.get_logger("service.stream")


class Window:
    """Room for `max_lines` lines of `max_bytes` bytes together; an empty window admits any group.

    It has one user on each side: the stream's reader and its writer.
    """

    def __init__(self, max_lines: int, max_bytes: int) -> None:
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._lines = self._bytes = 0
        self._left = asyncio.Event()

    async def enter(self, n_lines: int, n_bytes: int) -> None:
        """Take room, once there is enough."""
        while self._lines and (
            self._lines + n_lines > self._max_lines or self._bytes + n_bytes > self._max_bytes
        ):
            self._left.clear()
            await self._left.wait()
        self._lines += n_lines
        self._bytes += n_bytes

    @property
    def n_bytes(self) -> int:
        """The bytes of the lines in it."""
        return self._bytes

    def leave(self, n_lines: int, n_bytes: int) -> None:
        """Give room back."""
        self._lines -= n_lines
        self._bytes -= n_bytes
        self._left.set()


@dataclass(frozen=True, slots=True)
class Group:
    """Lines that arrived together, and their bytes."""

    lines: Sequence[Line]
    n_bytes: int


class Lines(Protocol):
    """What is done with the lines of a stream."""

    def prepare(self, read: Sequence[Read]) -> tuple[Any, Sequence[Text]]:
        """Return what the lines need until they are answered, and the texts to tag."""
        ...

    def write(self, prepared: Any, outcomes: "Sequence[Tagged | TeddyError]") -> bytes:
        """Return the answers to the lines; `outcomes` are those of their texts, in order."""
        ...


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """The options and limits of a stream.

    `make_context` makes the context of a group that is about to queue. `hold` gets how many bytes
    of lines are held, whenever that changes, and raises QueueFullError if that is too many.
    """

    model: ServedModel
    options: LineOptions
    limits: LineLimits
    make_context: Callable[[], RequestContext]
    request_id: str
    hold: Callable[[int], None]
    search: "Search | None"
    lines: Lines


class LineTagging:
    """Tags the lines of one stream."""

    def __init__(self, tagging: Tagging, asked: StreamRequest) -> None:
        self.n_words = 0
        """Words tagged so far."""
        self._tagging = tagging
        self._asked = asked
        self._window = Window(WINDOW_LINES, WINDOW_BYTES)
        self._splitter = LineSplitter(asked.limits.max_bytes)
        self._under_way: Queue[tuple[Group, Task[bytes]] | None] = Queue()
        """In order; None marks the end."""
        self._last_line = b""
        self._at_once = asyncio.Semaphore(GROUPS_AT_ONCE)
        self._retrying = asyncio.Lock()

    async def run(self, pieces: AsyncIterable[bytes], departure: Departure, send: Send) -> bool:
        """Answer the lines of a body; return False if the client left, which ends the work at once.

        An error in `pieces` ends the stream: after the answers to the lines before it, a last line
        reports it.
        """
        has_left = False
        try:
            async with TaskGroup() as tasks:
                reading = tasks.create_task(self._read(pieces, departure, tasks))
                await self._write(send)
                reading.cancel()
        except* ClientDepartedError:
            has_left = True
        return not has_left

    async def _read(
        self, pieces: AsyncIterable[bytes], departure: Departure, tasks: TaskGroup
    ) -> None:
        try:
            async for piece in pieces:
                await self._start(self._splitter.feed(piece), tasks)
            await self._start(self._splitter.end(), tasks)
        except ClientDepartedError:
            raise
        except TeddyError as error:
            self._last_line = end_with(error)
        self._under_way.put_nowait(None)
        await departure()
        raise ClientDepartedError("The client left before its answers were there.")

    async def _start(self, lines: Iterable[Line], tasks: TaskGroup) -> None:
        for group in grouped(lines):
            await self._window.enter(len(group.lines), group.n_bytes)
            self._under_way.put_nowait((group, tasks.create_task(self._answer(group))))
        self._hold()

    def _hold(self) -> None:
        self._asked.hold(self._splitter.n_bytes + self._window.n_bytes)

    async def _write(self, send: Send) -> None:
        while (entry := await self._under_way.get()) is not None:
            group, answer = entry
            await send(await answer)
            self._window.leave(len(group.lines), group.n_bytes)
            with suppress(QueueFullError):  # less is held than before, unless much has come since
                self._hold()
        await send(self._last_line)

    async def _answer(self, group: Group) -> bytes:
        """Return the answers to a group's lines."""
        run, asked = self._tagging.run, self._asked
        async with self._at_once:
            read = await run(group.n_bytes, read_lines, group.lines, asked.limits, asked.options)
            prepared, texts = await run(group.n_bytes, asked.lines.prepare, read)
            outcomes = await self._tag(texts)
            return await run(group.n_bytes, asked.lines.write, prepared, outcomes)

    async def _tag(self, texts: Sequence[Text]) -> "Sequence[Tagged | TeddyError]":
        """Return the entities of each text, or the error.

        A text at which the network fails does not fail the others.
        """
        if not texts:
            return ()
        try:
            tagged = await self._tag_when_there_is_room(texts)
        except InferenceError as error:
            if len(texts) > 1:
                return [outcome for text in texts for outcome in await self._tag([text])]
            log.error("a line failed", request_id=self._asked.request_id, exc_info=error)
            return [error]
        except TeddyError as error:
            return [error] * len(texts)
        self.n_words += sum(each.n_words for each in tagged)
        return tagged

    async def _tag_when_there_is_room(self, texts: Sequence[Text]) -> "Sequence[Tagged]":
        """Return the entities of each text, waiting while the queue is full.

        A full queue is back-pressure for a stream, not an error.
        """
        asked = self._asked

        def tag() -> "Awaitable[Sequence[Tagged]]":
            options = asked.make_context(), asked.options.sentences, asked.search
            return self._tagging.tag(asked.model, texts, *options)

        with suppress(QueueFullError, ClientShareError):
            return await tag()
        # one group at a time tries again: each try splits its texts into words again
        async with self._retrying:
            pause_seconds = FIRST_PAUSE_SECONDS
            while True:
                await asyncio.sleep(pause_seconds)
                with suppress(QueueFullError, ClientShareError):
                    return await tag()
                pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)


def grouped(lines: Iterable[Line]) -> Iterator[Group]:
    """Group the lines into small groups; a long line is a group by itself."""
    begun: list[Line] = []
    n_bytes = 0
    for line in lines:
        size = len(line or b"")
        if begun and (len(begun) == GROUP_LINES or n_bytes + size > GROUP_BYTES):
            yield Group(begun, n_bytes)
            begun, n_bytes = [], 0
        begun.append(line)
        n_bytes += size
    if begun:
        yield Group(begun, n_bytes)
