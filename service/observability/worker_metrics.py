"""Metrics of several workers: each writes files in one directory, and any of them answers for all.

The files carry the worker's number and not, as the library would have it, its process id: a worker
that replaces a dead one goes on counting in the same files. So counts survive, a thousand restarts
leave as many files as none, and what was written before a kill -9 is there, because the pages of a
mapped file belong to the system.

    worker 0 --write--> DIRECTORY/drift-0.json --.
    worker 1 --write--> DIRECTORY/drift-1.json ---+--read--> the documents of all, in any worker

Documents are for what cannot be added up as counters can. A single worker needs no files and keeps
its documents in memory.
"""

import json
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from prometheus_client import CollectorRegistry, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from teddy.model.system.files import write_atomically
from teddy.model.system.memory import resident_bytes
from teddy.service.observability.instruments import MetricFactory

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""Where the files are; the library reads this variable too."""
WORKER = "PROMETHEUS_MULTIPROC_WORKER"
SUPERVISOR = "supervisor"

TRIES = 5


def worker_number() -> str:
    """Return the number of the worker that asks; 0 where there is but one."""
    return os.environ.get(WORKER, "0")


def share_values(process: str) -> None:
    """Let metrics made from now on write to the files of `process`, a unique name."""
    values.ValueClass = values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]


def collect(directory: str, others: Iterable[Collector] = ()) -> bytes:
    """All values of all workers and what `others` give, in Prometheus's text format."""
    for _ in range(TRIES):
        try:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=directory)  # type: ignore[no-untyped-call]
            for collector in others:
                registry.register(collector)
            return generate_latest(registry)
        # a worker that starts has made a file and not yet filled in its head
        except (struct.error, ValueError):
            continue
    raise OSError(f"the files in {directory} cannot be read")


def forget(worker: int, directory: str) -> None:
    """Remove a dead worker's gauges. What it counted stays counted."""
    mark_process_dead(worker, path=directory)  # type: ignore[no-untyped-call]


class ProcessMetrics:
    """What a worker takes from the machine."""

    def __init__(self, make: MetricFactory) -> None:
        number = worker_number()
        self._resident = make.gauge("teddy_worker_resident_bytes").labels(number)
        self._open_files = make.gauge("teddy_worker_open_files").labels(number)
        self._cpu = make.counter("teddy_worker_cpu_seconds").labels(number)
        self._counted_seconds = 0.0

    def measure(self) -> None:
        """Bring all up to date."""
        self._resident.set(resident_bytes())
        self._open_files.set(open_files())
        seconds = sum(os.times()[:2])
        self._cpu.inc(seconds - self._counted_seconds)
        self._counted_seconds = seconds


class SupervisorMetrics:
    """What only the supervisor knows of its workers, or a single one of itself."""

    def __init__(self, make: MetricFactory) -> None:
        self.restarts = make.counter("teddy_worker_restarts")
        self.workers = make.gauge("teddy_workers")
        self.wanted = make.gauge("teddy_workers_wanted")

    @classmethod
    def beside_workers(cls, *, enabled: bool) -> Self:
        """In files beside those of the workers."""
        before = values.ValueClass
        share_values(SUPERVISOR)
        try:
            return cls(MetricFactory(CollectorRegistry() if enabled else None))
        finally:
            values.ValueClass = before


def open_files() -> int:
    """Files and sockets that the process has open; 0 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


class WorkerFiles:
    """The documents of one worker, and a view of those of all."""

    def __init__(self, directory: Path | None = None, worker: str = "0") -> None:
        """Without a directory there is but one worker."""
        self._directory = directory
        self._worker = worker
        self._own: dict[str, Any] = {}

    @classmethod
    def of_environment(cls) -> Self:
        """Where the supervisor has said that the workers' files are."""
        directory = os.environ.get(DIRECTORY)
        return cls(None if directory is None else Path(directory), worker_number())

    def write(self, subject: str, document: Any) -> None:
        """Leave a document, instead of the one before. Raises OSError."""
        if self._directory is None:
            self._own[subject] = document
        else:
            write_atomically(
                self._directory / f"{subject}-{self._worker}.json", json.dumps(document)
            )

    def read(self, subject: str) -> list[Any]:
        """Return the documents of all workers; of a dead one the last."""
        if self._directory is None:
            return [self._own[subject]] if subject in self._own else []
        return [
            found
            for path in sorted(self._directory.glob(f"{subject}-*.json"))
            for found in _content(path)
        ]


def _content(path: Path) -> Iterator[Any]:
    """Yield the document in a file, or nothing if it has gone or is damaged."""
    try:
        yield json.loads(path.read_bytes())
    except (OSError, ValueError):
        return
