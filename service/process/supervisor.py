"""Several workers on one port: start, watch, replace and stop them.

    supervisor --- starts, signals ---> worker 0 .. N-1     (processes: service/process/worker.py)
               <-- ready, alive, gone -                     (service/process/control.py)

A worker that dies is replaced at once, and one whose event loop hangs is killed. All workers share
the listening socket: while one is being replaced the others serve, and new connections wait for the
next that is free.

A worker with the model that ships takes 360 MB, of which 250 MB are not shared, whatever their
number: 140 MB come with torch, which cannot be shared by a fork because it has threads. The
supervisor takes 60 MB.
"""

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from teddy.model.system.processes import reap
from teddy.service.errors import ServiceError
from teddy.service.http.acceptor import COUNTS_FILE, ConnectionCounts
from teddy.service.inference.kept_models import KEPT_DIRECTORY, kept_directory
from teddy.service.observability.worker_metrics import DIRECTORY, WORKER, SupervisorMetrics, forget
from teddy.service.process.control import ALIVE, READY, REFUSED, Report
from teddy.service.settings import Settings

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TICK_SECONDS = 1.0
HANG_SECONDS = 30.0
"""How long an event loop may hang before its worker is killed."""
EARLY_SECONDS = 5.0
"""A worker that dies sooner than this after it was ready has died early."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
TRIES = 3
"""Early deaths of one worker after which it is given up, if none has ever been ready."""
MARGIN_SECONDS = 5.0
"""The time a worker has to exit, beyond what it grants its requests."""
MEMORY_DIRECTORY = "/dev/shm"  # noqa: S108

log = structlog.get_logger("service.supervisor")


Start = Callable[[int, socket.socket], subprocess.Popen[bytes]]
"""Start worker number N with its end of the control sockets."""


@dataclass(slots=True, eq=False)
class Worker:
    """A running worker. Times are monotonic."""

    process: subprocess.Popen[bytes]
    report: Report
    handles_signals: bool = False
    ready_since: float | None = None
    silent_seconds: float = 0.0
    refusal: str | None = None


@dataclass(slots=True, eq=False)
class WorkerSlot:
    """A worker's number and its process; without one, when the next may start."""

    number: int
    worker: Worker | None = None
    start_at: float = 0.0
    early_deaths: int = 0


def serve_with_workers(
    settings: Settings, bound: socket.socket, on_ready: Callable[[], None]
) -> None:
    """Serve with several processes until a signal. Raises ServiceError if none can start.

    The workers read these settings from the environment. Their metrics go into files in memory
    where there is `/dev/shm`: writing to a page of a file on disk blocks while the system saves it.
    """
    memory = MEMORY_DIRECTORY if os.access(MEMORY_DIRECTORY, os.W_OK) else None
    with (
        TemporaryDirectory(prefix="teddy-", dir=memory) as directory,
        kept_directory(memory) as kept,
    ):
        os.environ |= settings.as_environment() | {DIRECTORY: directory, KEPT_DIRECTORY: kept}
        counts = Path(directory) / COUNTS_FILE
        ConnectionCounts.create(counts, settings.workers)

        def clear(number: int) -> None:
            ConnectionCounts(counts, number).leave()
            forget(number, directory)

        Supervisor(
            lambda number, control: start_worker(number, bound, control),
            settings.workers,
            metrics=SupervisorMetrics.beside_workers(enabled=settings.metrics),
            stop_seconds=settings.drain_seconds + settings.shutdown_grace_seconds + MARGIN_SECONDS,
            on_ready=on_ready,
            on_death=clear,
            on_stop=bound.close,
        ).run()


def start_worker(
    number: int, bound: socket.socket, control: socket.socket
) -> subprocess.Popen[bytes]:
    """Start a fresh interpreter: a fork is not safe in a process with threads or torch.

    It finds modules where this one does (-P: not in the current directory), and has a process group
    of its own, so that it gets a Ctrl-C once, from the supervisor.
    """
    descriptors = (bound.fileno(), control.fileno())
    return subprocess.Popen(  # noqa: S603
        [
            sys.executable,
            "-P",
            "-m",
            "teddy.service.process.worker",
            str(number),
            *map(str, descriptors),
        ],
        env=os.environ
        | {WORKER: str(number), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        pass_fds=descriptors,
        process_group=0,
    )


class Supervisor:
    """Keeps `n_workers` workers running until a signal.

    `on_ready` is called when the first of them serves, `on_death` with the number of each that
    died, `on_stop` when no more will be started.
    """

    def __init__(
        self,
        start: Start,
        n_workers: int,
        *,
        stop_seconds: float,
        hang_seconds: float = HANG_SECONDS,
        on_ready: Callable[[], None] = lambda: None,
        on_death: Callable[[int], None] = lambda _: None,
        on_stop: Callable[[], None] = lambda: None,
        metrics: SupervisorMetrics | None = None,
    ) -> None:
        self._start_process = start
        self._slots = [WorkerSlot(number) for number in range(n_workers)]
        self._stop_seconds = stop_seconds
        self._hang_seconds = hang_seconds
        self._on_ready, self._on_death, self._on_stop = on_ready, on_death, on_stop
        self._metrics = metrics or SupervisorMetrics.beside_workers(enabled=True)
        self._metrics.wanted.set(n_workers)
        self._selector = selectors.DefaultSelector()
        self._ever_ready = False
        self._kill_at: float | None = None
        """When workers that have not stopped will be killed; None until they are asked to stop."""
        self._failure: str | None = None

    def run(self) -> None:
        """Start the workers and watch them until a signal.

        Raises ServiceError if none can start.
        """
        with caught_signals() as signals, self._selector:
            self._selector.register(signals, selectors.EVENT_READ)
            try:
                while self._kill_at is None or self._living():
                    self._start_who_is_due()
                    self._wait()
                    self._kill_who_is_late()
            finally:
                self._kill(self._living())
        if self._failure is not None:
            raise ServiceError(self._failure)

    def _living(self) -> list[tuple[WorkerSlot, Worker]]:
        return [(slot, slot.worker) for slot in self._slots if slot.worker is not None]

    def _start_who_is_due(self) -> None:
        if self._kill_at is None:
            for slot in self._slots:
                if slot.worker is None and slot.start_at <= time.monotonic():
                    self._start(slot)

    def _start(self, slot: WorkerSlot) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = self._start_process(slot.number, theirs)
            except OSError as error:
                ours.close()
                self._replace(slot, None, f"it could not be started: {error.strerror}")
                return
        slot.worker = Worker(process, Report(ours))
        self._selector.register(ours, selectors.EVENT_READ, slot)
        log.info("a worker starts", worker=slot.number, pid=process.pid)

    def _wait(self) -> None:
        """Wait until something happens, or a tick has passed."""
        before = time.monotonic()
        dues = [
            slot.start_at - before
            for slot in self._slots
            if slot.worker is None and self._kill_at is None
        ]
        for key, _ in self._selector.select(max(0.0, min([TICK_SECONDS, *dues]))):
            if isinstance(key.data, WorkerSlot):
                self._read(key.data)
            elif isinstance(key.fileobj, socket.socket):
                for number in key.fileobj.recv(64):
                    self._on_signal(number)
        # A tick counts for its own length at most, however long this process, or the machine, has
        # been asleep.
        self._count_silence(min(time.monotonic() - before, TICK_SECONDS))

    def _read(self, slot: WorkerSlot) -> None:
        worker = slot.worker
        lines = worker.report.lines() if worker is not None else []
        if worker is None or lines is None:
            self._on_worker_exit(slot)
            return
        for line in lines:
            if line == ALIVE:
                worker.silent_seconds, worker.handles_signals = 0.0, True
            elif line == READY:
                self._note_ready(slot, worker)
            elif line.startswith(REFUSED):
                worker.refusal = line.removeprefix(REFUSED)

    def _note_ready(self, slot: WorkerSlot, worker: Worker) -> None:
        worker.ready_since = time.monotonic()
        log.info("a worker is ready", worker=slot.number)
        self._count_workers()
        if not self._ever_ready:
            self._ever_ready = True
            self._on_ready()

    def _on_worker_exit(self, slot: WorkerSlot) -> None:
        """Replace a worker whose end of the control sockets is closed."""
        worker = slot.worker
        if worker is None:
            return
        self._selector.unregister(worker.report)
        worker.report.close()
        ending = reap(worker.process, TICK_SECONDS)
        slot.worker = None
        self._on_death(slot.number)
        self._count_workers()
        if self._kill_at is None:
            self._replace(slot, worker, worker.refusal or ending)

    def _replace(self, slot: WorkerSlot, worker: Worker | None, cause: str) -> None:
        """Schedule a dead worker's replacement: at once, or later if it keeps dying early."""
        now = time.monotonic()
        ready_since = worker.ready_since if worker is not None else None
        early = ready_since is None or now - ready_since < EARLY_SECONDS
        slot.early_deaths = slot.early_deaths + 1 if early else 0
        pause = pause_seconds(slot.early_deaths)
        slot.start_at = now + pause
        log.error("a worker died", worker=slot.number, cause=cause, restart_in_seconds=pause)
        self._metrics.restarts.inc()
        refused = worker is not None and worker.refusal is not None
        if not self._ever_ready and (refused or slot.early_deaths >= TRIES):
            self._failure = (
                cause if refused else f"no worker can start: {cause}, {TRIES} times in a row"
            )
            self._stop(signal.SIGINT)

    def _count_workers(self) -> None:
        self._metrics.workers.set(
            sum(worker.ready_since is not None for _, worker in self._living())
        )

    def _count_silence(self, seconds: float) -> None:
        for slot, worker in self._living():
            worker.silent_seconds += seconds
            if worker.silent_seconds > self._hang_seconds and self._kill_at is None:
                log.error(
                    "a worker hangs and is killed",
                    worker=slot.number,
                    silent_seconds=worker.silent_seconds,
                )
                worker.process.kill()

    def _on_signal(self, number: int) -> None:
        if number != signal.SIGHUP:
            self._stop(number)
            return
        for _, worker in self._living():
            if worker.handles_signals:  # the others read the files when they start
                worker.process.send_signal(number)

    def _stop(self, number: int) -> None:
        """Ask all workers to stop; asked again, they stop at once."""
        again = self._kill_at is not None
        log.info("stopping", signal=signal.Signals(number).name, workers=len(self._living()))
        self._kill_at = time.monotonic() + (MARGIN_SECONDS if again else self._stop_seconds)
        for _, worker in self._living():
            # A worker that is not ready may not handle signals yet: SIGINT would be a traceback.
            worker.process.send_signal(number if worker.ready_since is not None else signal.SIGTERM)
        if not again:
            self._on_stop()

    def _kill_who_is_late(self) -> None:
        if self._kill_at is not None and time.monotonic() > self._kill_at:
            for slot, _ in self._living():
                log.error("a worker did not stop in time and is killed", worker=slot.number)
            self._kill(self._living())

    def _kill(self, workers: list[tuple[WorkerSlot, Worker]]) -> None:
        for slot, worker in workers:
            worker.process.kill()
            self._on_worker_exit(slot)


def pause_seconds(early_deaths: int) -> float:
    """Return the pause after `early_deaths` in a row: none after one, then doubling."""
    return (
        min(FIRST_PAUSE_SECONDS * 2 ** (early_deaths - 2), LONGEST_PAUSE_SECONDS)
        if early_deaths > 1
        else 0.0
    )


@contextmanager
def caught_signals() -> Iterator[socket.socket]:
    """Yield a socket from which the numbers of signals can be read, a byte each."""
    reading, writing = socket.socketpair()
    with reading, writing:
        writing.setblocking(False)
        before = signal.set_wakeup_fd(writing.fileno())
        handlers = {number: signal.signal(number, lambda *_: None) for number in HANDLED}
        try:
            yield reading
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
