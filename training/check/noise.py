"""Label noise: annotations that taggers trained on the rest of the data would have made otherwise.

The data are divided into folds; a quick tagger is trained on all but one and reads the one that it
has not seen (cross-validation, as in confident learning: Northcutt et al. 2021, and CrossWeigh:
Wang et al. 2019). Four questions are asked of what it says, since an annotation can be wrong in
four ways:

    label      given that an entity stands just there, is another label more probable?
               suspicion = log p(other label | borders) - log p(label | borders)
    borders    is an entity that overlaps it more probable than any entity of just these words?
               suspicion = log p(overlapping entity) - log p(borders)
    spurious   are its words most probably in no entity?
               suspicion = log p(outside) - log p(borders)
    missing    is an entity found where nothing is marked?
               suspicion = log p(entity) - log (1 - p(entity))

A small tagger often misses entities and often errs in borders, so that p(annotation) alone would
rank its own weakness first. The first question puts that aside: given the borders, it compares
labels only. With 2 % of the labels changed at random, that ranking had 46 to 99 % of the changes
among its first 3 %, p(annotation) 12 to 80 % (docs/check.md).
"""

import math
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from teddy.model.system.processes import available_cores
from teddy.model.tags.spans import Span
from teddy.training.check.kinds import Kind
from teddy.training.check.noise_processes import OnProgress, read_folds
from teddy.training.check.noise_taggers import (
    Fold,
    QuickConfig,
    Reading,
    StartName,
    epochs_for,
    is_latin,
)
from teddy.training.check.report import DeepSummary, Finding, marked
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus
from teddy.training.evaluation.evaluate import ScoredSpan, is_judged
from teddy.training.learning.torch_setup import generator

_LARGEST_SHARE = 0.5
"""A larger document, as a share of a fold, is divided by sentences."""

_FLOOR = 1e-6
"""The least probability, which keeps logarithms finite."""
_SURE = 0.5
"""The least probability of a proposal, except for labels."""


def divide(sentences: Sequence[Sentence], folds: int, seed: int) -> list[int]:
    """Return the fold of each sentence, 0 to `folds` - 1; a pure function of its arguments.

    Sentences of the same words go together, since a tagger would repeat what it has learnt from
    the other one. So do the sentences of a document, if it is small enough. Folds are as even, in
    words, as that allows.
    """
    groups = _groups(sentences, folds)
    members: dict[int, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    order = list(members)
    generator(seed, folds).shuffle(order)
    fold_of = [0] * len(sentences)
    words_in = [0] * folds
    for group in order:
        smallest = min(range(folds), key=words_in.__getitem__)
        for position in members[group]:
            fold_of[position] = smallest
            words_in[smallest] += len(sentences[position].words)
    return fold_of


def _groups(sentences: Sequence[Sentence], folds: int) -> list[int]:
    """Number the groups of sentences that stay together: union-find over documents and words."""
    parents = list(range(len(sentences)))

    def root(position: int) -> int:
        while parents[position] != position:
            parents[position] = parents[parents[position]]
            position = parents[position]
        return position

    sizes = Counter((sentence.path, sentence.line) for sentence in sentences)
    most = _LARGEST_SHARE * len(sentences) / folds
    first: dict[object, int] = {}
    for position, sentence in enumerate(sentences):
        document = (sentence.path, sentence.line)
        keys: list[object] = [sentence.words]
        if 1 < sizes[document] <= most:
            keys.append(document)
        for key in keys:
            parents[root(position)] = root(first.setdefault(key, position))
    return [root(position) for position in range(len(sentences))]


class NoiseKind(StrEnum):
    """The ways in which an annotation may be wrong."""

    LABEL = "label"
    BORDERS = "borders"
    SPURIOUS = "spurious"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseOptions:
    """The options of the search for label noise."""

    folds: int = 4
    seed: int = 1
    start: StartName = "auto"
    """The encoder of the quick taggers: of the model `en`, random, or `en` for Latin text."""
    processes: int = 0
    """The folds to read at the same time; 0 is one for each core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A doubtful annotation, or a missing one. Spans are in words."""

    kind: NoiseKind
    sentence: Sentence
    given: Span | None
    """The annotation; None if it is missing."""
    proposed: Span | None
    """The tagger's annotation; None if the given one is spurious."""
    probability: float
    """The probability of the proposal: of the label among all, else of the whole span."""
    suspicion: float
    """A difference of log-probabilities: above 0, the proposal is more probable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseReport:
    """The result of cross-validation."""

    n_annotations: int
    """The number of annotated entities."""
    suspects: tuple[Suspect, ...]
    """The suspects by kind, the most suspicious first. Of the kind LABEL every annotation is here,
    so that it is a ranking of all."""
    folds: int
    epochs: int
    starts_from_en: bool

    def of_kind(self, kind: NoiseKind) -> list[Suspect]:
        """Return the suspects of one kind, the most suspicious first."""
        return [suspect for suspect in self.suspects if suspect.kind is kind]


def enough_for(corpora: Sequence[Corpus], options: NoiseOptions) -> bool:
    """Return whether there are sentences for all folds, and an annotation to judge."""
    sentences = [sentence for corpus in corpora for sentence in [*corpus.train, *corpus.dev]]
    n_distinct = len({sentence.words for sentence in sentences})
    return n_distinct >= 2 * options.folds and any(sentence.spans for sentence in sentences)


def find_noise(
    corpora: Sequence[Corpus], labels: Sequence[str], options: NoiseOptions, on_progress: OnProgress
) -> NoiseReport:
    """Cross-validate all sentences of the corpora, train and dev alike.

    Labels that a corpus does not annotate do not count in it. The report does not depend on the
    number of processes.

    Raises ValueError unless `enough_for`; DivergedError and TrainingError as training does.
    """
    sentences = [sentence for corpus in corpora for sentence in [*corpus.train, *corpus.dev]]
    if not enough_for(corpora, options):
        raise ValueError(
            f"{len(sentences)} sentences are too few for {options.folds} folds, "
            "or none has an entity"
        )
    config = _config(sentences, labels, options)
    fold_of = divide(sentences, options.folds, options.seed)
    folds = [_fold(number, corpora, fold_of) for number in range(options.folds)]
    readings = read_folds(folds, config, options.processes or available_cores(), on_progress)
    annotates = {corpus.name: corpus.annotates for corpus in corpora}
    suspects = [
        suspect
        for fold, of_fold in zip(folds, readings, strict=True)
        for sentence, reading in zip(fold.asked, of_fold, strict=True)
        for suspect in judge(sentence, reading, labels, annotates[sentence.corpus])
    ]
    return NoiseReport(
        n_annotations=sum(suspect.kind is NoiseKind.LABEL for suspect in suspects),
        suspects=tuple(sorted(suspects, key=_rank)),
        folds=options.folds,
        epochs=config.epochs,
        starts_from_en=config.starts_from_en,
    )


def judge(
    sentence: Sentence, reading: Reading, labels: Sequence[str], annotated: Collection[str]
) -> Iterator[Suspect]:
    """Ask the four questions of one sentence; see the top of this file."""
    for span, by_label, outside in zip(
        sentence.spans, reading.by_label, reading.outside, strict=True
    ):
        yield _label(sentence, span, dict(zip(labels, by_label, strict=True)), annotated)
        borders = sum(by_label)
        rival = max(_rivals(span, reading.found), key=lambda each: each.score, default=None)
        if rival is not None and rival.score > max(_SURE, borders):
            yield _suspect(NoiseKind.BORDERS, sentence, span, rival.span, rival.score, borders)
        elif outside > max(_SURE, borders):
            yield _suspect(NoiseKind.SPURIOUS, sentence, span, None, outside, borders)
    for found in reading.found:
        is_free = not any(
            span.start < found.span.end and found.span.start < span.end for span in sentence.spans
        )
        if (
            found.score > _SURE
            and is_free
            and is_judged(sentence, found.span, annotated)
            and _touches_nothing(sentence, found.span)
        ):
            yield _suspect(
                NoiseKind.MISSING, sentence, None, found.span, found.score, 1.0 - found.score
            )


def _label(
    sentence: Sentence, span: Span, probability: dict[str, float], annotated: Collection[str]
) -> Suspect:
    """Compare the label with the likeliest other one of the corpus, given the borders."""
    total = max(sum(probability.values()), math.ulp(0.0))
    others = {
        label: p for label, p in probability.items() if label != span.label and label in annotated
    }
    other = max(others, key=others.__getitem__, default=None)
    share = 0.0 if other is None else others[other] / total
    proposed = replace(span, label=other or span.label)
    return _suspect(
        NoiseKind.LABEL, sentence, span, proposed, share, probability[span.label] / total
    )


def _suspect(
    kind: NoiseKind,
    sentence: Sentence,
    given: Span | None,
    proposed: Span | None,
    probability: float,
    against: float,
) -> Suspect:
    suspicion = math.log(max(probability, 0.0) + _FLOOR) - math.log(max(against, 0.0) + _FLOOR)
    return Suspect(
        kind=kind,
        sentence=sentence,
        given=given,
        proposed=proposed,
        probability=probability,
        suspicion=suspicion,
    )


def _rivals(span: Span, found: Sequence[ScoredSpan]) -> list[ScoredSpan]:
    """Return the spans that overlap a span and have other borders."""
    return [
        each
        for each in found
        if each.span.start < span.end
        and span.start < each.span.end
        and (each.span.start, each.span.end) != (span.start, span.end)
    ]


def _touches_nothing(sentence: Sentence, span: Span) -> bool:
    """Return whether a span has no word whose annotation is unknown."""
    return not any(start < span.end and span.start < end for start, end in sentence.unknown)


def _rank(suspect: Suspect) -> tuple[int, float]:
    return list(NoiseKind).index(suspect.kind), -suspect.suspicion


def _config(
    sentences: Sequence[Sentence], labels: Sequence[str], options: NoiseOptions
) -> QuickConfig:
    from_en = options.start == "en" or (options.start == "auto" and is_latin(sentences))
    n_words = sum(len(sentence.words) for sentence in sentences)
    return QuickConfig(
        labels=tuple(labels),
        starts_from_en=from_en,
        epochs=epochs_for(n_words, starts_from_en=from_en),
        seed=options.seed,
    )


def _fold(number: int, corpora: Sequence[Corpus], fold_of: Sequence[int]) -> Fold:
    """Return the sentences of a fold, in order, and all others by corpus."""
    learnt: list[Corpus] = []
    asked: list[Sentence] = []
    place = 0
    for corpus in corpora:
        sentences = [*corpus.train, *corpus.dev]
        own = fold_of[place : place + len(sentences)]
        place += len(sentences)
        asked += [sentence for sentence, fold in zip(sentences, own, strict=True) if fold == number]
        rest = [sentence for sentence, fold in zip(sentences, own, strict=True) if fold != number]
        learnt.append(replace(corpus, train=rest, dev=[]))
    return Fold(number=number, learnt=tuple(learnt), asked=tuple(asked))


_KINDS = {
    NoiseKind.LABEL: Kind.LABEL_NOISE,
    NoiseKind.BORDERS: Kind.BORDER_NOISE,
    NoiseKind.SPURIOUS: Kind.SPURIOUS_NOISE,
    NoiseKind.MISSING: Kind.MISSING_NOISE,
}


def look_deep(
    corpora: Sequence[Corpus], labels: Sequence[str], options: NoiseOptions, on_progress: OnProgress
) -> tuple[list[Finding], DeepSummary]:
    """Look for label noise, and raise, as `find_noise` does."""
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
    """Yield a finding for each suspect whose proposal is more probable than its annotation."""
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
            return f"{_quoted(sentence, given)}; rather {proposed.label} ({sure})"
        case NoiseKind.BORDERS, Span(), Span():
            return f"{_quoted(sentence, given)}; rather {_quoted(sentence, proposed)} ({sure})"
        case NoiseKind.SPURIOUS, Span(), None:
            return f"{_quoted(sentence, given)}; rather no entity ({sure})"
        case _, None, Span():
            return f"{_quoted(sentence, proposed)} is not marked ({sure})"
    raise ValueError(f"a suspect of the kind {suspect.kind} with {given} and {proposed}")


def _quoted(sentence: Sentence, span: Span) -> str:
    place = marked(sentence, span)
    return f"{span.label} {sentence.text[place.start : place.end]!r}"
