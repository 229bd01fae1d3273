"""What `teddy check` tells: how much there is, and what looks wrong, the most suspicious first."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from training.align import Sentence


class Kind(StrEnum):
    """What may be wrong; in order of suspicion, which is the order of the report."""

    UNREADABLE = "the file cannot be read"
    NO_EXAMPLES = "a label with few or no examples"
    REPAIRED = "illegal tag sequences, repaired"
    MISALIGNED = "spans that words cannot express"
    CONTRADICTION = "the same sentence, marked differently"
    LEAK = "dev sentences that are also in train"
    OTHER_LABEL = "the same words, nearly always with another label"
    UNMARKED = "words that are nearly always marked, and not here"
    EDGE = "spans that take in punctuation or are very long"
    LENGTH = "very long sentences"
    CHARACTER = "odd characters"
    DUPLICATE = "repeated sentences"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One suspicious thing: where, what, and how much so compared with others of its kind."""

    kind: Kind
    path: str
    line: int | None
    message: str
    weight: float = 1.0

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartCounts:
    """How much there is in one part of one corpus."""

    corpus: str
    part: str
    """`train` or `dev`."""
    sentences: int
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
class CheckReport:
    """The whole report. `str()` is for people, `as_dict()` for programs."""

    parts: tuple[PartCounts, ...]
    findings: tuple[Finding, ...]
    """By kind, and within a kind by weight."""

    @property
    def is_readable(self) -> bool:
        """Whether every file could be read to its end."""
        return not any(finding.kind is Kind.UNREADABLE for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values, ready for JSON."""
        counts = {kind.name.lower(): n for kind, n in self._count_by_kind().items()}
        findings = [{**asdict(finding), "kind": finding.kind.name.lower()} for finding in self.findings]
        return {"parts": [asdict(part) for part in self.parts], "counts": counts, "findings": findings}

    def as_text(self, limit: int = 10) -> str:
        """Return the report for a terminal, with at most `limit` findings of each kind."""
        return "\n".join([*self._part_lines(), *self._finding_lines(limit)])

    def __str__(self) -> str:
        return self.as_text()

    def _count_by_kind(self) -> Counter[Kind]:
        return Counter(finding.kind for finding in self.findings)

    def _part_lines(self) -> Iterator[str]:
        for part in self.parts:
            labels = ", ".join(f"{label} {n:,}" for label, n in part.labels.items())
            yield (
                f"{part.corpus}, {part.part}: {part.sentences:,} sentences (longest {part.longest_sentence:,} words), "
                f"{part.words:,} words, {part.spans:,} spans" + (f": {labels}" if labels else "")
            )

    def _finding_lines(self, limit: int) -> Iterator[str]:
        if not self.findings:
            yield "Nothing suspicious."
        for kind, n in self._count_by_kind().items():
            yield f"\n{kind.value[0].upper()}{kind.value[1:]}: {n:,}"
            shown = [finding for finding in self.findings if finding.kind is kind][:limit]
            yield from (f"  {finding}" for finding in shown)
            if n > limit:
                yield f"  ... and {n - limit:,} more"


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order of the report; equals stay in the order in which they were found."""
    order = list(Kind)
    return tuple(sorted(findings, key=lambda finding: (order.index(finding.kind), -finding.weight)))


def count_part(corpus: str, part: str, sentences: Iterable[Sentence]) -> PartCounts:
    """Count what is in one part of a corpus."""
    sentences = list(sentences)
    labels = Counter(span.label for sentence in sentences for span in sentence.spans)
    lengths = [len(sentence.words) for sentence in sentences]
    return PartCounts(
        corpus=corpus,
        part=part,
        sentences=len(sentences),
        words=sum(lengths),
        longest_sentence=max(lengths, default=0),
        spans=labels.total(),
        unknown_words=sum(end - start for sentence in sentences for start, end in sentence.unknown),
        misaligned=sum(len(sentence.misaligned) for sentence in sentences),
        labels=dict(labels.most_common()),
    )
