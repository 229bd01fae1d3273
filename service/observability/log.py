"""Logs: JSON lines on standard error, from a thread that no request waits for.

A log never has a text that was sent. An exception's message may quote one, so only the messages of
exceptions known not to are logged; of others the class and the lines of code are. A line is
printable ASCII, so that no value can forge another line.

A full disk or a pipe that is not read neither fails nor delays a request:

    write -> a bounded queue -> the thread, every 50 ms -> few system calls for many lines

A line is lost, and counted, when the queue is full because the pipe is not read, or when the system
refuses it because the disk is full or the pipe is closed. Lines are written again once that is
over. (A thread that writes each line as it comes, as logging's QueueListener does, takes 10 us of
CPU a request, this one 4; and counting lost lines and mending torn ones would stay ours.) A process
that is killed loses what it logged in its last 50 ms, except for urgent lines: they wake the
thread.

Lines stay whole, also those of several processes that share the descriptor: chunks of whole lines
are appended to a file, and to anything else at most PIPE_BUF bytes at once, which a pipe takes
whole or not at all. A longer line is written alone; another process may break into it when the pipe
is full just then.
"""

import atexit
import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import suppress
from functools import lru_cache
from queue import SimpleQueue
from select import PIPE_BUF, select
from stat import S_ISREG
from threading import Lock, Thread
from typing import Any, Protocol, Self

import structlog
from pydantic_core import PydanticSerializationError, to_json

from teddy.model.errors import TeddyError

PAUSE_SECONDS = 0.05
MOST_LINES = 16384
"""About 5 MB of access lines; as many again may wait in a pipe that is not read."""
FILE_CHUNK_BYTES = 65536
NO_DESCRIPTOR = -1

OnLost = Callable[[int], None]

SAFE_TO_QUOTE = (TeddyError, OSError)
MOST_FRAMES = 24
MOST_LINKS = 8
"""Of an exception's frames the innermost, and of its causes the first ones: endless recursion stays
one short line."""
LAST_FLUSH_SECONDS = 1.0
PRINTABLE = re.compile(rb"[ -~]+")
QUOTING = re.compile(r"[\n(<]")
"""From here on asyncio's messages show a task, a callback's arguments or an exception: anything,
texts among it."""
Event = MutableMapping[str, Any]


class LogWriter:
    """Writes lines to `descriptor`; where there is none (NO_DESCRIPTOR), all are lost.

    Any thread may call it.

    `write` and `flush` hold no lock, so that destructors and handlers of signals may log too.
    `on_lost` is called with a number of lines, by whichever thread finds them lost; `lost` is their
    sum.
    """

    def __init__(self, descriptor: int) -> None:
        self.lost = 0
        self.on_lost: OnLost = lambda _: None
        self._descriptor = descriptor
        self._chunk_bytes = FILE_CHUNK_BYTES if _is_file(descriptor) else PIPE_BUF
        self._torn = False
        self._queue: SimpleQueue[bytes | Any] = SimpleQueue()
        self._alarm = Lock()
        self._alarm.acquire()
        Thread(target=self._run, name="log-writer", daemon=True).start()

    def write(self, line: bytes, *, urgent: bool = False) -> None:
        """Have a line written, which ends in a newline; an urgent one without waiting for more."""
        if self._queue.qsize() >= MOST_LINES:
            self._lose(1)
            return
        self._queue.put(line)
        if urgent:
            self._wake()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until earlier lines are written or lost; return whether that was in time."""
        marker = Lock()
        marker.acquire()
        self._queue.put(marker)
        self._wake()
        return marker.acquire(timeout=timeout_seconds)

    def _wake(self) -> None:
        with suppress(RuntimeError):  # it has been woken already
            self._alarm.release()

    def _lose(self, lines: int) -> None:
        self.lost += lines
        self.on_lost(lines)

    def _run(self) -> None:
        while True:
            taken = [self._queue.get()]
            self._alarm.acquire(timeout=PAUSE_SECONDS)
            taken += [self._queue.get() for _ in range(self._queue.qsize())]
            lines = (each for each in taken if isinstance(each, bytes))
            for chunk in chunks(lines, self._chunk_bytes):
                self._write_chunk(chunk)
            for each in taken:
                if not isinstance(each, bytes):  # all before this marker has been written
                    each.release()

    def _write_chunk(self, chunk: bytes) -> None:
        """Write whole lines, after a newline if the last one was cut short."""
        whole = b"\n" + chunk if self._torn else chunk
        rest = whole
        try:
            while rest:
                rest = rest[self._write_some(rest) :]
        except OSError:
            written = len(whole) - len(rest)
            self._lose(min(rest.count(b"\n"), chunk.count(b"\n")))
            self._torn = whole[written - 1 : written] != b"\n" if written else self._torn
        else:
            self._torn = False

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # the other end was made non-blocking, and so ours
            select([], [self._descriptor], [])
            return 0


def chunks(lines: Iterable[bytes], most_bytes: int) -> Iterator[bytes]:
    """Yield lines joined to chunks of at most `most_bytes`; a longer line is its own chunk."""
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        if chunk and size + len(line) > most_bytes:
            yield b"".join(chunk)
            chunk, size = [], 0
        chunk.append(line)
        size += len(line)
    if chunk:
        yield b"".join(chunk)


def _is_file(descriptor: int) -> bool:
    try:
        return S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False


class Writer(Protocol):
    """Where lines go."""

    def write(self, line: bytes, *, urgent: bool = False) -> None:
        """Write a line, which ends in a newline."""


def configure_logs(level: str, writer: Writer | None = None) -> None:
    """Send structlog and the standard library's loggers to `writer`, by default standard error.

    For entry points only.
    """
    if writer is None:
        # where standard error was closed before the start, its number may be a socket's by now
        writer = LogWriter(NO_DESCRIPTOR if sys.stderr is None else sys.stderr.fileno())
        atexit.register(writer.flush, LAST_FLUSH_SECONDS)
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        add_timestamp,
        describe_exception,
    ]
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=Lines(writer),
        # it would save 0.7 us, and make loggers outlive the next configuration
        cache_logger_on_first_use=False,
    )
    handler = LinesHandler(writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, shorten_asyncio, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render_text],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # what other libraries tell about their work might quote a text
    root.setLevel(max(number, logging.WARNING))
    logging.getLogger("uvicorn").setLevel(number)


def count_lost_lines(on_lost: OnLost) -> None:
    """Call `on_lost` with every number of lines that cannot be written, also of those before."""
    if (writer := _log_writer()) is not None:
        writer.on_lost = on_lost
        if writer.lost:
            on_lost(writer.lost)


def flush_logs(timeout_seconds: float = LAST_FLUSH_SECONDS) -> None:
    """Wait until what was logged is written, but not longer.

    Called at exit; `os._exit` needs it before.
    """
    if (writer := _log_writer()) is not None:
        writer.flush(timeout_seconds)


def _log_writer() -> LogWriter | None:
    factory = structlog.get_config()["logger_factory"]
    writer = factory.writer if isinstance(factory, Lines) else None
    return writer if isinstance(writer, LogWriter) else None


class Lines:
    """The end of structlog's pipeline, with a method for each level. It is its own factory."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def __call__(self, *_: object) -> Self:
        """Return the logger that structlog asks its factory for."""
        return self

    def info(self, line: bytes) -> None:
        """Write a line that can wait."""
        self.writer.write(line)

    def error(self, line: bytes) -> None:
        """Write a line that should not be lost if the process is."""
        self.writer.write(line, urgent=True)

    debug = info
    warning = critical = error


class LinesHandler(logging.Handler):
    """The same for loggers of the standard library."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or its place in the code if its arguments do not fit its message."""
        try:
            line = self.format(record).encode("ascii")
        # logging's own way prints message and arguments, texts among them, to standard error
        except Exception:
            structlog.get_logger().error(
                "a log line failed", logger=record.name, line=record.lineno
            )
        else:
            self._writer.write(line, urgent=record.levelno >= logging.WARNING)


def add_timestamp(_logger: object, _method: str, event: Event) -> Event:
    """Add the time: UTC, ISO 8601, microseconds."""
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    event["timestamp"] = f"{_to_the_second(seconds)}.{microseconds:06d}Z"
    return event


@lru_cache(maxsize=1)
def _to_the_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def render(_logger: object, _method: str, event: Event) -> bytes:
    """Return an event as a line of JSON.

    Pydantic's writer is five times as fast as the standard library's.
    """
    try:
        line = to_json(event, fallback=class_of)
    except PydanticSerializationError:  # half of a surrogate pair, bytes that are not UTF-8
        line = b""
    if not PRINTABLE.fullmatch(line):
        line = json.dumps(event, default=class_of, separators=(",", ":")).encode("ascii")
    return line + b"\n"


def render_text(logger: object, method: str, event: Event) -> str:
    """Return the same as a string, which structlog's bridge to the standard library insists on."""
    return render(logger, method, event).decode("ascii")


def class_of(value: object) -> str:
    """Return what is logged of a value that is not JSON: how it shows itself might quote a text."""
    return f"<{type(value).__qualname__}>"


def shorten_asyncio(_logger: object, _method: str, event: Event) -> Event:
    """Keep asyncio's words up to its first quotation; its exception is described apart."""
    if event.get("logger") == "asyncio":
        event["event"] = QUOTING.split(str(event["event"]), maxsplit=1)[0].rstrip()
    return event


def describe_exception(_logger: object, _method: str, event: Event) -> Event:
    """Replace `exc_info` by `exception`: class, frames, and message if safe, for each cause."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = [_describe(each) for each in _chain(error)]
    return event


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain and len(chain) < MOST_LINKS:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return chain


def _describe(error: BaseException) -> dict[str, Any]:
    frames = [
        f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}"
        for frame, line in [*traceback.walk_tb(error.__traceback__)][-MOST_FRAMES:]
    ]
    described: dict[str, Any] = {"class": type(error).__qualname__, "frames": frames}
    if isinstance(error, SAFE_TO_QUOTE):
        described["message"] = str(error)
    return described
