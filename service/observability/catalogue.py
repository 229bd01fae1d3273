"""Every metric of the service, in one table, of which `metrics.py` and the docs are made.

    python -m teddy.service.observability.catalogue          the table of docs/metrics.md

What a label can be is bounded, and never comes from a client: a route is a template, a reason one
of the problems that the service knows, a model and its labels come from model files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Edges of what a request waits for. The objective, 100 ms, is one of them: a share below it is
exact."""
WORD_SECONDS = tuple(step * scale for scale in (1e-6, 1e-5, 1e-4, 1e-3) for step in (1, 2, 5))
POWERS_OF_TWO = tuple(2**exponent for exponent in range(15))
TENTHS = tuple(tenth / 10 for tenth in range(1, 10))


class MetricType(StrEnum):
    """What Prometheus calls the type."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """A family of series. A counter's name is without the `_total` that Prometheus appends."""

    name: str
    kind: MetricType
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    """Of a histogram: upper, inclusive; the last, infinity, is not named."""
    across: str = ""
    """How the workers' gauges make one: a mode of `prometheus_client`; empty where one value is
    computed for all."""

    @property
    def exposed_name(self) -> str:
        """The name in Prometheus; a histogram has `_bucket`, `_sum` and `_count` besides."""
        return f"{self.name}_total" if self.kind is MetricType.COUNTER else self.name


@dataclass(frozen=True, slots=True)
class Group:
    """Metrics that belong together."""

    title: str
    metrics: tuple[Metric, ...]


def _counter(name: str, unit: str, meaning: str, *labels: str) -> Metric:
    return Metric(name, MetricType.COUNTER, unit, meaning, labels)


def _gauge(name: str, unit: str, meaning: str, *labels: str, across: str = "livesum") -> Metric:
    return Metric(name, MetricType.GAUGE, unit, meaning, labels, across=across)


def _computed(name: str, unit: str, meaning: str, *labels: str) -> Metric:
    return Metric(name, MetricType.GAUGE, unit, meaning, labels)


def _histogram(name: str, unit: str, meaning: str, edges: Sequence[float], *labels: str) -> Metric:
    return Metric(name, MetricType.HISTOGRAM, unit, meaning, labels, tuple(edges))


REQUESTS = Group(
    "Requests",
    (
        _counter("teddy_requests", "requests", "Requests answered.", "method", "route", "status"),
        _histogram(
            "teddy_request_seconds",
            "seconds",
            "From a request's head to the end of its answer.",
            SECONDS,
            "route",
            "status",
        ),
        _histogram(
            "teddy_short_request_seconds",
            "seconds",
            "The same of answered requests for the entities of at most 256 words: the objective's.",
            SECONDS,
        ),
        _gauge("teddy_requests_in_flight", "requests", "Requests being answered."),
        _counter("teddy_refused", "requests", "Requests answered with a problem.", "reason"),
    ),
)
TEXTS = Group(
    "Texts",
    (
        _counter("teddy_texts", "texts", "Texts tagged.", "model"),
        _counter("teddy_words", "words", "Words tagged.", "model"),
        _histogram("teddy_text_words", "words", "Words of a text.", POWERS_OF_TWO),
        _counter(
            "teddy_entities",
            "entities",
            "Entities found, before any are filtered out.",
            "model",
            "label",
        ),
        _counter(
            "teddy_rule_matches",
            "entities",
            "Entities that a rule gave, or, of a hint, that the model found where it was.",
            "model",
            "rule",
        ),
        _histogram("teddy_entity_score", "probability", "Score of an entity.", TENTHS, "model"),
        _counter(
            "teddy_truncated_words",
            "words",
            "Words of texts that got no tag. Always 0: no text is cut.",
            "model",
        ),
    ),
)
QUEUE = Group(
    "Queue and network",
    (
        _gauge("teddy_queue_words", "words", "Words waiting."),
        _gauge(
            "teddy_queue_capacity_words",
            "words",
            "Words that may wait before requests are refused.",
        ),
        _histogram(
            "teddy_queue_wait_seconds",
            "seconds",
            "From a request's place in the queue to its first batch.",
            SECONDS,
        ),
        _histogram("teddy_batch_words", "words", "Words in a batch.", POWERS_OF_TWO),
        _histogram("teddy_batch_windows", "windows", "Windows in a batch.", POWERS_OF_TWO[:11]),
        _counter(
            "teddy_padding_words", "words", "Places in batches that were computed and held no word."
        ),
        _histogram("teddy_inference_seconds", "seconds", "A batch in the network.", SECONDS),
        _histogram(
            "teddy_inference_word_seconds",
            "seconds",
            "A batch in the network, for each word.",
            WORD_SECONDS,
        ),
    ),
)
MODELS = Group(
    "Models",
    (
        _gauge(
            "teddy_model_info",
            "",
            "1 for each loaded model; 0 for one that was.",
            "name",
            "version",
            "precision",
            across="livemax",
        ),
        _gauge(
            "teddy_model_loaded_timestamp_seconds",
            "seconds since 1970",
            "When a model was loaded; with several workers, in the one that is furthest behind.",
            "name",
            across="livemin",
        ),
        _gauge(
            "teddy_model_created_timestamp_seconds",
            "seconds since 1970",
            "When a model was made.",
            "name",
            across="livemin",
        ),
        _gauge(
            "teddy_model_dev_f1",
            "ratio",
            "A model's F1 on its own dev data.",
            "name",
            across="livemin",
        ),
        _gauge(
            "teddy_model_refused",
            "",
            "1 while the newest file of a model, or of its rules, was refused, else 0.",
            "name",
            across="livemax",
        ),
        _counter(
            "teddy_model_reloads",
            "files",
            "Files to replace a model or its rules, by outcome: `changed`, `unchanged`, `refused`.",
            "name",
            "result",
        ),
    ),
)
DRIFT = Group(
    "Drift: live texts against the model's reference",
    (
        _computed(
            "teddy_drift_psi",
            "",
            "Population stability index; absent while too little was seen.",
            "model",
            "feature",
        ),
        _computed(
            "teddy_drift_jensen_shannon",
            "square root of bits",
            "Jensen-Shannon distance, 0 to 1; absent while too little was seen.",
            "model",
            "feature",
        ),
        _computed(
            "teddy_drift_observations",
            "observations",
            "What a feature was seen on in the window.",
            "model",
            "feature",
        ),
        _computed(
            "teddy_drift_share", "ratio", "Share of a bin in the window.", "model", "feature", "bin"
        ),
        _computed(
            "teddy_drift_reference_share",
            "ratio",
            "Share of a bin in the reference.",
            "model",
            "feature",
            "bin",
        ),
        _counter(
            "teddy_drift_texts",
            "texts",
            "Texts by whether drift was measured on them: `seen`, `passed`.",
            "outcome",
        ),
    ),
)
FEEDBACK = Group(
    "Feedback: answers against corrections",
    (
        _counter("teddy_feedback", "corrections", "Corrections stored.", "model"),
        _counter(
            "teddy_feedback_entities",
            "entities",
            "Entities of corrected texts: `correct`, `spurious` (found and wrong), `missed`.",
            "model",
            "label",
            "outcome",
        ),
        _computed(
            "teddy_feedback_precision",
            "ratio",
            "Of the entities found, in the newest corrections.",
            "model",
            "label",
        ),
        _computed(
            "teddy_feedback_recall",
            "ratio",
            "Of the entities wanted, in the newest corrections.",
            "model",
            "label",
        ),
        _computed(
            "teddy_feedback_f1",
            "ratio",
            "Of all labels together, in the newest corrections.",
            "model",
        ),
        _computed("teddy_feedback_stored_bytes", "bytes", "Size of the stored corrections."),
        _computed(
            "teddy_feedback_capacity_bytes", "bytes", "Size at which corrections are refused."
        ),
    ),
)
PROCESS = Group(
    "Processes",
    (
        _gauge("teddy_build_info", "", "1; the label says it.", "version", across="livemax"),
        _gauge("teddy_workers", "processes", "Workers that take requests."),
        _gauge("teddy_workers_wanted", "processes", "Workers that should.", across="livemax"),
        _counter("teddy_worker_restarts", "processes", "Workers that died and were replaced."),
        _gauge(
            "teddy_worker_resident_bytes",
            "bytes",
            "Memory of a worker, with what it shares.",
            "worker",
            across="livemax",
        ),
        _gauge(
            "teddy_worker_open_files",
            "files",
            "Files and sockets of a worker.",
            "worker",
            across="livemax",
        ),
        _counter("teddy_worker_cpu_seconds", "seconds", "CPU time of a worker.", "worker"),
        _histogram(
            "teddy_event_loop_lag_seconds",
            "seconds",
            "How much later than asked the event loop came to it.",
            SECONDS,
        ),
        _counter("teddy_log_lines_lost", "lines", "Lines of the log that could not be written."),
    ),
)

CATALOGUE = (REQUESTS, TEXTS, QUEUE, MODELS, DRIFT, FEEDBACK, PROCESS)


def all_metrics() -> dict[str, Metric]:
    """Every metric, by name."""
    return {metric.name: metric for group in CATALOGUE for metric in group.metrics}


def metrics_table() -> str:
    """Return the catalogue in Markdown, for docs/metrics.md."""
    return "\n\n".join(_group_table(group) for group in CATALOGUE)


def _group_table(group: Group) -> str:
    rows = [
        f"### {group.title}",
        "",
        "| Metric | Type | Labels | Unit | Meaning |",
        "|---|---|---|---|---|",
    ]
    for metric in group.metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(
            f"| `{metric.exposed_name}` | {metric.kind} | {labels} | {metric.unit} "
            f"| {metric.meaning} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    print(metrics_table())
