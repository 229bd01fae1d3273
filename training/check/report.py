"""What `teddy check` tells: how much there is, and what looks wrong, the most suspicious first."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from teddy.model.errors import DataError
from teddy.model.tags.spans import Span
from teddy.training.check.kinds import Kind, Severity
from teddy.training.data.align import Sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A span as it stands in its sentence."""

    start: int
    """In characters of the finding's `text`, as `end`."""
    end: int
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An annotated place to compare with another."""

    path: str
    line: int
    text: str
    given: Marked


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One suspicious thing: where, what, and how much so compared with others of its kind."""

    kind: Kind
    path: str
    line: int | None
    message: str
    weight: float = 1.0
    text: str = ""
    """The sentence, where it helps to see it."""
    given: Marked | None = None
    """The annotation in `text` that is in question."""
    proposed: Marked | None = None
    """What a tagger that was trained on the rest of the data would have marked in `text`."""
    probability: float | None = None
    """Of what is proposed, or of there being no entity, by that tagger."""
    examples: tuple[Example, ...] = ()
    """Places that contradict each other."""

    @property
    def place(self) -> str:
        """The file and, where there is one, the line."""
        return self.path if self.line is None else f"{self.path}:{self.line}"

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain values; what it does not have is left out."""
        fields: dict[str, Any] = {
            "kind": self.kind.key,
            "severity": self.kind.severity.value,
            "path": self.path,
            "line": self.line,
        }
        fields |= {"message": self.message, "weight": self.weight}
        more = {
            "text": self.text,
            "given": self.given,
            "proposed": self.proposed,
            "probability": self.probability,
        }
        for name, value in more.items():
            if value not in (None, ""):
                fields[name] = asdict(value) if isinstance(value, Marked) else value
        if self.examples:
            fields["examples"] = [asdict(example) for example in self.examples]
        return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class PartCounts:
    """How much there is in one part of one corpus."""

    corpus: str
    part: str
    """`train`, `dev`, or `file`."""
    sentences: int
    without_spans: int
    """Of the sentences."""
    words: int
    longest_sentence: int
    """In words."""
    spans: int
    unknown_words: int
    """Words that may have any tag."""
    misaligned: int
    labels: dict[str, int]
    """Spans of each label, the most frequent first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepSummary:
    """How label noise was looked for (`--deep`)."""

    annotations: int
    """Annotated entities that were read by a tagger that had not learnt from them."""
    doubted_labels: int
    folds: int
    epochs: int
    start: str
    seconds: float

    def __str__(self) -> str:
        return (
            f"Label noise: {self.annotations:,} entities read by {self.folds} taggers that had not "
            f"learnt from them ({self.epochs} epochs, start {self.start}, {self.seconds:.0f} s); "
            f"{self.doubted_labels:,} labels doubted"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """The report: `display` shows it to people, `as_dict` gives it to programs."""

    parts: tuple[PartCounts, ...]
    findings: tuple[Finding, ...]
    """By kind, and within a kind by weight."""
    deep: DeepSummary | None = None

    @property
    def has_errors(self) -> bool:
        """Whether anything was found that must be corrected before training."""
        return any(finding.kind.severity is Severity.ERROR for finding in self.findings)

    def by_kind(self) -> dict[Kind, list[Finding]]:
        """Return the findings of each kind that there is, both in the order of the report."""
        grouped: dict[Kind, list[Finding]] = {}
        for finding in self.findings:
            grouped.setdefault(finding.kind, []).append(finding)
        return grouped

    def count_severities(self) -> dict[Severity, int]:
        """Return the number of findings of each severity, zeros included."""
        counts = Counter(finding.kind.severity for finding in self.findings)
        return {severity: counts[severity] for severity in Severity}

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values, ready for JSON: everything that was found."""
        grouped = self.by_kind()
        kinds = {
            kind.key: {"severity": kind.severity.value, "title": kind.title, "advice": kind.advice}
            for kind in grouped
        }
        return {
            "parts": [asdict(part) for part in self.parts],
            "counts": {kind.key: len(findings) for kind, findings in grouped.items()},
            "severities": {severity.value: n for severity, n in self.count_severities().items()},
            "kinds": kinds,
            "findings": [finding.as_dict() for finding in self.findings],
            **({"deep": asdict(self.deep)} if self.deep else {}),
        }


def marked(sentence: Sentence, span: Span) -> Marked:
    """Return a span, in words, as one in characters of the sentence's text."""
    return Marked(
        start=sentence.offsets[span.start][0],
        end=sentence.offsets[span.end - 1][1],
        label=span.label,
    )


def unreadable(error: DataError) -> CheckReport:
    """Return the report of a file of which nothing can be read."""
    finding = Finding(kind=Kind.UNREADABLE, path=error.path, line=error.line, message=error.reason)
    return CheckReport(parts=(), findings=(finding,))


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order of the report; equals keep their order."""
    severities, kinds = list(Severity), list(Kind)
    order = {kind: (severities.index(kind.severity), kinds.index(kind)) for kind in Kind}
    return tuple(sorted(findings, key=lambda finding: (order[finding.kind], -finding.weight)))


def count_part(corpus: str, part: str, sentences: Iterable[Sentence]) -> PartCounts:
    """Count what is in one part of a corpus."""
    sentences = list(sentences)
    labels = Counter(span.label for sentence in sentences for span in sentence.spans)
    lengths = [len(sentence.words) for sentence in sentences]
    return PartCounts(
        corpus=corpus,
        part=part,
        sentences=len(sentences),
        without_spans=sum(not sentence.spans for sentence in sentences),
        words=sum(lengths),
        longest_sentence=max(lengths, default=0),
        spans=labels.total(),
        unknown_words=sum(end - start for sentence in sentences for start, end in sentence.unknown),
        misaligned=sum(len(sentence.misaligned) for sentence in sentences),
        labels=dict(labels.most_common()),
    )
