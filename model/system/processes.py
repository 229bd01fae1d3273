"""Processes: how many cores they have, how one ended, and signals that ask a long job to stop.

    with interruptions() as interruption:
        with interruption.at_once():
            prepare()
        for part in work:
            do(part)
            interruption.check()

Schedulers send SIGTERM before they take a machine away, Ctrl-C sends SIGINT; both mean the same.
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
    """Whether a job has been asked to stop; see `interruptions`, which connects it to signals."""

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._is_at_once = False

    @property
    def wanted(self) -> bool:
        """Whether a signal has come."""
        return self._signal is not None

    @property
    def name(self) -> str:
        """The name of the signal that came, such as SIGTERM; empty when none has."""
        return "" if self._signal is None else self._signal.name

    def check(self) -> None:
        """Raise JobInterrupted when a signal has come."""
        if self.wanted:
            raise JobInterrupted(f"interrupted by {self.name}")

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise JobInterrupted in the block as soon as a signal comes: for work that may be lost.

        A signal that came before ends the block before it begins. Inside it the signal is a
        BaseException, so that `except Exception` does not catch it.
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
        """Handle a signal: note the first, and raise KeyboardInterrupt at the second."""
        if self.wanted:
            raise KeyboardInterrupt
        self._signal = signal.Signals(number)
        if self._is_at_once:
            raise _StopNow


class _StopNow(BaseException):
    """A signal that came in `Interruption.at_once`; no `except Exception` catches it."""


@contextmanager
def interruptions() -> Iterator[Interruption]:
    """Give an Interruption that the signals of this process reach during the block.

    Only the main thread may set signal handlers: in another thread nothing interrupts the job.
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
    """Return in words how a process ended; kill it if it does not end within the time given."""
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
    """Return how many cores this process may use: by affinity and by its container's quota."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no control group, or "max": no quota
        return cores
