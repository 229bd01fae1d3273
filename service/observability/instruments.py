"""From the catalogue's table to the objects of `prometheus_client` that count."""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics import MetricWrapperBase

from teddy.service.observability.catalogue import Metric, MetricType, all_metrics


class Histogram(prometheus_client.Histogram):
    """The library's, which can take many observations at once."""

    def observe_many(self, values: Sequence[float]) -> None:
        """As `observe` of each, at a tenth of the cost."""
        for place, n in Tally(bisect_left(self._upper_bounds, value) for value in values).items():
            self._buckets[place].inc(n)
        self._sum.inc(sum(values))


class BufferedChild:
    """A counter or a histogram, or one child of it, whose values are added in batches.

    (With plain prometheus_client all metrics take 71 us of CPU a request, and 108 us in files that
    workers share; with batches 17 and 24 us, of some 430 us in all.)
    """

    __slots__ = ("_put", "_values", "inc", "observe")

    def __init__(self, put: Callable[[list[float]], None]) -> None:
        self._put = put
        self._values: list[float] = []
        self.inc: Callable[[float], None] = self._values.append
        """Count so many more."""
        self.observe: Callable[[float], None] = self._values.append
        """Count one value."""

    def flush(self) -> None:
        """Put in what waits. Values may come from other threads meanwhile, flushes may not."""
        if values := self._values[:]:
            del self._values[: len(values)]
            self._put(values)


class BufferedMetric:
    """All children of a metric with labels, or the only one of a metric without."""

    def __init__(self, metric: Counter | Histogram) -> None:
        self._metric = metric
        self._children: dict[tuple[str, ...], BufferedChild] = {}

    def labels(self, *labels: str) -> BufferedChild:
        """Return the child with these labels; it exists from now on."""
        child = self._children.get(labels)
        if child is None:
            child = self._children.setdefault(
                labels, buffered(self._metric.labels(*labels) if labels else self._metric)
            )
        return child

    def flush(self) -> None:
        """Put in what waits."""
        for child in list(self._children.values()):
            child.flush()


def buffered(metric: Counter | Histogram) -> BufferedChild:
    """Return what puts values into one child."""
    if isinstance(metric, Histogram):
        return BufferedChild(metric.observe_many)
    return BufferedChild(lambda amounts: metric.inc(sum(amounts)))


class Nothing:
    """Takes the place of any metric where none is wanted."""

    def labels(self, *_: object) -> "Nothing":
        """Itself."""
        return self

    def observe(self, value: float = 1.0) -> None:
        """Forget it."""

    inc = dec = set = observe

    def remove(self, *_: object) -> None:
        """Forget nothing."""


class MetricFactory:
    """A factory of the catalogue's metrics on one registry; without one, none counts."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._registry = registry
        self._metrics = all_metrics()
        self._buffered: list[BufferedMetric] = []
        self._flushing = Lock()

    def counter(self, name: str) -> Counter:
        """Return the counter of that name."""
        counter: Counter = self._make(name, MetricType.COUNTER)
        return counter

    def gauge(self, name: str) -> Gauge:
        """Return the gauge of that name."""
        gauge: Gauge = self._make(name, MetricType.GAUGE)
        return gauge

    def buffered_counter(self, name: str) -> BufferedMetric:
        """Return the counter of that name, for what is counted often."""
        return self._make_buffered(name, MetricType.COUNTER)

    def buffered_histogram(self, name: str) -> BufferedMetric:
        """Return the histogram of that name."""
        return self._make_buffered(name, MetricType.HISTOGRAM)

    def flush(self) -> None:
        """Put in all that waits. From any thread."""
        with self._flushing:
            for each in self._buffered:
                each.flush()

    def _make_buffered(self, name: str, kind: MetricType) -> BufferedMetric:
        metric = self._make(name, kind)
        buffered_metric: BufferedMetric = (
            metric if self._registry is None else BufferedMetric(metric)
        )
        if self._registry is not None:
            self._buffered.append(buffered_metric)
        return buffered_metric

    def _make(self, name: str, kind: MetricType) -> Any:
        metric = self._metrics[name]
        if metric.kind is not kind:
            raise ValueError(f"{name} is a {metric.kind}")
        return Nothing() if self._registry is None else make(metric, self._registry)


def make(metric: Metric, registry: CollectorRegistry) -> MetricWrapperBase:
    """Return what counts a metric of the catalogue."""
    if metric.kind is MetricType.COUNTER:
        return Counter(metric.name, metric.meaning, metric.labels, registry=registry)
    if metric.kind is MetricType.HISTOGRAM:
        return Histogram(
            metric.name, metric.meaning, metric.labels, registry=registry, buckets=metric.edges
        )
    mode: Any = metric.across
    return Gauge(
        metric.name, metric.meaning, metric.labels, registry=registry, multiprocess_mode=mode
    )


def family(name: str) -> GaugeMetricFamily:
    """Return a gauge whose values are computed at each scrape, by `add_metric(labels, value)`."""
    metric = all_metrics()[name]
    return GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
