"""What the service counts, as an object made with the app. No text, and no label that a client can invent.

With several workers (`PROMETHEUS_MULTIPROC_DIR` is set before this module is imported), each process writes its values
to files there and any of them answers for all.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

MULTIPROCESS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
POWERS_OF_TWO = tuple(2**exponent for exponent in range(15))


class Metrics:
    """The metrics of one app, on a registry of their own."""

    def __init__(self) -> None:
        self._directory = os.environ.get(MULTIPROCESS_DIRECTORY)
        self._registry = CollectorRegistry()
        counter, histogram, gauge = self._maker(Counter), self._maker(Histogram), self._maker(Gauge)

        route = ("method", "route", "status")
        self.requests = counter("teddy_requests", "Requests answered.", route)
        self.latency = histogram(
            "teddy_request_seconds", "From a request's head to the end of its answer.", ("route",), buckets=SECONDS
        )
        self.in_flight = gauge("teddy_requests_in_flight", "Requests being answered.", multiprocess_mode="livesum")
        self.refused = counter("teddy_refused", "Requests answered with a problem.", ("reason",))

        self.texts = counter("teddy_texts", "Texts tagged.", ("model",))
        self.words = counter("teddy_words", "Words tagged.", ("model",))
        self.entities = counter("teddy_entities", "Entities found, before any are filtered out.", ("model", "label"))

        self.batch_words = histogram("teddy_batch_words", "Words in a batch.", buckets=POWERS_OF_TWO)
        self.batch_windows = histogram("teddy_batch_windows", "Windows in a batch.", buckets=POWERS_OF_TWO[:11])
        self.inference = histogram("teddy_inference_seconds", "A batch in the network.", buckets=SECONDS)
        self.queue_words = gauge("teddy_queue_words", "Words waiting.", multiprocess_mode="livesum")
        self.queue_wait = histogram(
            "teddy_queue_wait_seconds", "From a request's place in the queue to its first batch.", buckets=SECONDS
        )
        self.model_info = gauge(
            "teddy_model_info", "1 for each loaded model.", ("name", "version", "precision"), multiprocess_mode="max"
        )
        self.build_info = gauge("teddy_build_info", "1; the label says it.", ("version",), multiprocess_mode="max")
        if self._directory is None:  # with several workers it would describe whichever answers
            ProcessCollector(registry=self._registry)

    def _maker(self, kind: Callable[..., Any]) -> Callable[..., Any]:
        def make(name: str, text: str, labels: Iterable[str] = (), **options: Any) -> Any:
            return kind(name, text, labels, registry=self._registry, **options)

        return make

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request. `route` is a template or one word for all unknown paths, never a path."""
        self.requests.labels(method if method in METHODS else "other", route, status).inc()
        self.latency.labels(route).observe(seconds)

    def batch(self, words: int, windows: int, seconds: float) -> None:
        """Count a batch that went through the network."""
        self.batch_words.observe(words)
        self.batch_windows.observe(windows)
        self.inference.observe(seconds)

    def exposition(self) -> bytes:
        """All values, of all workers, in Prometheus's text format."""
        if self._directory is None:
            return generate_latest(self._registry)
        _forget_dead_workers(Path(self._directory))
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=self._directory)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _forget_dead_workers(directory: Path) -> None:
    """Remove what live gauges of dead processes left behind; what they counted stays counted."""
    for process in {int(path.stem.rpartition("_")[2]) for path in directory.glob("gauge_live*.db")}:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            mark_process_dead(process, path=str(directory))  # type: ignore[no-untyped-call]
