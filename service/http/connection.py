"""A connection's end: what its client does not read is not kept for ever, and what it still sends does not cut it off.

Closing a socket with unread bytes in it makes TCP reset the connection, and the client may lose an
answer that it had not read yet. So where a request has not been read to its end, writing ends
first, and for a moment what comes is dropped.
"""

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from uvicorn.protocols.http.flow_control import FlowControl

if TYPE_CHECKING:
    from teddy.service.settings import Settings

LINGER_SECONDS = 2.0
"""How long a client that is still sending may read its answer."""
SILENT_SECONDS, PROBE_SECONDS, PROBES = 30, 10, 3
"""A client that has vanished is noticed after a minute of silence, whatever its request waits
for."""
COUNT = struct.Struct("i")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How many connections there may be, and what a client may do on one."""

    max_connections: int
    max_header_bytes: int
    header_timeout_seconds: float
    write_timeout_seconds: float
    """How often a client that is behind with reading is looked at."""
    min_bytes_per_second: float
    """Least that it must have read by then, on average."""
    keep_alive_seconds: int

    @classmethod
    def of(cls, settings: "Settings") -> Self:
        """The limits that are set; answers must be read as quickly as bodies must be sent."""
        return cls(
            max_connections=settings.max_connections,
            max_header_bytes=settings.max_header_bytes,
            header_timeout_seconds=settings.header_timeout_seconds,
            write_timeout_seconds=settings.body_timeout_seconds,
            min_bytes_per_second=settings.min_body_bytes_per_second,
            keep_alive_seconds=settings.keep_alive_seconds,
        )


class LingeringTransport:
    """What uvicorn takes for the transport: all it does with one is write, close, and ask whether it is closing.

    `unread` says whether the client has more to send; `on_stalled` is called before a client that
    does not read is cut.

    Attributes: `leaving`, whether what comes is dropped, since the last answer has been written.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        flow: FlowControl,
        limits: ConnectionLimits,
        unread: Callable[[], bool],
        on_stalled: Callable[[], None],
    ) -> None:
        self.write = transport.write
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

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self.leaving or self._transport.is_closing()

    def close(self) -> None:
        """Close once all is sent, and after a moment if the client is still sending."""
        if self.is_closing():
            return
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
        """Close now; what has not been sent is dropped."""
        self._transport.abort()

    def watch(self) -> None:
        """See to it that the client goes on reading; called when it is behind."""
        if self._watching is None:
            self._look_later()

    def unwatch(self) -> None:
        """The client has caught up; after `close` nothing more is written, so then it must read all."""
        if self._watching is not None and not self.is_closing():
            self._watching.cancel()
            self._watching = None

    def lost(self) -> None:
        """The connection is gone."""
        for timer in (self._lingering, self._watching):
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
        """Bytes that the client has not taken; the system's share counts, which is refilled in steps of a megabyte."""
        return self._transport.get_write_buffer_size() + queued_bytes(
            self._transport.get_extra_info("socket")
        )


def queued_bytes(connection: socket.socket) -> int:
    """Bytes that the system has taken for a connection and the client has not; 0 where that cannot be told."""
    with suppress(OSError):
        return int(
            COUNT.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(COUNT.size)))[0]
        )
    return 0


def probe_when_silent(connection: Any) -> None:
    """Let the system notice when the client has vanished without a word."""
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
