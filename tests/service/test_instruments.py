"""What counts late, against what counts at once."""

import threading

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as PlainHistogram

from teddy.service.observability.catalogue import SECONDS, Metric, MetricType
from teddy.service.observability.instruments import Histogram, MetricFactory, make

OBSERVED = st.floats(0, 20) | st.sampled_from(SECONDS)


@given(values=st.lists(OBSERVED, max_size=50))
def test_many_observations_at_once_are_as_many_single_ones(values: list[float]) -> None:
    at_once, singly = CollectorRegistry(), CollectorRegistry()
    Histogram("h", "h", registry=at_once, buckets=SECONDS).observe_many(values)
    plain = PlainHistogram("h", "h", registry=singly, buckets=SECONDS)
    for value in values:
        plain.observe(value)
    for name in ("h_bucket", "h_count"):
        for edge in (*SECONDS, float("inf")):
            labels = (
                {"le": "+Inf" if edge == float("inf") else str(float(edge))}
                if name == "h_bucket"
                else {}
            )
            assert at_once.get_sample_value(name, labels) == singly.get_sample_value(name, labels)
    assert abs((at_once.get_sample_value("h_sum") or 0.0) - sum(values)) < 1e-6


def test_what_waits_is_counted_once_by_a_flush_and_nothing_before() -> None:
    registry = CollectorRegistry()
    make_late = MetricFactory(registry)
    texts = make_late.buffered_counter("teddy_texts").labels("en")
    waits = make_late.buffered_histogram("teddy_queue_wait_seconds").labels()
    texts.inc(2)
    texts.inc(3)
    waits.observe(0.1)
    assert registry.get_sample_value("teddy_texts_total", {"model": "en"}) == 0
    for _ in range(2):
        make_late.flush()
        assert registry.get_sample_value("teddy_texts_total", {"model": "en"}) == 5
        assert registry.get_sample_value("teddy_queue_wait_seconds_bucket", {"le": "0.1"}) == 1


def test_threads_that_count_while_others_flush_lose_nothing_and_count_nothing_twice() -> None:
    registry = CollectorRegistry()
    instruments = MetricFactory(registry)
    words = instruments.buffered_counter("teddy_words").labels("en")
    n_threads, n_counts = 4, 5_000

    def count() -> None:
        for _ in range(n_counts):
            words.inc(1)

    def flush() -> None:
        for _ in range(200):
            instruments.flush()

    counting = [threading.Thread(target=count) for _ in range(n_threads)]
    flushing = [threading.Thread(target=flush) for _ in range(2)]
    for thread in counting + flushing:
        thread.start()
    for thread in counting + flushing:
        thread.join()
    instruments.flush()
    assert registry.get_sample_value("teddy_words_total", {"model": "en"}) == n_threads * n_counts


def test_nothing_counts_where_there_is_no_registry() -> None:
    instruments = MetricFactory(None)
    instruments.buffered_counter("teddy_words").labels("en").inc(1)
    instruments.buffered_histogram("teddy_queue_wait_seconds").labels().observe(1)
    instruments.counter("teddy_requests").labels("GET", "/", 200).inc()
    instruments.gauge("teddy_workers").set(1)
    instruments.flush()


def test_a_metric_is_exposed_under_its_name_in_the_catalogue() -> None:
    for kind in MetricType:
        registry = CollectorRegistry()
        metric = Metric("teddy_x", kind, "", "X.", edges=(1.0,), across="livesum")
        make(metric, registry)
        assert f"\n{metric.exposed_name}" in generate_latest(registry).decode()
