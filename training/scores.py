"""Strict span scores: precision, recall and F1, kept as counts, which add up over sentences, batches and labels.

A predicted span is correct when its start, its end and its label equal those of a gold span; nothing else earns
anything. For the scores of the CoNLL shared tasks see `teddy.training.conlleval`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from teddy.model.spans import Span


@dataclass(frozen=True, slots=True)
class Counts:
    """How many spans there were, were predicted, and were both. A ratio without a denominator is 0.0."""

    gold: int = 0
    predicted: int = 0
    correct: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.gold + other.gold, self.predicted + other.predicted, self.correct + other.correct)

    @property
    def precision(self) -> float:
        """Share of the predicted spans that are correct; 0.0 when nothing was predicted."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold spans that were found; 0.0 when there are none."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0.0 when there is neither gold nor prediction."""
        # 2PR / (P + R) written in counts: exact, and defined whenever one of the two is.
        total = self.gold + self.predicted
        return 2 * self.correct / total if total else 0.0

    def as_dict(self) -> dict[str, float | int]:
        """Give the counts and the ratios (0 to 1), ready for JSON."""
        return {
            "gold": self.gold,
            "predicted": self.predicted,
            "correct": self.correct,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
        }


@dataclass(frozen=True, slots=True)
class Macro:
    """Unweighted means over labels, each in 0 to 1."""

    precision: float
    recall: float
    f1: float


class SpanScores:
    """Counts by label. Labels named at construction come first and are shown even when nothing bears them."""

    __slots__ = ("by_label",)

    def __init__(self, labels: Iterable[str] = ()) -> None:
        self.by_label: dict[str, Counts] = {label: Counts() for label in labels}

    @classmethod
    def of(cls, by_label: Mapping[str, Counts]) -> "SpanScores":
        """Scores with these counts."""
        scores = cls()
        scores.by_label.update(by_label)
        return scores

    def add(self, gold: Iterable[Span], predicted: Iterable[Span]) -> None:
        """Count one sentence. Spans are sets: one that is given twice counts once."""
        gold, predicted = set(gold), set(predicted)
        for span in sorted(gold | predicted):
            there, found = span in gold, span in predicted
            self._count(span.label, Counts(int(there), int(found), int(there and found)))

    def __add__(self, other: "SpanScores") -> "SpanScores":
        both = SpanScores.of(self.by_label)
        for label, counts in other.by_label.items():
            both._count(label, counts)
        return both

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SpanScores) and self.by_label == other.by_label

    __hash__ = None  # type: ignore[assignment]  # it changes with every sentence

    def __repr__(self) -> str:
        return f"SpanScores({self.by_label!r})"

    def _count(self, label: str, counts: Counts) -> None:
        self.by_label[label] = self.by_label.get(label, Counts()) + counts

    @property
    def micro(self) -> Counts:
        """All labels together: every span weighs the same."""
        return sum(self.by_label.values(), Counts())

    @property
    def macro(self) -> Macro:
        """Every label weighs the same: means over the labels with a gold or a predicted span, 0.0 when there are none.

        A label that neither the gold nor the prediction ever uses says nothing about the model and is left out.
        """
        used = [counts for counts in self.by_label.values() if counts.gold or counts.predicted]
        n = len(used) or 1
        return Macro(
            precision=sum(counts.precision for counts in used) / n,
            recall=sum(counts.recall for counts in used) / n,
            f1=sum(counts.f1 for counts in used) / n,
        )

    @property
    def macro_f1(self) -> float:
        """`macro.f1`."""
        return self.macro.f1

    def as_dict(self) -> dict[str, object]:
        """`{"micro": {...}, "macro": {...}, "labels": {label: {...}}}`, ready for JSON; ratios are 0 to 1."""
        macro = self.macro
        return {
            "micro": self.micro.as_dict(),
            "macro": {"precision": macro.precision, "recall": macro.recall, "f1": macro.f1},
            "labels": {label: counts.as_dict() for label, counts in self.by_label.items()},
        }

    def table(self) -> str:
        """Write a table for a terminal, ratios in per cent: a row for each label, micro and macro. No final newline."""
        width = max((len(label) for label in (*self.by_label, "micro")), default=0)
        lines = [f"{'':{width}}  precision   recall       F1     gold  predicted  correct"]
        for name, counts in [*self.by_label.items(), ("micro", self.micro)]:
            lines.append(
                f"{name:{width}}  {counts.precision:9.2%}{counts.recall:9.2%}{counts.f1:9.2%}"
                f"{counts.gold:9,}{counts.predicted:11,}{counts.correct:9,}"
            )
        macro = self.macro
        lines.append(f"{'macro':{width}}  {macro.precision:9.2%}{macro.recall:9.2%}{macro.f1:9.2%}")
        return "\n".join(lines)
