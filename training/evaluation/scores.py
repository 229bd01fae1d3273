"""Strict span scores, kept as counts that add up, and the scores of the CoNLL shared tasks.

Strictly, a predicted span is correct when its start, its end and its label equal those of a gold
span; nothing else earns anything.

The scores of the `conlleval` script differ from these only on ill-formed tag sequences: it repairs
them, gold and prediction alike, by its rules about where a chunk starts and ends, and then counts
equal chunks. `seqeval` by default does the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from teddy.model.tags.spans import Scheme, Span, read_tags


@dataclass(frozen=True, slots=True)
class Counts:
    """How many spans there were, were predicted, and were both.

    A ratio without a denominator is 0.0.
    """

    gold: int = 0
    predicted: int = 0
    correct: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.gold + other.gold, self.predicted + other.predicted, self.correct + other.correct
        )

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
        ratios = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return asdict(self) | ratios


@dataclass(frozen=True, slots=True)
class Macro:
    """Unweighted means over labels, each in 0 to 1."""

    precision: float
    recall: float
    f1: float


def as_dicts(scores: "Mapping[str, Counts | SpanScores]") -> dict[str, dict[str, Any]]:
    """Give each of several scores ready for JSON."""
    return {name: each.as_dict() for name, each in scores.items()}


@dataclass(slots=True, init=False)
class SpanScores:
    """Counts by label.

    Labels named at construction come first and are shown even when nothing bears them.
    """

    by_label: dict[str, Counts]

    def __init__(self, labels: Iterable[str] = ()) -> None:
        self.by_label = {label: Counts() for label in labels}

    def add(self, gold: Iterable[Span], predicted: Iterable[Span]) -> None:
        """Count one sentence. Spans are sets: one that is given twice counts once."""
        gold, predicted = set(gold), set(predicted)
        for span in sorted(gold | predicted):
            there, found = span in gold, span in predicted
            self._count(span.label, Counts(int(there), int(found), int(there and found)))

    def __add__(self, other: "SpanScores") -> "SpanScores":
        both = SpanScores()
        for label, counts in (*self.by_label.items(), *other.by_label.items()):
            both._count(label, counts)
        return both

    def _count(self, label: str, counts: Counts) -> None:
        self.by_label[label] = self.by_label.get(label, Counts()) + counts

    @property
    def micro(self) -> Counts:
        """All labels together: every span weighs the same."""
        return sum(self.by_label.values(), Counts())

    @property
    def macro(self) -> Macro:
        """The means over the labels with a gold or predicted span; 0.0 when there are none.

        A label that neither the gold nor the prediction ever uses says nothing about the model and
        is left out.
        """
        used = [counts for counts in self.by_label.values() if counts.gold or counts.predicted]
        n = len(used) or 1
        return Macro(
            precision=sum(counts.precision for counts in used) / n,
            recall=sum(counts.recall for counts in used) / n,
            f1=sum(counts.f1 for counts in used) / n,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return `{"micro": ..., "macro": ..., "labels": {...}}` for JSON, ratios 0 to 1."""
        return {
            "micro": self.micro.as_dict(),
            "macro": asdict(self.macro),
            "labels": as_dicts(self.by_label),
        }


@dataclass(frozen=True, slots=True)
class ConllevalScores:
    """Scores of chunks, and the accuracy of words: the share whose whole tag is right."""

    spans: SpanScores
    words: int
    correct_words: int

    def __add__(self, other: "ConllevalScores") -> "ConllevalScores":
        words, correct_words = self.words + other.words, self.correct_words + other.correct_words
        return ConllevalScores(self.spans + other.spans, words, correct_words)

    @property
    def accuracy(self) -> float:
        """Share of the words tagged as in the gold, 0 to 1; 0.0 when there are no words."""
        return self.correct_words / self.words if self.words else 0.0

    def as_dict(self) -> dict[str, object]:
        """`SpanScores.as_dict` with the accuracy and the number of words, ready for JSON."""
        return {"accuracy": self.accuracy, "words": self.words, **self.spans.as_dict()}


def conlleval_scores(
    gold_tags: Sequence[Sequence[str]], predicted_tags: Sequence[Sequence[str]]
) -> ConllevalScores:
    """Score sentences of tags, the gold ones against the predicted ones.

    A tag is `O`, or one of `B I E S [ ]` followed by a hyphen and a label, as in `B-PER`; the label
    may be left out.

    Raises: ValueError when the two differ in length, or where a tag is none of these.
    """
    n, m = len(gold_tags), len(predicted_tags)
    if n != m:
        raise ValueError(f"{n} gold sentences, but {m} predicted ones")
    spans, words, correct_words = SpanScores(), 0, 0
    for gold, predicted in zip(gold_tags, predicted_tags, strict=True):
        n, m = len(gold), len(predicted)
        if n != m:
            raise ValueError(f"a sentence of {n} gold tags, but {m} predicted ones")
        spans.add(read_chunks(gold), read_chunks(predicted))
        words += len(gold)
        correct_words += sum(map(str.__eq__, gold, predicted))
    return ConllevalScores(spans, words, correct_words)


def read_chunks(tags: Iterable[str]) -> list[Span]:
    """Return a sentence's chunks in words; the repair rule of `spans.read_tags` is conlleval's.

    A chunk without a label gets the label `_`.

    Raises: ValueError on a tag that is none of those named in `conlleval_scores`.
    """
    return read_tags([_modern(tag) for tag in tags], Scheme.BIOES)


def _modern(tag: str) -> str:
    prefix, hyphen, label = tag.partition("-")
    if tag == "O" or (hyphen and not label):
        return tag
    # In the oldest data a bracket of either kind is a chunk of one word.
    return f"{'S' if prefix in ('[', ']') else prefix}-{label or '_'}"
