"""The mistakes in a sentence: the gold and predicted spans that belong together."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from teddy.model.tags.spans import Span
from teddy.training.evaluation.scores import Counts


class MistakeKind(StrEnum):
    """How a predicted span differs from the gold one it stands for."""

    CORRECT = "correct"
    LABEL = "wrong label"
    BORDERS = "wrong borders"
    BOTH = "wrong borders and label"
    SPURIOUS = "spurious"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class SpanPair:
    """A gold span and the predicted span that belongs to it; one of the two may be missing."""

    gold: Span | None
    predicted: Span | None

    @property
    def kind(self) -> MistakeKind:
        """The difference."""
        if self.predicted is None:
            return MistakeKind.MISSED
        if self.gold is None:
            return MistakeKind.SPURIOUS
        if self.gold == self.predicted:
            return MistakeKind.CORRECT
        if _borders(self.gold) == _borders(self.predicted):
            return MistakeKind.LABEL
        return MistakeKind.BORDERS if self.gold.label == self.predicted.label else MistakeKind.BOTH


def pair_spans(gold: Iterable[Span], predicted: Iterable[Span]) -> list[SpanPair]:
    """SpanPair the spans of one sentence, in order of position: each is in exactly one pair.

    Equal spans are paired first, then those with equal borders, then those that overlap, those with
    the greatest overlap first (of equal ones the leftmost); what is left stands alone.
    """
    gold, predicted = set(gold), set(predicted)
    pairs = [SpanPair(span, span) for span in gold & predicted]
    gold, predicted = gold - predicted, predicted - gold
    candidates = sorted(
        # Equal borders are the best of overlaps, whatever their length.
        (_borders(one) != _borders(other), -overlap(one, other), one, other)
        for one in gold
        for other in predicted
        if overlap(one, other)
    )
    for _, _, one, other in candidates:
        if one in gold and other in predicted:
            pairs.append(SpanPair(one, other))
            gold.remove(one)
            predicted.remove(other)
    pairs += [SpanPair(span, None) for span in gold] + [SpanPair(None, span) for span in predicted]
    return sorted(pairs, key=_position)


def scores_without(counts: Counts, kind: MistakeKind, n: int) -> Counts:
    """Return the counts as if `n` mistakes of this kind had not been made.

    A spurious span would not be there, a missed one would have been found, and one that is wrong
    would be right (as Bolya et al. 2020 do for objects in pictures). Without mistakes of any kind,
    precision and recall are 1.
    """
    gold, predicted, correct = counts.gold, counts.predicted, counts.correct
    match kind:
        case MistakeKind.CORRECT:
            return counts
        case MistakeKind.SPURIOUS:
            return Counts(gold, predicted - n, correct)
        case MistakeKind.MISSED:
            return Counts(gold, predicted + n, correct + n)
        case _:
            return Counts(gold, predicted, correct + n)


@dataclass(frozen=True, slots=True)
class Confusion:
    """The counts of each gold label by predicted label; every span is counted once.

    Attributes: `equal_borders` by (gold label, predicted label), where None for the first means
    spurious and None for the second means missed; `wrong_borders` by the same, for spans that
    overlap and differ in a border.
    """

    equal_borders: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    wrong_borders: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)

    def add(self, pair: SpanPair) -> None:
        """Count a pair."""
        gold, predicted = (span.label if span else None for span in (pair.gold, pair.predicted))
        is_wrong = pair.kind in (MistakeKind.BORDERS, MistakeKind.BOTH)
        (self.wrong_borders if is_wrong else self.equal_borders)[gold, predicted] += 1

    def bounded(self, labels: Iterable[str], most: int) -> tuple["Confusion", list[str]]:
        """Return a confusion of at most `most` labels and one for the rest, and these labels.

        `labels` come first, then those that occur besides.
        """
        cells = self.equal_borders + self.wrong_borders
        counts = dict.fromkeys(labels, 0)
        for pair, n in sorted(cells.items(), key=lambda cell: str(cell[0])):
            for label in pair:
                if label is not None:
                    counts[label] = counts.get(label, 0) + n
        names: dict[str | None, str | None] = {None: None}
        names.update(group_labels(counts, most).items())
        grouped = Confusion()
        for mine, theirs in (
            (self.equal_borders, grouped.equal_borders),
            (self.wrong_borders, grouped.wrong_borders),
        ):
            for (gold, predicted), n in mine.items():
                theirs[names[gold], names[predicted]] += n
        return grouped, [name for name in dict.fromkeys(names.values()) if name is not None]

    def as_dict(self) -> dict[str, list[dict[str, str | int | None]]]:
        """Give the cells that are not empty, the fullest first, ready for JSON."""
        return {
            name: [
                {"gold": gold, "predicted": predicted, "count": n}
                for (gold, predicted), n in getattr(self, name).most_common()
            ]
            for name in ("equal_borders", "wrong_borders")
        }


def group_labels(counts: Mapping[str, int], most: int) -> dict[str, str]:
    """Return the name under which each label is shown: its own, or that of all rarer ones together.

    The `most` frequent keep theirs, in their order; of equal ones the first. The others come last.
    """
    if len(counts) <= most + 1:
        return {label: label for label in counts}
    kept = set(sorted(counts, key=lambda label: -counts[label])[:most])
    rest = f"{len(counts) - most:,} other labels"
    return {label: label for label in counts if label in kept} | {
        label: rest for label in counts if label not in kept
    }


def _borders(span: Span) -> tuple[int, int]:
    return span.start, span.end


def overlap(one: Span, other: Span) -> int:
    """Return how many words (or characters) are in both spans."""
    return max(0, min(one.end, other.end) - max(one.start, other.start))


def _position(pair: SpanPair) -> tuple[int, bool, list[Span]]:
    spans = [span for span in (pair.gold, pair.predicted) if span]
    return min(span.start for span in spans), pair.gold is None, spans
