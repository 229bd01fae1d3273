"""The gauges of drift, computed at each scrape from what all workers have counted."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from teddy.model.drift.reference import (
    jensen_shannon_distance,
    population_stability_index,
    shares,
    spread,
)
from teddy.service.observability.instruments import family
from teddy.service.observability.worker_metrics import WorkerFiles

SUBJECT = "drift"
"""Of the workers' documents."""
LEAST_TEXTS = 100
MOST_CHANCE = 0.025
"""Of a feature whose PSI would be more, on average, if nothing had changed, nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftComparison:
    """A feature of a model's live texts beside its reference: counts of the same bins."""

    feature: str
    bins: tuple[str, ...]
    live: list[int]
    reference: list[int]
    n_texts: int
    chance: float
    """The PSI to expect if nothing had changed."""

    @property
    def psi(self) -> float:
        """The population stability index."""
        return population_stability_index(self.live, self.reference)

    @property
    def distance(self) -> float:
        """The Jensen-Shannon distance."""
        return jensen_shannon_distance(self.live, self.reference)

    @property
    def is_telling(self) -> bool:
        """Whether enough was seen."""
        return self.n_texts >= LEAST_TEXTS and self.chance <= MOST_CHANCE


class DriftMetrics(Collector):
    """Adds up the workers' windows and compares them with the reference."""

    def __init__(self, files: WorkerFiles, served: Callable[[], Collection[str]]) -> None:
        """Take the names of the served models from `served`."""
        self._files = files
        self._served = served

    def collect(self) -> Iterable[Metric]:
        """Return the gauges of every model."""
        gauges = Gauges()
        names = set(self._served())
        for model, documents in newest_versions(self._files.read(SUBJECT)).items():
            if model in names:
                for comparison in compare(documents):
                    gauges.add(model, comparison)
        return gauges.families()


class Gauges:
    """The families that are exposed."""

    def __init__(self) -> None:
        self._psi, self._distance = family("teddy_drift_psi"), family("teddy_drift_jensen_shannon")
        self._observations = family("teddy_drift_observations")
        self._share, self._reference = (
            family("teddy_drift_share"),
            family("teddy_drift_reference_share"),
        )

    def add(self, model: str, comparison: DriftComparison) -> None:
        """Add a feature; of one with too few texts only its count and its reference."""
        labels = [model, comparison.feature]
        self._observations.add_metric(labels, sum(comparison.live))
        self._add_shares(self._reference, labels, comparison.bins, comparison.reference)
        if comparison.is_telling:
            self._add_shares(self._share, labels, comparison.bins, comparison.live)
            self._psi.add_metric(labels, comparison.psi)
            self._distance.add_metric(labels, comparison.distance)

    def families(self) -> list[GaugeMetricFamily]:
        """All of them."""
        return [self._psi, self._distance, self._observations, self._share, self._reference]

    @staticmethod
    def _add_shares(
        gauge: GaugeMetricFamily, labels: list[str], bins: Iterable[str], counts: list[int]
    ) -> None:
        for name, share in zip(bins, shares(counts), strict=True):
            gauge.add_metric([*labels, name], share)


def newest_versions(tellings: Iterable[Any]) -> dict[str, list[dict[str, Any]]]:
    """For each model, what the workers tell of the version that was loaded last.

    `tellings` are of one worker each. While a model is replaced, one worker has the new version
    before another.
    """
    by_model: dict[str, list[dict[str, Any]]] = {}
    for document in (document for telling in tellings for document in telling):
        by_model.setdefault(document["model"], []).append(document)
    newest = {
        name: max(each, key=lambda document: document["loaded"]) for name, each in by_model.items()
    }
    return {
        name: [document for document in documents if document["version"] == newest[name]["version"]]
        for name, documents in by_model.items()
    }


def compare(documents: list[dict[str, Any]]) -> Iterator[DriftComparison]:
    """Each feature of the windows of all workers together, where the reference has it."""
    first = documents[0]
    matrix = [
        [sum(cells) for cells in zip(*rows, strict=True)]
        for rows in zip(*_matrices(documents), strict=True)
    ]
    n_texts = sum(document["n_texts"] for document in documents)
    start = 0
    for feature, bins in first["bins"].items():
        part = [row[start : start + len(bins)] for row in matrix]
        start += len(bins)
        reference = first["reference"].get(feature)
        if reference is None or tuple(reference["counts"]) != tuple(bins):
            continue  # of a file made by another Teddy, with other bins
        if comparison := _compare_feature(feature, tuple(bins), part, reference, n_texts):
            yield comparison


def _matrices(documents: list[dict[str, Any]]) -> list[list[list[int]]]:
    return [document["matrix"] for document in documents]


def _compare_feature(
    feature: str,
    bins: tuple[str, ...],
    sums: list[list[int]],
    reference: dict[str, Any],
    n_texts: int,
) -> DriftComparison | None:
    """None where the reference counted nothing."""
    counts = list(reference["counts"].values())
    if not any(counts):
        return None
    live = sums[0]
    chance = reference["spread"] / sum(counts)
    chance += spread(*sums) / sum(live) if any(live) else float("inf")
    return DriftComparison(
        feature=feature, bins=bins, live=live, reference=counts, n_texts=n_texts, chance=chance
    )
