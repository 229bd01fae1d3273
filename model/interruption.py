"""Signals that ask a long job to stop where nothing is lost.

    with interruptions() as interruption:
        with interruption.at_once():
            prepare()
        for part in work:
            do(part)
            interruption.check()

SIGTERM is what a scheduler sends before it takes a machine away, SIGINT what Ctrl-C sends; both mean the same here.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from teddy.model.errors import JobInterrupted

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Whether a job has been asked to stop. A new one has not, and without `interruptions` it never is."""

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._is_at_once = False

    @property
    def wanted(self) -> bool:
        """Whether a signal has come."""
        return self._signal is not None

    @property
    def name(self) -> str:
        """Of the signal that came, such as SIGTERM; empty when none has."""
        return "" if self._signal is None else self._signal.name

    def check(self) -> None:
        """Raise JobInterrupted when a signal has come."""
        if self.wanted:
            raise JobInterrupted(f"interrupted by {self.name}")

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A block that a signal ends wherever it is, as JobInterrupted: for work that may be thrown away.

        A signal that came before ends it before it begins. What the block calls may catch any Exception without
        catching this.
        """
        self.check()
        before, self._is_at_once = self._is_at_once, True
        try:
            yield
        except _StopNow:
            self.check()
        finally:
            self._is_at_once = before

    def receive(self, number: int, _frame: FrameType | None = None) -> None:
        """Take a signal, as a handler does: the second raises KeyboardInterrupt, to end the job wherever it is."""
        if self.wanted:
            raise KeyboardInterrupt
        self._signal = signal.Signals(number)
        if self._is_at_once:
            raise _StopNow


class _StopNow(BaseException):
    """Passes by those who catch every Exception, as KeyboardInterrupt does."""


@contextmanager
def interruptions() -> Iterator[Interruption]:
    """Give an Interruption that the signals of this process reach while the block lasts.

    Only the main thread of a process may say what signals do: in another one, nothing ever interrupts the job.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {number: signal.signal(number, interruption.receive) for number in SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
