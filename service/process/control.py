"""The connection between a worker and its supervisor, and the steps of a shutdown."""

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

ALIVE = "alive"
READY = "ready"
REFUSED = "refused "
LONGEST_REASON_BYTES = 4096


class Control:
    """A worker's end of the connection.

    Sending never waits: a supervisor that does not read must not block the service.
    """

    def __init__(self, end: socket.socket) -> None:
        end.set_inheritable(False)
        self._end = end
        self._closed = False

    def alive(self) -> None:
        """Report that the event loop runs."""
        self._tell(ALIVE)

    def ready(self) -> None:
        """Report that the models are loaded and connections are taken."""
        self._tell(READY)

    def refuse(self, reason: str) -> None:
        """Report that the worker cannot serve, and that another try will not help."""
        self._tell(REFUSED + " ".join(reason.split()))

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Call `on_gone`, in a thread, when the supervisor is gone."""
        Thread(target=self._wait, args=(on_gone,), name="control", daemon=True).start()

    def close(self) -> None:
        """Close the connection, which tells the supervisor that this worker has ended."""
        self._closed = True
        self._end.close()

    def _tell(self, line: str) -> None:
        with suppress(OSError):
            self._end.send(line.encode()[:LONGEST_REASON_BYTES] + b"\n", socket.MSG_DONTWAIT)

    def _wait(self, on_gone: Callable[[], None]) -> None:
        with suppress(OSError):
            self._end.recv(1)  # nothing is ever sent this way
        if not self._closed:
            on_gone()


class Report:
    """The supervisor's end of the connection."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._rest = b""

    def fileno(self) -> int:
        """Return the socket's descriptor, for selectors."""
        return self._end.fileno()

    def lines(self) -> list[str] | None:
        """Return the lines received since the last call; None when the worker is gone.

        Waits if there are none.
        """
        try:
            received = self._end.recv(65536)
        except ConnectionError:
            received = b""
        if not received:
            return None
        *lines, self._rest = (self._rest + received).split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def close(self) -> None:
        """Close the connection, which tells the worker that the supervisor is gone."""
        self._end.close()


class Drain:
    """Two steps of a shutdown: clients go elsewhere (`begun`), then none is served (`closed`).

    It has no clock: `service/process/server.py` takes the steps, and readiness and the middleware
    read them.
    """

    __slots__ = ("_begun", "_closed")

    def __init__(self) -> None:
        self._begun = False
        self._closed = False

    @property
    def begun(self) -> bool:
        """Whether readiness fails, so that a load balancer sends requests elsewhere.

        Requests are still answered.
        """
        return self._begun

    @property
    def closed(self) -> bool:
        """Whether new requests are refused; requests in flight are finished."""
        return self._closed

    def begin(self) -> None:
        """Take the first step."""
        self._begun = True

    def close(self) -> None:
        """Take the second step, and the first if it has not been taken."""
        self._begun = self._closed = True
