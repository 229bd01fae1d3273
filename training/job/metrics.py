"""Exports the metrics of a training job in up to three ways, from threads of their own.

    job --values--> file     for the node exporter's textfile collector; stays after the end
                --> port     to be scraped while the job runs
                --> gateway  a Pushgateway, where nothing is left after the end

A file, port or gateway that cannot be opened at the start is refused. A later failure is logged
once, and the training goes on.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from urllib.error import HTTPError

from prometheus_client import (
    CollectorRegistry,
    Metric,
    delete_from_gateway,
    push_to_gateway,
    start_http_server,
    write_to_textfile,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from teddy.model.errors import TrainingError
from teddy.training.job.catalogue import PREFIX, Address, all_metrics
from teddy.training.job.job import Job, State
from teddy.training.job.log import Log

EVERY_SECONDS = 5.0
"""Between two copies, when nothing happens that is worth one of its own."""
GATEWAY_SECONDS = 3.0
"""A Pushgateway may be silent for so long."""
END_SECONDS = 5.0
"""The end of a job waits so long for its last copy."""
GATEWAY_JOB = "teddy_training"


@contextmanager
def exposed(
    job: Job, file: Path | None, address: Address | None, gateway: str | None
) -> Iterator[None]:
    """Export a job's metrics while the block lasts, then its end, by what the block raises.

    Raises TrainingError for an address that cannot be listened on, OSError for a file that cannot
    be written.
    """
    registry = CollectorRegistry()
    registry.register(_JobCollector(job))
    with ExitStack() as outlets:
        if address is not None:
            outlets.enter_context(_served(registry, address))
        if file is not None:
            outlets.enter_context(_written(job, registry, file))
        if gateway is not None:
            outlets.enter_context(_pushed(job, registry, gateway))
        try:
            yield
        except BaseException as error:
            job.end(State.after(error))
            raise
        job.end(State.FINISHED)


class _JobCollector(Collector):
    """The values of a job as families of the catalogue; of those that have none, nothing."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def collect(self) -> Iterable[Metric]:
        values = self._job.values()
        for metric in all_metrics():
            family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            if metric.name == f"{PREFIX}state":
                for state in State:
                    family.add_metric((self._job.run, state), state == self._job.state)
            elif metric.name in values:
                family.add_metric((self._job.run,), values[metric.name])
            if family.samples:
                yield family


@contextmanager
def _served(registry: CollectorRegistry, address: Address) -> Iterator[None]:
    try:
        server, thread = start_http_server(address.port, address.host, registry)
    except OSError as error:
        raise TrainingError(f"--metrics-port {address}: {error.strerror}") from error
    Log().note(f"metrics at http://{Address(address.host, server.server_port)}/metrics")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _written(job: Job, registry: CollectorRegistry, file: Path) -> "_Copies":
    # The copy is made by a name that does not end in .prom, which no collector reads.
    write = partial(write_to_textfile, str(file), registry)
    try:
        write()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error
    return _Copies(job, str(file), write, write)


def _pushed(job: Job, registry: CollectorRegistry, gateway: str) -> "_Copies":
    group = {"run": job.run}
    push = partial(push_to_gateway, gateway, GATEWAY_JOB, registry, group, GATEWAY_SECONDS)
    delete = partial(delete_from_gateway, gateway, GATEWAY_JOB, group, GATEWAY_SECONDS)
    return _Copies(job, gateway, push, delete)


class _Copies:
    """A thread that copies a job's values: at once, every few seconds, and at each event.

    At the end of its `with` block it does one last thing, for which the block waits a little and
    not longer: whatever is at the other end may hang.
    """

    def __init__(
        self, job: Job, place: str, copy: Callable[[], None], last: Callable[[], None]
    ) -> None:
        self._place, self._copy, self._last = place, copy, last
        self._wanted = threading.Event()
        self._is_over = False
        self._has_complained = False
        self._thread = threading.Thread(target=self._run, name=f"metrics to {place}", daemon=True)
        job.listen(self._wanted.set)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._wanted.set()
        self._thread.join(END_SECONDS)
        if self._thread.is_alive():
            self._complain("no answer")

    def _run(self) -> None:
        while not self._is_over:
            self._try(self._copy)
            self._wanted.wait(EVERY_SECONDS)
            self._wanted.clear()
        self._try(self._last)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # nothing that is wrong out there is worth a training run
            if isinstance(error, HTTPError):
                error.close()
            self._complain(str(error))

    def _complain(self, reason: str) -> None:
        if not self._has_complained:
            self._has_complained = True
            failure = f"metrics do not reach {self._place}: {' '.join(reason.split())}"
            Log().note(f"{failure}; the training goes on without", "warning")
