"""The metrics of a training job, of which `training/job/metrics.py` and the docs are made.

    python -m teddy.training.job.catalogue     the table of docs/metrics.md, in Markdown

All are gauges, and all carry `run`, the name in the recipe. One that has no value yet is absent,
never 0.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

PREFIX = "teddy_training_"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Metric:
    """A gauge."""

    name: str
    unit: str
    meaning: str
    labels: tuple[str, ...] = ("run",)


@dataclass(frozen=True, slots=True)
class Group:
    """Metrics that belong together."""

    title: str
    metrics: tuple[Metric, ...]


def _metric(name: str, unit: str, meaning: str, *more_labels: str) -> Metric:
    return Metric(PREFIX + name, unit, meaning, ("run", *more_labels))


JOB = Group(
    "Every training job",
    (
        _metric(
            "state",
            "",
            "1 for the state of the job, 0 for the others: `running`, `finished`, `failed`, "
            "`diverged`, `interrupted`.",
            "state",
        ),
        _metric(
            "started_timestamp_seconds",
            "seconds since 1970",
            "When the job was started or, at last, resumed.",
        ),
        _metric(
            "updated_timestamp_seconds",
            "seconds since 1970",
            "Time of the last update, evaluation, checkpoint, part of the preparation, or end.",
        ),
        _metric(
            "checkpoint_timestamp_seconds",
            "seconds since 1970",
            "When the checkpoint to resume from was saved.",
        ),
        _metric("step", "updates", "Updates made, those before a resumption too."),
        _metric(
            "steps", "updates", "Updates planned; a job that runs out of patience makes fewer."
        ),
        _metric("epoch", "epochs", "The epoch of the last update, the first is 1."),
        _metric(
            "epochs", "epochs", "Epochs planned; of `teddy pretrain`, with one that is begun only."
        ),
        _metric(
            "loss",
            "nats",
            "Loss of the last update, for each word; of `teddy pretrain`, each that was asked.",
        ),
        _metric("gradient_norm", "", "Norm of the last update's gradient before clipping."),
        _metric("learning_rate", "", "Learning rate of the last update."),
        _metric(
            "words_per_second",
            "words per second",
            "Speed of the last 50 updates of this process, without evaluations and checkpoints.",
        ),
        _metric("resident_bytes", "bytes", "Memory of the process, with what it shares."),
    ),
)
TRAIN = Group(
    "Of `teddy train`",
    (
        _metric("dev_f1", "ratio", "F1 on dev at the last evaluation (strict spans)."),
        _metric("dev_precision", "ratio", "Precision on dev at the last evaluation."),
        _metric("dev_recall", "ratio", "Recall on dev at the last evaluation."),
        _metric("dev_loss", "nats", "Loss on dev at the last evaluation, for each word."),
        _metric("best_dev_f1", "ratio", "The best F1 on dev so far."),
    ),
)
PRETRAIN = Group(
    "Of `teddy pretrain`",
    (
        _metric("perplexity", "", "Of words to guess in held-out text, at the last evaluation."),
        _metric("accuracy", "ratio", "Share of these words that were guessed right."),
    ),
)

CATALOGUE = (JOB, TRAIN, PRETRAIN)

_UPDATE = ("epoch", "loss", "distillation_loss", "gradient_norm", "learning_rate")
ROW_METRICS: Mapping[str, Mapping[str, str]] = {
    "update": {key: key for key in (*_UPDATE, "words_per_second")},
    "evaluation": {key: f"dev_{key}" for key in ("f1", "precision", "recall", "loss")},
    "held_out": {key: key for key in ("words", "perplexity", "accuracy", "detection_accuracy")},
}
"""The keys of rows (see training/job/record.py) and the names of their metrics in Prometheus, as
far as they are in the catalogue, and in MLflow; by the kind of row."""


def all_metrics() -> Iterator[Metric]:
    """Yield every metric in the order of the table."""
    return (metric for group in CATALOGUE for metric in group.metrics)


def metrics_table() -> str:
    """Return the catalogue in Markdown, for docs/metrics.md."""
    tables = []
    for group in CATALOGUE:
        rows = [f"### {group.title}", ""]
        rows += ["| Metric | Type | Labels | Unit | Meaning |", "|---|---|---|---|---|"]
        for each in group.metrics:
            labels = ", ".join(f"`{label}`" for label in each.labels)
            rows.append(f"| `{each.name}` | gauge | {labels} | {each.unit} | {each.meaning} |")
        tables.append("\n".join(rows))
    return "\n\n".join(tables)


if __name__ == "__main__":
    print(metrics_table())
