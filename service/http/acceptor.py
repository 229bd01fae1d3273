"""Accept connections: workers share one listening socket and take turns by their connection counts.

Left to themselves, the worker that wakes first takes what is there: of 64 kept-alive connections
that come at once, two workers got 52 and 12, or 9 and 55. A socket for each (`SO_REUSEPORT`) is
even only on average (26 and 38), and the connections that wait in a killed worker's queue are lost;
in a shared queue they wait for another worker. Taking turns gave 32 and 32 each time.

Within a worker, addresses take turns too. The system's queue knows no addresses: behind 5,000
connections of one address, a probe waited there for a second. So that queue is emptied at once (10
us a connection), and connections are set up from queues by address (0.3 ms a connection).
"""

import asyncio
import mmap
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from teddy.service.errors import AddressError

COUNTS_FILE = "connections"
"""The file in the metrics' directory by which workers take turns in taking connections."""
ACCEPTED_AT_ONCE, AT_ONCE = 256, 16
"""Connections accepted, and set up, before the event loop's other work gets its turn: about as
long."""
MOST_OF_ADDRESS = 4096
"""Accepted connections of one address that wait; one more, and its first is closed."""
STEP_BACK_SECONDS = 0.002
"""How long a worker that has more connections than another leaves new ones to it."""
TAKEN_AFTER_STEPPING_BACK = 4  # the worker with the fewest did not take them, so it may hang
EXHAUSTED_SECONDS = 1.0
"""How long nothing is taken when the process has no file descriptors left."""
COUNT = struct.Struct("=q")
ABSENT = -1

log = structlog.get_logger("service.acceptor")


class ConnectionCounts:
    """How many connections each worker has, in a file that all of them map.

    A worker writes its own place only.
    """

    def __init__(self, file: Path, worker: int) -> None:
        with file.open("r+b") as opened:
            self._counts = mmap.mmap(opened.fileno(), 0)
        self._worker = worker

    @staticmethod
    def create(file: Path, n_workers: int) -> None:
        """Create the file; no worker takes connections yet."""
        file.write_bytes(COUNT.pack(ABSENT) * n_workers)

    def publish(self, n_connections: int) -> None:
        """Publish this worker's count."""
        COUNT.pack_into(self._counts, self._worker * COUNT.size, n_connections)

    def leave(self) -> None:
        """Publish that this worker takes no connections."""
        self.publish(ABSENT)

    def no_worker_accepts(self) -> bool:
        """Return whether no worker takes connections."""
        return all(count == ABSENT for (count,) in COUNT.iter_unpack(self._counts))

    def least(self) -> int:
        """Return the lowest count of the workers that take connections."""
        return min(
            (count for (count,) in COUNT.iter_unpack(self._counts) if count != ABSENT), default=0
        )


class Acceptor:
    """Accept connections from a socket once it is open. Uvicorn sees it as one of its servers.

    `make_protocol` makes the protocol of a connection, `count` returns how many are being served.
    `counts` is None for a single worker.
    """

    def __init__(
        self,
        bound: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        count: Callable[[], int],
        *,
        backlog: int,
        counts: ConnectionCounts | None = None,
    ) -> None:
        self._socket = bound
        self._make_protocol = make_protocol
        self._count = count
        self._backlog = backlog
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, deque[socket.socket]] = {}
        """Accepted connections by address, the address whose turn it is first."""
        self._n_waiting = 0
        self._adopting: asyncio.Handle | None = None
        self._adoptions: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._open = False

    def open(self) -> None:
        """Listen, and accept connections."""
        self._open = True
        self._socket.setblocking(False)
        self._socket.listen(self._backlog)
        self.publish()
        self._watch()

    def close(self) -> None:
        """Accept what has already connected, then close the socket."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._socket)
            if self._pause is not None:
                self._pause.cancel()
            while self._take():
                pass
            while self._n_waiting:
                self._adopt_some()
        if self._counts is not None:
            self._counts.leave()
        self._socket.close()

    async def wait_closed(self) -> None:
        """Return when every accepted connection has its protocol."""
        await asyncio.gather(*self._adoptions)

    def publish(self) -> None:
        """Publish this worker's connection count to the other workers."""
        if self._counts is not None and self._open:
            self._counts.publish(self._n_connections())

    def _n_connections(self) -> int:
        return self._count() + self._n_waiting + len(self._adoptions)

    def _watch(self) -> None:
        self._loop.add_reader(self._socket, self._on_connections)

    def _on_connections(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            if self._counts is not None and self._n_connections() > self._counts.least():
                self._step_back(STEP_BACK_SECONDS)
                return
            if not self._take():
                return

    def _step_back(self, seconds: float) -> None:
        self.publish()
        self._loop.remove_reader(self._socket)
        self._pause = self._loop.call_later(seconds, self._step_forward)

    def _step_forward(self) -> None:
        self._pause = None
        for _ in range(TAKEN_AFTER_STEPPING_BACK):
            if not self._take():
                break
        if self._pause is None:
            self._watch()

    def _take(self) -> bool:
        """Accept a connection; return whether there was one."""
        try:
            connection, (address, *_) = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return False
        except OSError as error:
            log.error("no connection can be taken for a while", reason=error.strerror)
            if self._open:
                self._step_back(EXHAUSTED_SECONDS)
            return False
        waiting = self._waiting.setdefault(address, deque())
        waiting.append(connection)
        if len(waiting) > MOST_OF_ADDRESS:
            waiting.popleft().close()
        else:
            self._n_waiting += 1
        if self._adopting is None:
            self._adopting = self._loop.call_soon(self._adopt_some)
        self.publish()
        return True

    def _adopt_some(self) -> None:
        """Give the next connections their protocols, one of each address in turn."""
        for _ in range(min(AT_ONCE, self._n_waiting)):
            address = next(iter(self._waiting))
            waiting = self._waiting.pop(address)
            adoption = self._loop.create_task(self._adopt(waiting.popleft()))
            self._adoptions.add(adoption)
            adoption.add_done_callback(self._adoptions.discard)
            if waiting:
                self._waiting[address] = waiting
            self._n_waiting -= 1
        self._adopting = self._loop.call_soon(self._adopt_some) if self._n_waiting else None

    async def _adopt(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        with suppress(OSError):  # it has gone already
            await self._loop.connect_accepted_socket(self._make_protocol, connection)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to `host` and `port`; connections fail until a server listens on it.

    Raises AddressError.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise AddressError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    # The protocol is named because asyncio sets TCP_NODELAY only where it is: without, each answer
    # takes 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise AddressError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return bound
