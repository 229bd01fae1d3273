"""Close connections well: drop clients that do not read, and let the others read to the end.

Closing a socket with unread bytes in it makes TCP reset the connection, and the client may lose an
answer that it has not read yet. So where a request has not been read to its end, the writing side
is closed first, and for a moment what arrives is dropped.
"""

import asyncio
import fcntl
import socket
import struct
import termios
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from teddy.service.http.callers import Network, is_within, parse_address, parse_networks

if TYPE_CHECKING:
    from teddy.service.settings import Settings

LINGER_SECONDS = 2.0
"""How long a client that is still sending may go on reading its answer."""
SILENT_SECONDS, PROBE_SECONDS, PROBES = 30, 10, 3
"""A client that has vanished is noticed after a minute of silence, whatever state its request is
in."""
JOINED_BYTES = 65536
"""A larger body is not copied behind its head: 60 MB took 15 ms of the event loop, and 60 MB."""
COUNT = struct.Struct("i")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How many connections may be open, and what a client may do on one."""

    max_connections: int
    max_of_address: int
    """Of one address, unless it is a trusted proxy's."""
    trusted_proxies: tuple[Network, ...]
    max_header_bytes: int
    header_timeout_seconds: float
    write_timeout_seconds: float
    """How often a client that is behind with reading is checked."""
    min_bytes_per_second: float
    """The rate at which it must have read by then, on average."""

    @classmethod
    def of(cls, settings: "Settings") -> Self:
        """Return the limits in the settings; answers must be read as fast as bodies are sent."""
        return cls(
            max_connections=settings.max_connections,
            max_of_address=max(
                1, int(settings.max_connections * settings.address_connection_share)
            ),
            trusted_proxies=parse_networks(settings.trusted_proxies),
            max_header_bytes=settings.max_header_bytes,
            header_timeout_seconds=settings.header_timeout_seconds,
            write_timeout_seconds=settings.body_timeout_seconds,
            min_bytes_per_second=settings.min_body_bytes_per_second,
        )


class Addresses:
    """How many open connections each address has; those of trusted proxies are not counted."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._counts: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count one more connection, unless the address has its share; return whether it may be."""
        parsed = parse_address(address)
        if parsed is None or is_within(parsed, self._limits.trusted_proxies):
            return True
        if self._counts[address] >= self._limits.max_of_address:
            return False
        self._counts[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count one less of those that entered."""
        if self._counts[address] > 1:
            self._counts[address] -= 1
        else:
            del self._counts[address]


class LingeringTransport:
    """The transport that uvicorn sees; it only writes, closes, and asks whether it is closing.

    Uvicorn writes the head of an answer and its body one after the other. Here the head waits for
    the body, at most until the event loop's next turn, and both go out in one system call.

    `unread` returns whether the client has more to send; `on_stalled` is called before a client
    that does not read is disconnected.

    Attributes: `leaving`, whether incoming bytes are dropped because the last answer is written.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        flow: FlowControl,
        limits: ConnectionLimits,
        unread: Callable[[], bool],
        on_stalled: Callable[[], None],
    ) -> None:
        self.leaving = False
        self._transport = transport
        self._flow = flow
        self._limits = limits
        self._unread = unread
        self._on_stalled = on_stalled
        self._loop = asyncio.get_running_loop()
        self._lingering: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0
        self._held = b""
        self._flushing: asyncio.Handle | None = None

    def write(self, data: bytes) -> None:
        """Send `data` together with what is written just before or after it."""
        if self._flushing is None:
            self._held = data
            self._flushing = self._loop.call_soon(self._flush)
        elif len(data) <= JOINED_BYTES:
            self._held += data
            self._flush()
        else:
            self._flush()
            self._transport.write(data)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
            held, self._held = self._held, b""
            self._transport.write(held)

    def is_closing(self) -> bool:
        """Return whether nothing more can be written."""
        return self.leaving or self._transport.is_closing()

    def close(self) -> None:
        """Close once all is sent, after a moment if the client is still sending."""
        if self.is_closing():
            return
        self._flush()
        if self._unread():
            self.leaving = True
            self._transport.write_eof()
            self._flow.resume_reading()
            self._lingering = self._loop.call_later(LINGER_SECONDS, self._transport.close)
        else:
            self._transport.close()
        if self._transport.get_write_buffer_size():
            self.watch()

    def abort(self) -> None:
        """Close now and drop what has not been sent."""
        self._transport.abort()

    def watch(self) -> None:
        """Check that the client goes on reading; called when it is behind."""
        if self._watching is None:
            self._look_later()

    def unwatch(self) -> None:
        """Stop checking: the client has caught up. After `close` it must still read everything."""
        if self._watching is not None and not self.is_closing():
            self._watching.cancel()
            self._watching = None

    def lost(self) -> None:
        """Stop the timers: the connection is gone."""
        for timer in (self._lingering, self._watching, self._flushing):
            if timer is not None:
                timer.cancel()

    def _look_later(self) -> None:
        self._unsent_bytes = self._count_unsent()
        self._watching = self._loop.call_later(self._limits.write_timeout_seconds, self._look)

    def _look(self) -> None:
        read_bytes = self._unsent_bytes - self._count_unsent()
        if read_bytes < self._limits.min_bytes_per_second * self._limits.write_timeout_seconds:
            self._on_stalled()
            self._transport.abort()
        else:
            self._look_later()

    def _count_unsent(self) -> int:
        """Return the bytes that the client has not taken, including the kernel's send buffer."""
        return self._transport.get_write_buffer_size() + queued_bytes(
            self._transport.get_extra_info("socket")
        )


def queued_bytes(connection: socket.socket) -> int:
    """Return the bytes in a connection's kernel send buffer; 0 where the system does not tell."""
    with suppress(OSError):
        return int(
            COUNT.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(COUNT.size)))[0]
        )
    return 0


def probe_when_silent(connection: Any) -> None:
    """Let the system detect a client that has vanished without closing."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", SILENT_SECONDS),
        ("TCP_KEEPINTVL", PROBE_SECONDS),
        ("TCP_KEEPCNT", PROBES),
    ):
        if (option := getattr(socket, name, None)) is not None:  # not everywhere
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def depart(cycle: RequestResponseCycle) -> None:
    """Notify the app that the client has gone, unless the answer is complete."""
    if not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()
