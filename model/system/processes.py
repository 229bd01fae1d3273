"""Processes: how many cores they have, how one ended, and signals that ask a long job to stop.

    with interruptions() as interruption:
        with interruption.at_once():
            prepare()
        for part in work:
            do(part)
            interruption.check()

SIGTERM is what a scheduler sends before it takes a machine away, SIGINT what Ctrl-C sends; both
mean the same here.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from teddy.model.errors import JobInterrupted

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Whether a job has been asked to stop.

    A new one has not, and without `interruptions` it never is.
    """

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

        A signal that came before ends it before it begins. What the block calls may catch any
        Exception without catching this.
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

    Only the main thread of a process may say what signals do: in another one, nothing ever
    interrupts the job.
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


def reap(process: subprocess.Popen[bytes], patience_seconds: float) -> str:
    """Return how a process ended, in words; it is killed if it has not ended within the time given."""
    try:
        status = process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        status = process.wait()
    return (
        f"it was ended by {signal.Signals(-status).name}"
        if status < 0
        else f"it ended with status {status}"
    )


def available_cores() -> int:
    """Return how many cores this process may use: its affinity, or less where a container has a quota."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no control group, or "max": no quota
        return cores
