"""What a worker tells its supervisor, and how far a process has got with stopping."""

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

ALIVE = "alive"
READY = "ready"
REFUSED = "refused "
LONGEST_REASON_BYTES = 4096


class Control:
    """A worker's end.

    Telling never waits: a supervisor that does not listen must not stop the serving.
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
        """Return what was told since the last time; None when the worker is gone.

        Waits if nothing was told.
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
        """Tell the worker that the supervisor is gone."""
        self._end.close()


class Drain:
    """Two steps to a stop: first nobody should send more (`begun`), then no more is taken (`closed`).

    A plain object without a clock: `service/process/server.py` takes the steps, readiness and the
    door look.
    """

    __slots__ = ("_begun", "_closed")

    def __init__(self) -> None:
        self._begun = False
        self._closed = False

    @property
    def begun(self) -> bool:
        """Whether readiness says no, so that who balances loads sends requests elsewhere.

        They are still answered.
        """
        return self._begun

    @property
    def closed(self) -> bool:
        """Whether new requests are refused; those in flight are finished."""
        return self._closed

    def begin(self) -> None:
        """Take the first step."""
        self._begun = True

    def close(self) -> None:
        """Take the second step, and the first if that is not done."""
        self._begun = self._closed = True
