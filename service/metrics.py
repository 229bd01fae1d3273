"""What the service counts, as an object made with the app. No text, and no label that a client can invent.

With several workers (`PROMETHEUS_MULTIPROC_DIR` is set), any of them answers for all: see service/worker_metrics.py.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from service.worker_metrics import DIRECTORY, ProcessMetrics, collect, share_values, worker_number

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
POWERS_OF_TWO = tuple(2**exponent for exponent in range(15))


class Metrics:
    """The metrics of one app, on a registry of their own."""

    def __init__(self) -> None:
        self._directory = os.environ.get(DIRECTORY)
        if self._directory is not None:
            share_values(worker_number())
        self._registry = CollectorRegistry()
        self._children: dict[tuple[object, ...], Any] = {}
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
            "teddy_model_info",
            "1 for each loaded model; 0 for one that was.",
            ("name", "version", "precision"),
            multiprocess_mode="livemax",
        )
        self.model_loaded = gauge(
            "teddy_model_loaded_timestamp_seconds",
            "When a model was loaded; with several workers, in the one that is furthest behind.",
            ("name",),
            multiprocess_mode="livemin",
        )
        self.model_reloads = counter(
            "teddy_model_reloads", "Files that were to replace a model, and what came of it.", ("name", "result")
        )
        self.lost_log_lines = counter("teddy_log_lines_lost", "Lines of the log that could not be written.")
        self.build_info = gauge("teddy_build_info", "1; the label says it.", ("version",), multiprocess_mode="livemax")
        self.process = ProcessMetrics(self._registry)
        if self._directory is None:  # with several workers it would describe whichever answers
            ProcessCollector(registry=self._registry)

    def _maker(self, kind: Callable[..., Any]) -> Callable[..., Any]:
        def make(name: str, text: str, labels: Iterable[str] = (), **options: Any) -> Any:
            return kind(name, text, labels, registry=self._registry, **options)

        return make

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request. `route` is a template or one word for all unknown paths, never a path."""
        self._child(self.requests, method if method in METHODS else "other", route, status).inc()
        self._child(self.latency, route).observe(seconds)

    def tagged(self, model: str, texts: int, words: int, entities: Mapping[str, int]) -> None:
        """Count texts that went through a model, and its entities by label."""
        self._child(self.texts, model).inc(texts)
        self._child(self.words, model).inc(words)
        for label, n in entities.items():
            self._child(self.entities, model, label).inc(n)

    def _child(self, metric: Any, *labels: object) -> Any:
        """`metric.labels(...)`, remembered: a fifth of the time, which every request takes several times."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def batch(self, words: int, windows: int, seconds: float) -> None:
        """Count a batch that went through the network."""
        self.batch_words.observe(words)
        self.batch_windows.observe(windows)
        self.inference.observe(seconds)

    def serve_model(self, name: str, version: str, precision: str) -> None:
        """A model has been loaded."""
        self.model_info.labels(name, version, precision).set(1)
        self.model_loaded.labels(name).set_to_current_time()

    def drop_model(self, name: str, version: str, precision: str) -> None:
        """A model is served no longer. The files that workers count in cannot forget it; there it becomes 0."""
        if self._directory is None:
            self.model_info.remove(name, version, precision)
            self.model_loaded.remove(name)
        else:
            self.model_info.labels(name, version, precision).set(0)

    def exposition(self) -> bytes:
        """All values, of all workers, in Prometheus's text format."""
        self.process.measure()
        return generate_latest(self._registry) if self._directory is None else collect(self._directory)
