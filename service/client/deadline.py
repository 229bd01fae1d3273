"""Keep one deadline for everything that a blocking call waits for.

httpx limits each wait for the network, not their sum: a server that sends a byte now and then would
hold a call for ever. Here each wait gets the time that is left. (The client for asyncio does not
need this: its calls are cancelled.)

httpx has no public way to set the network backend of its connections, so `watch` uses four private
names; tests/service/test_client_faults.py tells when a release lacks one.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import httpcore
import httpx

PIECE_BYTES = 16384
"""Sent at a time, so that a server that reads slowly is noticed."""


class Deadline:
    """The end of each thread's call, on the monotonic clock; none without a call."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Limit all waits of this thread in the block to `seconds` together."""
        self._of_thread.ends = time.monotonic() + seconds
        try:
            yield
        finally:
            self._of_thread.ends = inf

    def left(self, timeout: float | None) -> float | None:
        """Return the shorter of `timeout` and what is left. Raises httpcore.ReadTimeout."""
        seconds = getattr(self._of_thread, "ends", inf) - time.monotonic()
        if seconds <= 0:
            raise httpcore.ReadTimeout("the time of the call is over")
        return timeout if seconds == inf else min(seconds, inf if timeout is None else timeout)

    def watch(self, http: httpx.Client) -> None:
        """Make a client's connections keep this deadline; other transports cannot."""
        for transport in (http._transport, *http._mounts.values()):
            if isinstance(transport, httpx.HTTPTransport):
                pool = transport._pool
                pool._network_backend = _Backend(pool._network_backend, self)


class _Backend(httpcore.NetworkBackend):
    """Makes connections that keep a deadline."""

    def __init__(self, backend: httpcore.NetworkBackend, deadline: Deadline) -> None:
        self._backend = backend
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = self._deadline.left(timeout)
        stream = self._backend.connect_tcp(host, port, left, local_address, socket_options)
        return _Stream(stream, self._deadline)

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = self._deadline.left(timeout)
        stream = self._backend.connect_unix_socket(path, left, socket_options)
        return _Stream(stream, self._deadline)

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    """A connection that keeps a deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline
        self.close = stream.close  # type: ignore[method-assign]
        self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), PIECE_BYTES):
            piece = buffer[start : start + PIECE_BYTES]
            self._stream.write(piece, self._deadline.left(timeout))

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._deadline.left(timeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)
