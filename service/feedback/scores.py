"""Live precision and recall: counts of entities over the newest corrections of all processes.

An entity is right when its start, its end and its label are; nothing else earns anything. So the
scores here mean what those of training mean.

They are computed from the stored rows, which every process reads as the files grow. So they are the
same whichever worker is asked, and survive them all.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from threading import Lock

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from teddy.model.tags.spans import Span
from teddy.service.feedback.rows import Correction
from teddy.service.feedback.store import CorrectionFiles
from teddy.service.observability.instruments import family

NEWEST_TEXTS = 1000
"""Corrections of a model's version that count."""
MOST_BYTES = 16 * 2**20
"""Read at one look, of the newest rows; what is further back since the last look is passed over."""
MOST_VERSIONS = 16
Version = tuple[str, str]
"""A model's name and version."""
LEAST_ENTITIES = 20
"""A ratio of fewer says too little to be shown: of 20, one more or less is five points."""
Served = Callable[[], Iterable[Version]]
"""Tells which versions of which models are served."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How many entities were found and right, found and wrong, and not found."""

    correct: int = 0
    spurious: int = 0
    missed: int = 0

    def __add__(self, other: "Outcomes") -> "Outcomes":
        return Outcomes(
            self.correct + other.correct, self.spurious + other.spurious, self.missed + other.missed
        )

    def __sub__(self, other: "Outcomes") -> "Outcomes":
        return Outcomes(
            self.correct - other.correct, self.spurious - other.spurious, self.missed - other.missed
        )

    @property
    def n_found(self) -> int:
        """Entities that the model found."""
        return self.correct + self.spurious

    @property
    def n_wanted(self) -> int:
        """Entities that there are."""
        return self.correct + self.missed

    @property
    def precision(self) -> float:
        """Share of those found that are right. Raises ZeroDivisionError where there are none."""
        return self.correct / self.n_found

    @property
    def recall(self) -> float:
        """Share of those there are that were found.

        Raises ZeroDivisionError where there are none.
        """
        return self.correct / self.n_wanted

    @property
    def f1(self) -> float:
        """Harmonic mean of the two, defined where either is.

        Raises ZeroDivisionError where there are no entities.
        """
        return 2 * self.correct / (self.n_found + self.n_wanted)


KINDS = tuple(field.name for field in fields(Outcomes))
ByLabel = Mapping[str, Outcomes]


def compare(wanted: Iterable[Span], found: Iterable[Span]) -> dict[str, Outcomes]:
    """Return the outcomes of one text, for each label that occurs."""
    wanted, found = set(wanted), set(found)
    kinds = Counter((span.label, "correct") for span in wanted & found)
    kinds.update((span.label, "spurious") for span in found - wanted)
    kinds.update((span.label, "missed") for span in wanted - found)
    return {label: Outcomes(*(kinds[label, kind] for kind in KINDS)) for label, _ in kinds}


def total(outcomes: ByLabel) -> Outcomes:
    """All labels together: every entity weighs the same."""
    return sum(outcomes.values(), Outcomes())


class Window:
    """The outcomes of the newest texts, and their sum by label."""

    def __init__(self, most_texts: int) -> None:
        self._texts: deque[ByLabel] = deque()
        self._most_texts = most_texts
        self.sums: dict[str, Outcomes] = {}

    def add(self, outcomes: ByLabel) -> None:
        """Take one text in, and the oldest out if there are too many."""
        self._texts.append(outcomes)
        for label, of_label in outcomes.items():
            self.sums[label] = self.sums.get(label, Outcomes()) + of_label
        if len(self._texts) > self._most_texts:
            for label, of_label in self._texts.popleft().items():
                self.sums[label] -= of_label


class NewestCorrections:
    """What the newest corrections say of each version of each model. Threads may share it."""

    def __init__(self, files: CorrectionFiles, most_texts: int = NEWEST_TEXTS) -> None:
        self._files = files
        self._most_texts = most_texts
        self._read_bytes: dict[int, int] = {}
        """By inode, how much of a file has been read: neither a new name nor another file under the
        old one matters."""
        self._windows: dict[Version, Window] = {}
        self._lock = Lock()

    def sums(self) -> Mapping[Version, ByLabel]:
        """Return the outcomes by label of each version's newest corrections. Reads what is new."""
        with self._lock:
            for correction in sorted(self._new(), key=lambda each: each.received):
                self._add(correction)
            return {version: dict(window.sums) for version, window in self._windows.items()}

    def _add(self, correction: Correction) -> None:
        version = correction.model, correction.version
        window = self._windows.pop(version, None) or Window(self._most_texts)
        self._windows[version] = window  # as the last one, which is forgotten last
        if len(self._windows) > MOST_VERSIONS:
            del self._windows[next(iter(self._windows))]
        window.add(compare(correction.wanted, correction.found))

    def _new(self) -> Iterator[Correction]:
        """Yield what was written since the last look, file by file."""
        known, self._read_bytes, left = self._read_bytes, {}, MOST_BYTES
        for path in reversed(self._files.paths()):
            with suppress(FileNotFoundError), path.open("rb") as file:
                status = os.fstat(file.fileno())
                start = known.get(status.st_ino, 0)
                rows, end = read_rows(file.fileno(), start, status.st_size, left)
                self._read_bytes[status.st_ino] = end
                left -= sum(map(len, rows))
                yield from filter(None, map(Correction.read, rows))


def read_rows(descriptor: int, start: int, size: int, most_bytes: int) -> tuple[list[bytes], int]:
    """Return the last `most_bytes` of whole rows between two places, and the next place."""
    begin = max(start, size - max(most_bytes, 0))
    data = os.pread(descriptor, max(size - begin, 0), begin)
    whole = data[: data.rfind(b"\n") + 1]
    rows = whole.split(b"\n")[:-1]
    return rows[1:] if begin > start else rows, begin + len(whole)


class FeedbackGauges(Collector):
    """The gauges of feedback, at each scrape."""

    def __init__(self, files: CorrectionFiles, served: Served) -> None:
        self._files = files
        self._served = served
        self._newest = NewestCorrections(files)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return what the catalogue says."""
        stored, capacity = (
            family("teddy_feedback_stored_bytes"),
            family("teddy_feedback_capacity_bytes"),
        )
        stored.add_metric((), self._files.stored_bytes())
        capacity.add_metric((), self._files.max_bytes)
        sums = self._newest.sums()
        return [
            stored,
            capacity,
            *ratios({name: sums.get((name, version), {}) for name, version in self._served()}),
        ]


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
