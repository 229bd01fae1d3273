"""Live precision and recall: what the newest corrections say of the models that are served.

They are computed from the stored rows, which every process reads as the files grow. So they are the same whichever
worker is asked, and survive them all.
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from teddy.service.feedback.newest import NewestCorrections, Version
from teddy.service.feedback.scores import ByLabel, total
from teddy.service.feedback.store import CorrectionFiles
from teddy.service.instruments import family

LEAST_ENTITIES = 20
"""A ratio of fewer says too little to be shown: of 20, one more or less is five points."""

Served = Callable[[], Iterable[Version]]
"""Tells which versions of which models are served."""


class FeedbackGauges(Collector):
    """The gauges of feedback, at each scrape."""

    def __init__(self, files: CorrectionFiles, served: Served) -> None:
        self._files = files
        self._served = served
        self._newest = NewestCorrections(files)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """What the catalogue says."""
        stored, capacity = family("teddy_feedback_stored_bytes"), family("teddy_feedback_capacity_bytes")
        stored.add_metric((), self._files.stored_bytes())
        capacity.add_metric((), self._files.max_bytes)
        sums = self._newest.sums()
        return [stored, capacity, *ratios({name: sums.get((name, version), {}) for name, version in self._served()})]


def ratios(models: Mapping[str, ByLabel]) -> list[GaugeMetricFamily]:
    """Precision and recall by label and F1 of each model, where there are enough entities."""
    precision, recall = family("teddy_feedback_precision"), family("teddy_feedback_recall")
    f1 = family("teddy_feedback_f1")
    for model, by_label in models.items():
        for label, outcomes in by_label.items():
            if outcomes.n_found >= LEAST_ENTITIES:
                precision.add_metric((model, label), outcomes.precision)
            if outcomes.n_wanted >= LEAST_ENTITIES:
                recall.add_metric((model, label), outcomes.recall)
        together = total(by_label)
        if together.n_found + together.n_wanted >= 2 * LEAST_ENTITIES:
            f1.add_metric((model,), together.f1)
    return [precision, recall, f1]
