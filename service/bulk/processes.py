"""Shards tagged by processes of this machine, each with a model and a thread of its own.

    this process -- a shard --> a worker (service/bulk/worker.py) --> the shard's place
                 <-- how it goes, done --

A worker that dies loses the shard that it was at, which is given to another. Signals are for the
process that hands out the work: workers have sessions of their own, so that Ctrl-C does not reach
them, and end when it is gone.
"""

import os
import socket
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path

from teddy.model.errors import TeddyError
from teddy.model.system.processes import reap
from teddy.service.bulk.progress import Progress
from teddy.service.bulk.shards import Assignment, Options
from teddy.service.bulk.workers import (
    Finished,
    LoadedModel,
    ModelChoice,
    Order,
    Place,
    Refused,
    Underway,
    Workers,
)

MOST_ATTEMPTS = 3
"""A shard at which so many workers have died is given to no other."""
TICK_SECONDS = 0.5
"""How often those who watch are told, even when nothing happens."""

_ROOT = str(Path(__file__).parents[3])


class WorkerError(TeddyError):
    """Workers that died again and again at the same place."""


@contextmanager
def start_processes(count: int, choice: ModelChoice) -> Iterator[tuple[Workers, LoadedModel]]:
    """Start so many processes; they are gone when the block ends.

    The first one decides the precision, where that is `auto`, and the others load the same.

    Raises: TeddyError when the model is refused, WorkerError when the first process dies while it
    loads.
    """
    pool = _Pool(count, choice)
    try:
        yield pool, pool.start()
    finally:
        pool.stop()


@dataclass(slots=True, kw_only=True, eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    is_ready: bool = False
    """It has loaded its model."""
    task: Assignment | None = None
    progress: Progress = field(default_factory=Progress)


class _Pool:
    """See `start_processes` and `Workers`."""

    def __init__(self, count: int, choice: ModelChoice) -> None:
        self._count = count
        self._choice = choice
        self._workers: list[_Worker] = []
        self._waiting: deque[Assignment] = deque()
        self._deaths: Counter[str] = Counter()

    def start(self) -> LoadedModel:
        """Start the first process, and return what it has loaded."""
        while True:
            if not self._workers:
                self._spawn()
            for told in self._listen():
                if isinstance(told, LoadedModel):
                    self._choice = ModelChoice(path=self._choice.path, precision=told.precision)
                    return told

    def results(
        self, tasks: Iterable[Assignment], options: Options, place: Place
    ) -> Iterator[Finished | Underway]:
        """See `Workers`."""
        pending = iter(tasks)
        while self._hand_out(pending, options, place):
            for told in self._listen():
                if isinstance(told, Finished):
                    yield told
            yield Underway(progress=sum((worker.progress for worker in self._workers), Progress()))

    def stop(self) -> None:
        """End all processes, whatever they are doing."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.connection.close()
            reap(worker.process, TICK_SECONDS)

    def _spawn(self) -> None:
        """Start a fresh interpreter that finds modules where this one does, and not where it is started (-P)."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", "teddy.service.bulk.worker", str(theirs.fileno())],
                env=os.environ | {"PYTHONPATH": os.pathsep.join([_ROOT, *filter(None, sys.path)])},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        worker = _Worker(process=process, connection=Connection(ours.detach()))
        self._workers.append(worker)
        _send(worker, self._choice)

    def _hand_out(self, pending: Iterator[Assignment], options: Options, place: Place) -> bool:
        """Give shards to those who are free, and start workers while there are more; say whether there is any left."""
        n_busy = sum(worker.task is not None for worker in self._workers)
        while len(self._waiting) < self._count - n_busy and (task := next(pending, None)):
            self._waiting.append(task)
        for _ in range(len(self._waiting) - (len(self._workers) - n_busy)):
            self._spawn()
        for worker in self._workers:
            if self._waiting and worker.is_ready and worker.task is None:
                worker.task = self._waiting.popleft()
                _send(worker, Order(task=worker.task, options=options, place=place(worker.task)))
        return bool(self._waiting) or any(worker.task for worker in self._workers)

    def _listen(self) -> Iterator[Finished | LoadedModel]:
        """Wait a moment for what workers tell, take note of it, and pass on what is more than a rumour."""
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), TICK_SECONDS):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                told = worker.connection.recv()
            except (EOFError, OSError):
                self._mourn(worker)
                continue
            match told:
                case Refused():
                    raise TeddyError(told.reason)
                case Underway():
                    worker.progress = told.progress
                case LoadedModel():
                    worker.is_ready = True
                    yield told
                case Finished():
                    worker.task, worker.progress = None, Progress()
                    yield told

    def _mourn(self, worker: _Worker) -> None:
        """Take back the shard of a worker that died.

        Raises WorkerError when it was one too many.
        """
        self._workers.remove(worker)
        worker.connection.close()
        end = reap(worker.process, TICK_SECONDS)
        place = worker.task.name if worker.task else "the model"
        self._deaths[place] += 1
        if self._deaths[place] >= MOST_ATTEMPTS:
            raise WorkerError(f"{place}: {MOST_ATTEMPTS} workers died at it; of the last, {end}")
        if worker.task:
            self._waiting.appendleft(worker.task)


def _send(worker: _Worker, message: object) -> None:
    with suppress(ConnectionError):  # it has died: listening to it will tell
        worker.connection.send(message)
