"""Label noise as findings of the report."""

import time
from collections.abc import Iterator, Sequence

from teddy.model.spans import Span
from teddy.training.check.kinds import Kind
from teddy.training.check.report import DeepSummary, Finding, marked
from teddy.training.corpus.align import Sentence
from teddy.training.corpus.corpora import Corpus
from teddy.training.noise.judging import NoiseKind, NoiseOptions, NoiseReport, Suspect, find_noise
from teddy.training.noise.processes import OnProgress

_KINDS = {
    NoiseKind.LABEL: Kind.LABEL_NOISE,
    NoiseKind.BORDERS: Kind.BORDER_NOISE,
    NoiseKind.SPURIOUS: Kind.SPURIOUS_NOISE,
    NoiseKind.MISSING: Kind.MISSING_NOISE,
}


def look_deep(
    corpora: Sequence[Corpus], labels: Sequence[str], options: NoiseOptions, on_progress: OnProgress
) -> tuple[list[Finding], DeepSummary]:
    """Look for label noise; see `teddy.training.noise.judging.find_noise`, also for what it raises."""
    started = time.perf_counter()
    report = find_noise(corpora, labels, options, on_progress)
    findings = [*noise_findings(report)]
    summary = DeepSummary(
        annotations=report.n_annotations,
        doubted_labels=sum(finding.kind is Kind.LABEL_NOISE for finding in findings),
        folds=report.folds,
        epochs=report.epochs,
        start="en" if report.starts_from_en else "none",
        seconds=time.perf_counter() - started,
    )
    return findings, summary


def noise_findings(report: NoiseReport) -> Iterator[Finding]:
    """Yield a finding for each suspect of which the tagger holds its own proposal for more probable."""
    for suspect in report.suspects:
        if suspect.suspicion > 0:
            yield _finding(suspect)


def _finding(suspect: Suspect) -> Finding:
    sentence, given, proposed = suspect.sentence, suspect.given, suspect.proposed
    return Finding(
        kind=_KINDS[suspect.kind],
        path=sentence.path,
        line=sentence.line,
        message=_message(suspect),
        weight=suspect.suspicion,
        text=sentence.text,
        given=None if given is None else marked(sentence, given),
        proposed=None if proposed is None else marked(sentence, proposed),
        probability=suspect.probability,
    )


def _message(suspect: Suspect) -> str:
    sure = f"{suspect.probability:.0%}"
    sentence, given, proposed = suspect.sentence, suspect.given, suspect.proposed
    match suspect.kind, given, proposed:
        case NoiseKind.LABEL, Span(), Span():
            return f"{_told(sentence, given)}; rather {proposed.label} ({sure})"
        case NoiseKind.BORDERS, Span(), Span():
            return f"{_told(sentence, given)}; rather {_told(sentence, proposed)} ({sure})"
        case NoiseKind.SPURIOUS, Span(), None:
            return f"{_told(sentence, given)}; rather no entity ({sure})"
        case _, None, Span():
            return f"{_told(sentence, proposed)} is not marked ({sure})"
    raise ValueError(f"a suspect of the kind {suspect.kind} with {given} and {proposed}")


def _told(sentence: Sentence, span: Span) -> str:
    place = marked(sentence, span)
    return f"{span.label} {sentence.text[place.start : place.end]!r}"
