"""Metrics of several workers: each writes its values to files in one directory, and any of them answers for all.

The files carry the worker's number and not, as the library would have it, its process id: a worker that replaces a dead
one goes on counting in the same files. So counts survive, a thousand restarts leave as many files as none, and what
was written before a kill -9 is there, because the pages of a mapped file belong to the system.
"""

import os
import resource
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from prometheus_client import CollectorRegistry, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from teddy.service.instruments import Instruments

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""Where the files are; the library reads this variable too."""
WORKER = "PROMETHEUS_MULTIPROC_WORKER"
SUPERVISOR = "supervisor"
PAGE_BYTES = resource.getpagesize()
TRIES = 5


def worker_number() -> str:
    """The number of the worker that asks; 0 where there is but one."""
    return os.environ.get(WORKER, "0")


def share_values(process: str) -> None:
    """Let metrics made from now on write to the files of `process`; it must be the only one of that name."""
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
        except (struct.error, ValueError):  # a worker that starts has made a file and not yet filled in its head
            continue
    raise OSError(f"the files in {directory} cannot be read")


def forget(worker: int, directory: str) -> None:
    """Remove a dead worker's gauges. What it counted stays counted."""
    mark_process_dead(worker, path=directory)  # type: ignore[no-untyped-call]


class ProcessMetrics:
    """What a worker takes from the machine."""

    def __init__(self, make: Instruments) -> None:
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

    def __init__(self, make: Instruments) -> None:
        self.restarts = make.counter("teddy_worker_restarts")
        self.workers = make.gauge("teddy_workers")
        self.wanted = make.gauge("teddy_workers_wanted")

    @classmethod
    def beside_workers(cls, *, enabled: bool) -> Self:
        """In files beside those of the workers."""
        before = values.ValueClass
        share_values(SUPERVISOR)
        try:
            return cls(Instruments(CollectorRegistry() if enabled else None))
        finally:
            values.ValueClass = before


def resident_bytes() -> int:
    """Memory of the process that asks, in RAM; its peak where the system does not tell the present."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def open_files() -> int:
    """Files and sockets that the process has open; 0 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
