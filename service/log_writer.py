"""Log lines to a file descriptor, by a thread of its own: whoever logs never waits for a disk or for a reader.

    write -> a bounded queue -> the thread, every 50 ms -> few system calls for many lines

A line is lost, and counted, when the queue is full because nobody reads the pipe, or when the system refuses it because
the disk is full or the pipe is closed. Once that is over, lines are written again. A process that is killed loses what
it logged in its last 50 ms, except for urgent lines: they wake the thread.

Lines stay whole, also those of several processes that share the descriptor: chunks of whole lines are appended to a
file, and to anything else at most PIPE_BUF bytes at once, which a pipe takes whole or not at all. A longer line is
written alone; another process may break into it when the pipe is full just then.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from select import PIPE_BUF, select
from stat import S_ISREG
from threading import Lock, Thread

PAUSE_SECONDS = 0.05
MOST_LINES = 16384
"""About 5 MB of access lines; as many again may be on their way into a pipe that nobody reads."""
FILE_CHUNK_BYTES = 65536
NO_DESCRIPTOR = -1

OnLost = Callable[[int], None]


class LogWriter:
    """Writes lines to `descriptor`; where there is none (NO_DESCRIPTOR), all are lost. Any thread may call it.

    `write` and `flush` hold no lock, so that destructors and handlers of signals may log too. `on_lost` is called with
    a number of lines, by whichever thread finds them lost; `lost` is their sum.
    """

    def __init__(self, descriptor: int) -> None:
        self.lost = 0
        self.on_lost: OnLost = lambda _: None
        self._descriptor = descriptor
        self._chunk_bytes = FILE_CHUNK_BYTES if _is_file(descriptor) else PIPE_BUF
        self._torn = False
        self._queue: SimpleQueue[bytes | _Marker] = SimpleQueue()
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
        """Wait until what was logged so far is written or lost; whether that was within the time."""
        marker = _Marker()
        self._queue.put(marker)
        self._wake()
        return marker.wait(timeout_seconds)

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
                if isinstance(each, _Marker):
                    each.reach()

    def _write_chunk(self, chunk: bytes) -> None:
        """Write whole lines; if the last one before was cut short, a newline first, so that it spoils no other."""
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
        except BlockingIOError:  # whoever started us has made its end non-blocking, and so ours
            select([], [self._descriptor], [])
            return 0


class _Marker:
    """A place in the queue that somebody waits for."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()

    def reach(self) -> None:
        self._lock.release()

    def wait(self, timeout_seconds: float) -> bool:
        return self._lock.acquire(timeout=timeout_seconds)


def chunks(lines: Iterable[bytes], most_bytes: int) -> Iterator[bytes]:
    """Lines joined, in order, to chunks of at most `most_bytes`; a longer line is a chunk by itself."""
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
