"""What a worker tells its supervisor: lines over a pair of sockets. Its end tells either that the other is gone."""

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

ALIVE = "alive"
READY = "ready"
REFUSED = "refused "
LONGEST_REASON_BYTES = 4096


class Control:
    """A worker's end. Telling never waits: a supervisor that does not listen must not stop the serving."""

    def __init__(self, end: socket.socket) -> None:
        end.set_inheritable(False)
        self._end = end
        self._closed = False

    def alive(self) -> None:
        """The event loop runs."""
        self._tell(ALIVE)

    def ready(self) -> None:
        """The models are loaded and connections are taken."""
        self._tell(READY)

    def refuse(self, reason: str) -> None:
        """It cannot serve, and trying again will not help."""
        self._tell(REFUSED + " ".join(reason.split()))

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Call `on_gone`, in a thread, when the supervisor is gone."""
        Thread(target=self._wait, args=(on_gone,), name="control", daemon=True).start()

    def close(self) -> None:
        """Tell the supervisor that this worker has ended."""
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
    """The supervisor's end."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._rest = b""

    def fileno(self) -> int:
        """For selectors."""
        return self._end.fileno()

    def lines(self) -> list[str] | None:
        """What was told since the last time; None when the worker is gone. Waits if nothing was told."""
        try:
            received = self._end.recv(65536)
        except ConnectionError:
            received = b""
        if not received:
            return None
        *lines, self._rest = (self._rest + received).split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def close(self) -> None:
        """Tell the worker that the supervisor is gone."""
        self._end.close()
