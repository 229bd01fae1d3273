"""What `teddy check` reports: counts of the data, and findings, the most suspicious first."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from teddy.model.tags.spans import Span
from teddy.training.check.finding_kinds import FindingKind, Severity
from teddy.training.data.align import Sentence
from teddy.training.data.readers.guess import Guess
from teddy.training.evaluation.evaluate import in_characters


@dataclass(frozen=True, slots=True)
class Example:
    """An annotated place to compare with another; `given` is in characters of `text`."""

    path: str
    line: int
    text: str
    given: Span


@dataclass(frozen=True, slots=True)
class Finding:
    """One suspicious thing. `weight` says how suspicious it is among findings of its kind."""

    kind: FindingKind
    path: str
    line: int | None
    message: str
    weight: float = 1.0
    text: str = ""
    """The sentence, where it helps to see it. Spans are in its characters."""
    given: Span | None = None
    """The annotation in question."""
    proposed: Span | None = None
    """The annotation that the rest of the data has, or a tagger that was trained on it."""
    probability: float | None = None
    """Of the proposed annotation, or of there being no entity, according to that tagger."""
    examples: tuple[Example, ...] = ()
    """Places that contradict each other."""
    at: int | None = None
    """Where in `text` to look, in characters, if no span says it."""

    @property
    def place(self) -> str:
        """The file and, where there is one, the line."""
        return self.path if self.line is None else f"{self.path}:{self.line}"

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain values, without the optional ones that it does not have."""
        optional = ("text", "given", "proposed", "probability", "examples", "at")
        fields = {
            name: value
            for name, value in asdict(self).items()
            if name not in optional or value not in (None, "", ())
        }
        del fields["kind"]
        return {"kind": self.kind.key, "severity": self.kind.severity.value, **fields}


def finding_in(
    sentence: Sentence,
    kind: FindingKind,
    message: str,
    weight: float = 1.0,
    given: Span | None = None,
    proposed: Span | None = None,
    probability: float | None = None,
) -> Finding:
    """Return a finding about a sentence; `given` and `proposed` are in its words."""
    return Finding(
        kind,
        sentence.path,
        sentence.line,
        message,
        weight,
        sentence.text,
        in_characters(sentence, given) if given else None,
        in_characters(sentence, proposed) if proposed else None,
        probability,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PartCounts:
    """Counts of one part (`train`, `dev` or `file`) of one corpus."""

    corpus: str
    part: str
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
    """The report: `display` shows it on a terminal, `as_dict` gives it to programs."""

    parts: tuple[PartCounts, ...]
    findings: tuple[Finding, ...]
    """By kind, and within a kind by weight."""
    deep: DeepSummary | None = None
    read_as: tuple[Guess, ...] = ()
    """How each file is read, and why."""

    @property
    def has_errors(self) -> bool:
        """Whether there is a finding that must be corrected before training."""
        return any(finding.kind.severity is Severity.ERROR for finding in self.findings)

    def by_kind(self) -> dict[FindingKind, list[Finding]]:
        """Return the findings of each kind that there is, both in the order of the report."""
        grouped: dict[FindingKind, list[Finding]] = {}
        for finding in self.findings:
            grouped.setdefault(finding.kind, []).append(finding)
        return grouped

    def count_severities(self) -> dict[Severity, int]:
        """Return the number of findings of each severity, zeros included."""
        counts = Counter(finding.kind.severity for finding in self.findings)
        return {severity: counts[severity] for severity in Severity}

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values, ready for JSON: all findings."""
        grouped = self.by_kind()
        kinds = {
            kind.key: {"severity": kind.severity.value, "title": kind.title, "advice": kind.advice}
            for kind in grouped
        }
        return {
            "read_as": {str(each.path): [*each.reasons] for each in self.read_as},
            "parts": [asdict(part) for part in self.parts],
            "counts": {kind.key: len(findings) for kind, findings in grouped.items()},
            "severities": {severity.value: n for severity, n in self.count_severities().items()},
            "kinds": kinds,
            "findings": [finding.as_dict() for finding in self.findings],
            **({"deep": asdict(self.deep)} if self.deep else {}),
        }


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order of the report; equals keep their order."""
    severities, kinds = list(Severity), list(FindingKind)
    order = {kind: (severities.index(kind.severity), kinds.index(kind)) for kind in kinds}
    return tuple(sorted(findings, key=lambda finding: (order[finding.kind], -finding.weight)))


def count_part(corpus: str, part: str, sentences: Iterable[Sentence]) -> PartCounts:
    """Count one part of a corpus."""
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
