"""What the service counts, as an object made with the app.

No text, and no label that a client can invent.

What there is to count is said in service/observability/catalogue.py. With several workers
(`PROMETHEUS_MULTIPROC_DIR` is set), any of them answers for all: see
service/observability/worker_metrics.py.

Requests are counted at once: each that was answered has been counted.
All else waits for `flush`, ten times a second and before each scrape: counted at once, it took 3 %
of the time of a small request.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import time
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from teddy.service.feedback.scores import KINDS
from teddy.service.observability.instruments import BufferedChild, MetricFactory
from teddy.service.observability.worker_metrics import (
    DIRECTORY,
    ProcessMetrics,
    SupervisorMetrics,
    WorkerFiles,
    collect,
    share_values,
    worker_number,
)

if TYPE_CHECKING:
    from teddy.model.file.bundle import Manifest
    from teddy.model.rules.rules import Rules
    from teddy.model.text.documents import Tagged

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
ENTITY_ROUTES = ("/v1/entities", "/v1/entities/batch", "/v1/entities/stream")
"""The objective of availability is about these."""
QUICK_ROUTES = frozenset(ENTITY_ROUTES[:2])
SHORT_WORDS = 256
"""Most words of a request that the objective of latency is about."""
FAILURES = (500, 503, 504)

log = structlog.get_logger("service.metrics")


@dataclass(frozen=True, slots=True)
class TextMetrics:
    """What is counted of the texts of one model."""

    texts: BufferedChild
    words: BufferedChild
    truncated_words: BufferedChild
    score: BufferedChild


class Metrics:
    """The metrics of one app, on a registry of their own. If not `enabled`, nothing is counted."""

    def __init__(self, *, enabled: bool = True) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.enabled = enabled
        self.files = WorkerFiles.of_environment()
        self._directory = os.environ.get(DIRECTORY)
        if self._directory is not None and enabled:
            share_values(worker_number())
        self._registry = CollectorRegistry()
        self._collectors: list[Collector] = []
        self._factory = make = MetricFactory(self._registry if enabled else None)
        self._make_request_metrics(make)
        self._make_text_metrics(make)
        self._make_queue_metrics(make)
        self._make_model_metrics(make)
        self.build_info = make.gauge("teddy_build_info")
        self.loop_lag = make.buffered_histogram("teddy_event_loop_lag_seconds").labels()
        self.lost_log_lines = make.counter("teddy_log_lines_lost")
        self.process = ProcessMetrics(make)
        # With several workers the supervisor counts them.
        self._alone = SupervisorMetrics(make) if self._directory is None else None

    def _make_request_metrics(self, make: MetricFactory) -> None:
        self.requests = make.counter("teddy_requests")
        self._requests: dict[tuple[str, str, int], Any] = {}
        self.latency = make.buffered_histogram("teddy_request_seconds")
        self.short_latency = make.buffered_histogram("teddy_short_request_seconds").labels()
        self.in_flight = 0
        self._in_flight = make.gauge("teddy_requests_in_flight")
        self.refused = make.counter("teddy_refused")
        # From 0 on, for alerts: a counter that appears with its first failure has never increased.
        for route in ENTITY_ROUTES:
            for status in (200, *FAILURES):
                self._requests["POST", route, status] = self.requests.labels("POST", route, status)

    def _make_text_metrics(self, make: MetricFactory) -> None:
        self.texts = make.buffered_counter("teddy_texts")
        self.words = make.buffered_counter("teddy_words")
        self.text_words = make.buffered_histogram("teddy_text_words").labels()
        self.entities = make.buffered_counter("teddy_entities")
        self.rule_matches = make.buffered_counter("teddy_rule_matches")
        self.entity_score = make.buffered_histogram("teddy_entity_score")
        self.truncated_words = make.buffered_counter("teddy_truncated_words")
        self._of_models: dict[str, TextMetrics] = {}
        self.drift_texts = make.counter("teddy_drift_texts")
        self.feedback = make.counter("teddy_feedback")
        self.feedback_entities = make.counter("teddy_feedback_entities")

    def _make_queue_metrics(self, make: MetricFactory) -> None:
        self.queue_words = 0
        self._queue_words = make.gauge("teddy_queue_words")
        self.queue_capacity = make.gauge("teddy_queue_capacity_words")
        self.queue_wait = make.buffered_histogram("teddy_queue_wait_seconds").labels()
        self.batch_words = make.buffered_histogram("teddy_batch_words").labels()
        self.batch_windows = make.buffered_histogram("teddy_batch_windows").labels()
        self.padding_words = make.counter("teddy_padding_words")
        self.inference = make.buffered_histogram("teddy_inference_seconds").labels()
        self.inference_word = make.buffered_histogram("teddy_inference_word_seconds").labels()

    def _make_model_metrics(self, make: MetricFactory) -> None:
        self.model_info = make.gauge("teddy_model_info")
        self.model_loaded = make.gauge("teddy_model_loaded_timestamp_seconds")
        self.model_created = make.gauge("teddy_model_created_timestamp_seconds")
        self.model_dev_f1 = make.gauge("teddy_model_dev_f1")
        self.model_refused = make.gauge("teddy_model_refused")
        self.model_reloads = make.counter("teddy_model_reloads")

    def add(self, collector: Collector) -> None:
        """Expose what `collector` computes at each scrape, in a thread, for all workers."""
        if self.enabled:
            self._collectors.append(Guarded(collector))
            self._registry.register(self._collectors[-1])

    def ready(self) -> None:
        """Note that the models are loaded."""
        if self._alone:
            self._alone.wanted.set(1)
            self._alone.workers.set(1)

    def request(self, method: str, route: str, status: int, seconds: float, words: int = 0) -> None:
        """Count an answered request.

        `route` is a template or one word for all unknown paths, never a path.
        """
        key = (method if method in METHODS else "other", route, status)
        counter = self._requests.get(key)
        if counter is None:
            counter = self._requests[key] = self.requests.labels(*key)
        counter.inc()
        self.latency.labels(route, str(status)).observe(seconds)
        if 0 < words <= SHORT_WORDS and status == 200 and route in QUICK_ROUTES:
            self.short_latency.observe(seconds)

    def tagged(self, model: str, tagged: "Sequence[Tagged]") -> None:
        """Count texts that went through a model, and what was found in them."""
        of_model = self._of_models.get(model)
        if of_model is None:
            of_model = self._expect_texts(model, ())
        words = cut = 0
        for text in tagged:
            n_words = text.n_words
            words += n_words
            cut += n_words - text.n_tagged_words
            self.text_words.observe(n_words)
            for entity in text.entities:
                self.entities.labels(model, entity.label).inc(1)
                of_model.score.observe(entity.score)
            for rule in text.used_rules:
                self.rule_matches.labels(model, rule).inc(1)
        of_model.texts.inc(len(tagged))
        of_model.words.inc(words)
        if cut:
            of_model.truncated_words.inc(cut)

    def batch(self, words: int, windows: int, seconds: float) -> None:
        """Count a batch that went through the network."""
        self.batch_words.observe(words)
        self.batch_windows.observe(windows)
        self.inference.observe(seconds)
        self.inference_word.observe(seconds / max(words, 1))

    def serve_model(self, name: str, version: str, precision: str, manifest: "Manifest") -> None:
        """Note that a model has been loaded."""
        self.model_info.labels(name, version, precision).set(1)
        self.model_loaded.labels(name).set(time())
        self.model_created.labels(name).set(datetime.fromisoformat(manifest.created).timestamp())
        if (dev_f1 := dev_f1_of(manifest.scores)) is not None:
            self.model_dev_f1.labels(name).set(dev_f1)
        self.model_refused.labels(name).set(0)
        for result in ("changed", "unchanged", "refused"):
            self.model_reloads.labels(name, result)
        self._expect_texts(name, manifest.labels)
        self.feedback.labels(name)
        for label in manifest.labels:
            for kind in KINDS:
                self.feedback_entities.labels(name, label, kind)

    def reload(self, name: str, result: str) -> None:
        """Count a file to replace a model or rules: it was `changed`, `unchanged` or `refused`."""
        self.model_reloads.labels(name, result).inc()
        self.model_refused.labels(name).set(result == "refused")

    def serve_rules(self, name: str, rules: "Rules") -> None:
        """Note that rules are in force beside a model, and begin to count what they give."""
        for rule in rules.rules:
            if rule.use:
                self.rule_matches.labels(name, rule.name)
        for label in rules.labels:
            self.entities.labels(name, label)

    def drop_model(self, name: str, version: str, precision: str) -> None:
        """Note that a model is not served any more.

        The files that workers count in cannot forget it; there it becomes 0.
        """
        if self._directory is None:
            self.model_info.remove(name, version, precision)
            for metric in (self.model_loaded, self.model_created, self.model_dev_f1):
                metric.remove(name)
        else:
            self.model_info.labels(name, version, precision).set(0)

    def flush(self) -> None:
        """Put in all that waits. From any thread."""
        self._in_flight.set(self.in_flight)
        self._queue_words.set(self.queue_words)
        self._factory.flush()

    def exposition(self) -> bytes:
        """All values, of all workers, in Prometheus's text format. From any thread."""
        self.flush()
        self.process.measure()
        if self._directory is not None:
            return collect(self._directory, self._collectors)
        return generate_latest(self._registry)

    def _expect_texts(self, model: str, labels: Iterable[str]) -> TextMetrics:
        """Begin to count what a model finds, from 0 on."""
        self._of_models[model] = TextMetrics(
            texts=self.texts.labels(model),
            words=self.words.labels(model),
            truncated_words=self.truncated_words.labels(model),
            score=self.entity_score.labels(model),
        )
        for label in labels:
            self.entities.labels(model, label)
        return self._of_models[model]


def dev_f1_of(scores: dict[str, Any]) -> float | None:
    """Return the F1 on dev that a manifest's scores tell, if they do."""
    try:
        return float(scores["dev"]["micro"]["f1"])
    except (KeyError, TypeError):
        return None


class Guarded(Collector):
    """A collector whose failure costs its own metrics and no others; the log has it, once."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._failing = False

    def collect(self) -> Iterable[Metric]:
        """Return what the collector gives, or nothing."""
        try:
            families = list(self._collector.collect())
            self._failing = False
        # whatever it is, a scrape without anything would look like an outage
        except Exception as error:
            families = []
            if not self._failing:
                log.error("some metrics cannot be computed", exc_info=error)
            self._failing = True
        return families
