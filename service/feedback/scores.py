"""How right a model was, by corrections: strict counts of entities, which add up over texts and labels.

An entity is right when its start, its end and its label are; nothing else earns anything. So the scores here mean what
those of training mean.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from teddy.model.spans import Span


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How many entities were found and right, found and wrong, and not found."""

    correct: int = 0
    spurious: int = 0
    missed: int = 0

    def __add__(self, other: "Outcomes") -> "Outcomes":
        return Outcomes(self.correct + other.correct, self.spurious + other.spurious, self.missed + other.missed)

    def __sub__(self, other: "Outcomes") -> "Outcomes":
        return Outcomes(self.correct - other.correct, self.spurious - other.spurious, self.missed - other.missed)

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
        """Share of those there are that were found. Raises ZeroDivisionError where there are none."""
        return self.correct / self.n_wanted

    @property
    def f1(self) -> float:
        """Harmonic mean of the two, defined where either is. Raises ZeroDivisionError where there are no entities."""
        return 2 * self.correct / (self.n_found + self.n_wanted)


KINDS = tuple(field.name for field in fields(Outcomes))
ByLabel = Mapping[str, Outcomes]


def compare(wanted: Iterable[Span], found: Iterable[Span]) -> dict[str, Outcomes]:
    """The outcomes of one text, for each label that occurs."""
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
