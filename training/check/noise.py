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
from operator import itemgetter

from teddy.model.system.processes import available_cores
from teddy.model.tags.spans import Span
from teddy.training.check.finding_kinds import FindingKind
from teddy.training.check.noise_processes import read_folds
from teddy.training.check.noise_taggers import (
    Fold,
    OnProgress,
    QuickConfig,
    Reading,
    StartName,
    epochs_for,
    is_latin,
)
from teddy.training.check.report import DeepSummary, Finding, finding_in
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus
from teddy.training.evaluation.evaluate import is_scorable, surface_of
from teddy.training.evaluation.mistakes import overlap
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
    """Return numbers of groups that stay together: union-find over documents and words."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseOptions:
    """The options of the search for label noise."""

    folds: int = 4
    seed: int = 1
    start: StartName = "auto"
    """The encoder of the quick taggers: of the model `en`, random, or `en` for Latin text."""
    processes: int = 0
    """The folds to read at the same time; 0 is one for each core."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A doubtful annotation, or a missing one. Spans are in words."""

    kind: FindingKind
    """One of the four of noise."""
    sentence: Sentence
    given: Span | None
    """The annotation; None if it is missing."""
    proposed: Span | None
    """The tagger's annotation; None if the given one is spurious."""
    probability: float
    """The probability of the proposal: of the label among all, else of the whole span."""
    against: float
    """The probability of the annotation."""

    @property
    def suspicion(self) -> float:
        """A difference of log-probabilities: above 0, the proposal is more probable."""
        return math.log(max(self.probability, 0) + _FLOOR) - math.log(max(self.against, 0) + _FLOOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseReport:
    """The result of cross-validation."""

    n_annotations: int
    """The number of annotated entities."""
    suspects: tuple[Suspect, ...]
    """The most suspicious first. Of the kind LABEL_NOISE every annotation is here, so that it is a
    ranking of all."""
    config: QuickConfig

    def of_kind(self, kind: FindingKind) -> list[Suspect]:
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
        for suspect in suspects_in(sentence, reading, labels, annotates[sentence.corpus])
    ]
    return NoiseReport(
        n_annotations=sum(len(sentence.spans) for sentence in sentences),
        suspects=tuple(sorted(suspects, key=lambda suspect: -suspect.suspicion)),
        config=config,
    )


def suspects_in(
    sentence: Sentence, reading: Reading, labels: Sequence[str], annotated: Collection[str]
) -> Iterator[Suspect]:
    """Ask the four questions of one sentence; see the top of this file."""
    found = reading.found
    for span, by_label, outside in zip(
        sentence.spans, reading.by_label, reading.outside, strict=True
    ):
        yield _other_label(sentence, span, dict(zip(labels, by_label, strict=True)), annotated)
        borders = sum(by_label)
        rivals = [
            (score, other)
            for other, score in found
            if overlap(other, span) and replace(other, label=span.label) != span
        ]
        score, rival = max(rivals, key=itemgetter(0), default=(0.0, None))
        if score > max(_SURE, borders):
            yield Suspect(FindingKind.BORDER_NOISE, sentence, span, rival, score, borders)
        elif outside > max(_SURE, borders):
            yield Suspect(FindingKind.SPURIOUS_NOISE, sentence, span, None, outside, borders)
    unknown = [Span(start, end, "") for start, end in sentence.unknown]
    for span, score in found:
        is_free = not any(overlap(span, other) for other in (*sentence.spans, *unknown))
        if score > _SURE and is_free and is_scorable(sentence, span, annotated):
            yield Suspect(FindingKind.MISSING_NOISE, sentence, None, span, score, 1.0 - score)


def _other_label(
    sentence: Sentence, span: Span, probability: dict[str, float], annotated: Collection[str]
) -> Suspect:
    """Compare the label with the likeliest other one of the corpus, given the borders."""
    total = max(sum(probability.values()), math.ulp(0.0))
    others = {
        label: p for label, p in probability.items() if label != span.label and label in annotated
    }
    other = max(others, key=others.__getitem__, default=span.label)
    shares = others.get(other, 0.0) / total, probability[span.label] / total
    proposed = replace(span, label=other)
    return Suspect(FindingKind.LABEL_NOISE, sentence, span, proposed, *shares)


def _config(
    sentences: Sequence[Sentence], labels: Sequence[str], options: NoiseOptions
) -> QuickConfig:
    from_en = options.start == "en" or (options.start == "auto" and is_latin(sentences))
    n_words = sum(len(sentence.words) for sentence in sentences)
    epochs = epochs_for(n_words, starts_from_en=from_en)
    return QuickConfig(
        labels=tuple(labels), starts_from_en=from_en, epochs=epochs, seed=options.seed
    )


def _fold(number: int, corpora: Sequence[Corpus], fold_of: Sequence[int]) -> Fold:
    """Return the sentences of a fold, in order, and all others by corpus."""
    learnt: list[Corpus] = []
    asked: list[Sentence] = []
    folds = iter(fold_of)
    for corpus in corpora:
        rest: list[Sentence] = []
        for sentence in (*corpus.train, *corpus.dev):
            (asked if next(folds) == number else rest).append(sentence)
        learnt.append(replace(corpus, train=rest, dev=[]))
    return Fold(number=number, learnt=tuple(learnt), asked=tuple(asked))


def look_deep(
    corpora: Sequence[Corpus], labels: Sequence[str], options: NoiseOptions, on_progress: OnProgress
) -> tuple[list[Finding], DeepSummary]:
    """Look for label noise, and raise, as `find_noise` does."""
    started = time.perf_counter()
    report = find_noise(corpora, labels, options, on_progress)
    findings = [*noise_findings(report)]
    summary = DeepSummary(
        annotations=report.n_annotations,
        doubted_labels=sum(finding.kind is FindingKind.LABEL_NOISE for finding in findings),
        folds=options.folds,
        epochs=report.config.epochs,
        start="en" if report.config.starts_from_en else "none",
        seconds=time.perf_counter() - started,
    )
    return findings, summary


def noise_findings(report: NoiseReport) -> Iterator[Finding]:
    """Yield a finding for each suspect whose proposal is more probable than its annotation."""
    for suspect in report.suspects:
        if suspect.suspicion > 0:
            yield finding_in(
                suspect.sentence,
                suspect.kind,
                f"{_described(suspect)} ({suspect.probability:.0%})",
                suspect.suspicion,
                suspect.given,
                suspect.proposed,
                suspect.probability,
            )


def _described(suspect: Suspect) -> str:
    given, proposed = (
        f"{span.label} {surface_of(suspect.sentence, span)!r}" if span else None
        for span in (suspect.given, suspect.proposed)
    )
    if given is None:
        return f"{proposed} is not marked"
    if suspect.kind is FindingKind.LABEL_NOISE and suspect.proposed:
        proposed = suspect.proposed.label
    return f"{given}; rather {proposed or 'no entity'}"
