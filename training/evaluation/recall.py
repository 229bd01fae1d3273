"""Precision and recall along the threshold, and the threshold for a wanted recall.

At each threshold every span of at least that probability is found, those that overlap as
`teddy.model.tags.spans.disjoint` chooses. An entity is *found* if its start, end and label are
right, and *covered* if each of its words is in some span, of whatever label: if names are removed,
what is not covered is what stays behind.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path

from teddy.model.system.files import write_atomically
from teddy.model.tagger import Scored, Tagger
from teddy.model.tags.search import LEAST_THRESHOLD, Search
from teddy.model.tags.spans import Span, disjoint
from teddy.training.data.align import Sentence
from teddy.training.evaluation.bootstrap import Interval
from teddy.training.evaluation.evaluate import ScoredSpan, scorable_spans, with_annotated
from teddy.training.report.markdown import code, markdown_table, percent

THRESHOLDS = (
    *(
        LEAST_THRESHOLD,
        0.0002,
        0.0005,
        0.001,
        0.002,
        0.003,
        0.005,
        0.007,
        0.01,
        0.015,
        0.02,
        0.03,
        0.05,
        0.07,
    ),
    *(0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99),
)
_SURE = 1.959964
"""The number of standard deviations on either side of a normal distribution's middle 95 %."""
_MOST_MISSED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Counts of a label at a threshold.

    Attributes: `gold`, entities; `predicted`, spans; `correct`, entities found; `covered`, entities
    covered; `touching`, spans that share a word with an entity.
    """

    gold: int = 0
    predicted: int = 0
    correct: int = 0
    covered: int = 0
    touching: int = 0

    def __add__(self, other: "Found") -> "Found":
        mine, theirs = asdict(self), asdict(other)
        return Found(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def precision(self) -> float:
        """The share of spans that are right; 0.0 of none, as all ratios here."""
        return self.correct / max(self.predicted, 1)

    @property
    def recall(self) -> float:
        """The share of entities that are found."""
        return self.correct / max(self.gold, 1)

    @property
    def coverage(self) -> float:
        """The share of entities that are covered."""
        return self.covered / max(self.gold, 1)

    @property
    def missed(self) -> Interval:
        """Where the share of entities that are not covered lies, by this sample (95 %)."""
        return wilson(self.gold - self.covered, self.gold)

    def as_dict(self) -> dict[str, object]:
        """Give counts and ratios ready for JSON."""
        ratios = {"precision": self.precision, "recall": self.recall, "coverage": self.coverage}
        return asdict(self) | ratios | {"missed": asdict(self.missed)}


def wilson(n: int, of: int) -> Interval:
    """Return the 95 % interval of a share, by n of so many cases (Wilson 1927); 0 to 1 of none."""
    if not of:
        return Interval(0.0, 1.0)
    share, spread = n / of, _SURE**2 / of
    middle = share + spread / 2
    reach = sqrt(share * (1 - share) * spread + spread**2 / 4)
    # rounding must not move the ends away from none and all
    low = (middle - reach) / (1 + spread) if n else 0.0
    high = (middle + reach) / (1 + spread) if n < of else 1.0
    return Interval(low, high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """An entity that is not covered at the chosen thresholds, and where it stands."""

    label: str
    entity: str
    text: str
    path: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallCurve:
    """The counts of each label at each threshold, and those at the chosen ones.

    Attributes: `wanted`, the recall asked for; `by_label`, for each label its counts by threshold;
    `exact`, the largest threshold at which that share of a label's entities is found, and
    `thresholds`, at which it is covered, None where no threshold gives it; `chosen`, the counts
    with `thresholds` all at once, the lowest where there is none; `missed`, what is not covered
    then, the first hundred.
    """

    wanted: float
    by_label: dict[str, dict[float, Found]]
    exact: dict[str, float | None]
    thresholds: dict[str, float | None]
    chosen: dict[str, Found]
    missed: tuple[Missed, ...]

    @property
    def preset(self) -> dict[str, float]:
        """The thresholds to tag with."""
        return {label: each or LEAST_THRESHOLD for label, each in self.thresholds.items()}

    def as_dict(self) -> dict[str, object]:
        """Give everything ready for JSON; ratios are 0 to 1."""
        return {
            "wanted": self.wanted,
            "curves": {
                label: [{"threshold": each, **found.as_dict()} for each, found in points.items()]
                for label, points in self.by_label.items()
            },
            "threshold_for_found": self.exact,
            "threshold_for_covered": self.thresholds,
            "chosen": {label: found.as_dict() for label, found in self.chosen.items()},
            "missed": [asdict(each) for each in self.missed],
        }

    def write_preset(self, path: Path) -> None:
        """Write the thresholds as JSON, for `--threshold` and `TEDDY_REDACT_THRESHOLDS`."""
        write_atomically(path, json.dumps(self.preset, indent=1) + "\n")

    def table(self) -> list[str]:
        """Write the lines of a table for a terminal."""
        width = max(map(len, self.by_label), default=0)
        return [
            f"{'':{width}}  threshold  covered   found  precision  not covered (95 %)    entities",
            *("  ".join(row) for row in self._rows(width)),
        ]

    def _rows(self, width: int = 0) -> Iterator[list[str]]:
        for label, found in self.chosen.items():
            chosen, missed = self.thresholds[label], found.missed
            yield [
                f"{label:{width}}",
                f"{'none' if chosen is None else format(chosen, 'g'):>9}",
                f"{found.coverage:7.2%}",
                f"{found.recall:6.2%}",
                f"{found.precision:9.2%}",
                f"{f'{missed.low:.2%} to {missed.high:.2%}':>18}",
                f"{found.gold:10,}",
            ]

    def section(self) -> Iterator[str]:
        """Write the lines of a section of a Markdown report."""
        yield "## Recall when it matters"
        yield ""
        yield f"The largest threshold at which {self.wanted:.0%} of a label's entities are covered,"
        yield "and what all of them together give. `none`: no threshold gives it, the lowest is"
        yield "taken. Not covered: how many names would stay behind, by this sample (95 %)."
        yield ""
        heads = ["label", "threshold", "covered", "found", "precision", "not covered", "entities"]
        rows = [[code(label), *rest] for label, *rest in self._rows()]
        yield from markdown_table(heads, [[cell.strip() for cell in row] for row in rows])
        for label, points in self.by_label.items():
            yield ""
            yield f"{code(label)} at one threshold for all labels:"
            yield ""
            curve = [
                [
                    f"{threshold:g}",
                    *map(percent, (found.coverage, found.recall, found.precision)),
                    f"{found.predicted:,}",
                ]
                for threshold, found in points.items()
            ]
            heads = ["threshold", "covered", "found", "precision", "spans"]
            yield from markdown_table(heads, curve)


def measure_recall(
    tagger: Tagger,
    sentences: Sequence[Sentence],
    annotates: Mapping[str, Collection[str]],
    wanted: float,
) -> RecallCurve:
    """Count what is found at each of `THRESHOLDS`; `annotates` as of `evaluate`."""
    labels = tagger.tag_set.labels
    search = Search(thresholds=(LEAST_THRESHOLD,) * len(labels))
    tagged = tagger.tag([sentence.words for sentence in sentences], search)
    known = [
        (with_annotated(each, annotates.get(each.corpus)), result.probable)
        for each, result in zip(sentences, tagged, strict=True)
    ]
    by_label: dict[str, dict[float, Found]] = {label: {} for label in labels}
    for threshold in THRESHOLDS:
        counts, _ = _count(known, dict.fromkeys(labels, threshold), annotates)
        for label in labels:
            by_label[label][threshold] = counts[label]
    thresholds = {
        label: _largest({t: found.coverage for t, found in points.items()}, wanted)
        for label, points in by_label.items()
    }
    chosen, missed = _count(
        known, {label: each or LEAST_THRESHOLD for label, each in thresholds.items()}, annotates
    )
    return RecallCurve(
        wanted=wanted,
        by_label=by_label,
        exact={
            label: _largest({t: found.recall for t, found in points.items()}, wanted)
            for label, points in by_label.items()
        },
        thresholds=thresholds,
        chosen=chosen,
        missed=tuple(missed[:_MOST_MISSED]),
    )


def _largest(shares: Mapping[float, float], wanted: float) -> float | None:
    return max((each for each, share in shares.items() if share >= wanted), default=None)


def _count(
    known: Sequence[tuple[Sentence, Sequence[Scored]]],
    thresholds: Mapping[str, float],
    annotates: Mapping[str, Collection[str]],
) -> tuple[dict[str, Found], list[Missed]]:
    counts = {label: Found() for label in thresholds}
    missed: list[Missed] = []
    for sentence, probable in known:
        likely = [(span, score) for span, score in probable if score >= thresholds[span.label]]
        places = disjoint([span for span, _ in likely], [score for _, score in likely])
        spans = [likely[place][0] for place in places]
        covering = {word for span in spans for word in range(span.start, span.end)}
        marked = {word for span in sentence.spans for word in range(span.start, span.end)}
        scored = scorable_spans(sentence, map(ScoredSpan, spans), annotates.get(sentence.corpus))
        for span in scored:
            touching = not marked.isdisjoint(range(span.start, span.end))
            counts[span.label] += Found(predicted=1, touching=int(touching))
        for span in sentence.spans:
            if span.label not in counts:
                continue
            covered = covering.issuperset(range(span.start, span.end))
            right = span in scored
            counts[span.label] += Found(gold=1, covered=int(covered), correct=int(right))
            if not covered:
                missed.append(_missed(sentence, span))
        for span in sentence.misaligned:
            if span.label in counts:
                counts[span.label] += Found(gold=1)
    return counts, missed


def _missed(sentence: Sentence, span: Span) -> Missed:
    start, end = sentence.offsets[span.start][0], sentence.offsets[span.end - 1][1]
    return Missed(
        label=span.label,
        entity=sentence.text[start:end],
        text=sentence.text,
        path=sentence.path,
        line=sentence.line,
    )
