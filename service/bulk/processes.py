"""Workers that are processes of this machine, each with a model and a thread of its own.

    this process -- ModelChoice, then (Assignment, Options, ShardPlace) --> worker
                 <-- LoadedModel, then Progress ... Finished; or a reason to give up

A worker that dies loses its shard, which another one repeats. (concurrent.futures has no such
worker: when one process dies, its pool is broken and all pending work is lost; nor does it report
progress within a task.) Signals are for the process that hands out the work: workers have sessions
of their own, so that Ctrl-C does not reach them, and end when it is gone.
"""

import os
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path

from teddy.model.errors import TeddyError
from teddy.model.system.processes import reap
from teddy.service.bulk.inputs import Assignment, Options
from teddy.service.bulk.progress import Progress
from teddy.service.bulk.sharding import ShardTagger
from teddy.service.bulk.workers import (
    Finished,
    LoadedModel,
    ModelChoice,
    Place,
    Workers,
    describe,
    load_model,
)

MOST_ATTEMPTS = 3
"""The number of workers that may die at a shard."""
TICK_SECONDS = 0.5
"""The interval between two reports of progress, by a worker and of all of them."""

_ROOT = str(Path(__file__).parents[3])


class WorkerError(TeddyError):
    """Workers that died again and again at the same shard."""


@contextmanager
def start_processes(count: int, choice: ModelChoice) -> Iterator[tuple[Workers, LoadedModel]]:
    """Start up to `count` processes; they are gone when the block ends.

    The first one decides the precision, where that is `auto`, and the others load the same.

    Raises TeddyError when the model is refused, WorkerError when processes die while they load.
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
    """Workers that are started as they are needed, and replaced when they die."""

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
            for message in self._receive():
                if isinstance(message, LoadedModel):
                    self._choice = replace(self._choice, precision=message.precision)
                    return message

    def results(
        self, tasks: Iterable[Assignment], options: Options, place: Place
    ) -> Iterator[Finished | Progress]:
        """Tag shards; see `Workers`."""
        pending = iter(tasks)
        while self._hand_out(pending, options, place):
            for message in self._receive():
                if isinstance(message, Finished):
                    yield message
            yield sum((worker.progress for worker in self._workers), Progress())

    def stop(self) -> None:
        """Kill all processes."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.connection.close()
            reap(worker.process, TICK_SECONDS)

    def _spawn(self) -> None:
        """Start an interpreter with our path of modules, not with the folder it starts in (-P)."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
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
        """Give shards to free workers, starting more as needed; return whether any is left."""
        n_busy = sum(worker.task is not None for worker in self._workers)
        while len(self._waiting) < self._count - n_busy and (task := next(pending, None)):
            self._waiting.append(task)
        for _ in range(len(self._waiting) - (len(self._workers) - n_busy)):
            self._spawn()
        for worker in self._workers:
            if self._waiting and worker.is_ready and worker.task is None:
                worker.task = self._waiting.popleft()
                _send(worker, (worker.task, options, place(worker.task)))
        return bool(self._waiting) or any(worker.task for worker in self._workers)

    def _receive(self) -> Iterator[Finished | LoadedModel]:
        """Wait a moment for messages, note them, and yield those that change what is to be done.

        Raises TeddyError with the reason of a worker that gave up.
        """
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), TICK_SECONDS):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                self._on_exit(worker)
                continue
            match message:
                case str():
                    raise TeddyError(message)
                case Progress():
                    worker.progress = message
                case LoadedModel():
                    worker.is_ready = True
                    yield message
                case Finished():
                    worker.task, worker.progress = None, Progress()
                    yield message

    def _on_exit(self, worker: _Worker) -> None:
        """Take back the shard of a worker that died.

        Raises WorkerError when too many have died at it.
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
    with suppress(ConnectionError):  # it has died, as the next `_receive` finds
        worker.connection.send(message)


def _work(connection: Connection) -> None:
    """Tag the shards that arrive, until the other end is gone: the worker's side of a connection.

    Sends the reason, and ends, where no other worker could do better.
    """
    try:
        predictor = load_model(connection.recv())
        connection.send(describe(predictor))
        shards: ShardTagger | None = None
        while True:
            task, options, place = connection.recv()
            shards = shards or ShardTagger(predictor, options)
            done, told_at = Progress(), time.monotonic()
            for done in shards.tag_into(task, place):
                if time.monotonic() - told_at >= TICK_SECONDS:
                    connection.send(done)
                    told_at = time.monotonic()
            connection.send(Finished(task=task, tally=done))
    except TeddyError as error:
        connection.send(str(error))
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        connection.send(f"{error.filename or 'the output'}: {error.strerror}")


if __name__ == "__main__":
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        _work(Connection(int(sys.argv[1])))
