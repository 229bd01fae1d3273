"""Measure a tagger on sentences whose entities are known."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product

from teddy.model.tags.spans import Scheme, Span, write_tags
from teddy.training.data.align import Sentence
from teddy.training.evaluation.mistakes import (
    Confusion,
    MistakeKind,
    SpanPair,
    pair_spans,
    scores_without,
)
from teddy.training.evaluation.reliability import Reliability
from teddy.training.evaluation.scores import (
    ConllevalScores,
    Counts,
    SpanScores,
    as_dicts,
    conlleval_scores,
)


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """A predicted span, and how sure the tagger is of it, 0 to 1; None where it does not say."""

    span: Span
    score: float | None = None


Answers = Sequence[Sequence[ScoredSpan]]
"""The spans, in words, that a tagger found in each sentence."""
Predict = Callable[[Sequence[Sequence[str]]], Answers]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A pair that is not correct, in characters of the sentence's text, and where to find it."""

    kind: MistakeKind
    gold: Span | None
    predicted: Span | None
    score: float | None
    text: str
    corpus: str
    path: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All that was measured.

    The counts in `by_corpus`, `by_length` and `by_surface` each add up to `scores.micro`.

    Attributes:
        scores: strict span scores.
        by_sentence: strict counts of the labels that each sentence has, which add up to `scores`.
        conlleval: the scores of conlleval for the same sentences in BIO, without `n_misaligned`.
        by_corpus: strict span scores of each corpus.
        by_length: counts by the length in words, "1", "2", "3" and "4+".
        by_surface: counts of spans whose words were an entity in training ("seen") or not
            ("unseen"); empty without training entities.
        confusion: gold labels against predicted ones.
        calibration: the share of right entities by score, of those that have one.
        calibration_by_label, calibration_by_corpus: the same in parts, which add up to it.
        mistakes: of each kind the worst, see `evaluate`.
        n_by_kind: how many pairs there are of each kind.
        n_misaligned: gold spans that no words can express; they count as missed.
        n_ignored: predicted spans not counted, since gold says nothing of their label or words.
    """

    n_sentences: int
    n_words: int
    scores: SpanScores
    by_sentence: tuple[Mapping[str, Counts], ...]
    conlleval: ConllevalScores
    by_corpus: dict[str, SpanScores]
    by_length: dict[str, Counts]
    by_surface: dict[str, Counts]
    confusion: Confusion
    calibration: Reliability
    calibration_by_label: dict[str, Reliability]
    calibration_by_corpus: dict[str, Reliability]
    mistakes: tuple[Mistake, ...]
    n_by_kind: dict[MistakeKind, int]
    n_misaligned: int
    n_ignored: int

    def without(self, kind: MistakeKind) -> Counts:
        """Return what the counts would be without the mistakes of one kind."""
        return scores_without(self.scores.micro, kind, self.n_by_kind[kind])

    def calibration_fields(self) -> dict[str, object]:
        """Give the calibration, whole and in parts, ready for JSON."""
        return {
            **self.calibration.as_dict(),
            "by_label": {name: each.summary() for name, each in self.calibration_by_label.items()},
            "by_corpus": {
                name: each.summary() for name, each in self.calibration_by_corpus.items()
            },
        }

    def as_dict(self) -> dict[str, object]:
        """Give everything ready for JSON; ratios are 0 to 1."""
        return {
            "sentences": self.n_sentences,
            "words": self.n_words,
            "strict": self.scores.as_dict(),
            "conlleval": self.conlleval.as_dict(),
            "by_corpus": as_dicts(self.by_corpus),
            "by_length": as_dicts(self.by_length),
            "by_surface": as_dicts(self.by_surface),
            "by_kind": {kind.value: n for kind, n in self.n_by_kind.items()},
            "without_kind": {
                kind.value: self.without(kind).as_dict()
                for kind in MistakeKind
                if kind is not MistakeKind.CORRECT
            },
            "calibration": self.calibration_fields(),
            "misaligned": self.n_misaligned,
            "ignored": self.n_ignored,
            "confusion": self.confusion.as_dict(),
            "mistakes": [asdict(mistake) for mistake in self.mistakes],
        }


def evaluate(
    predict: Predict,
    sentences: Sequence[Sentence],
    annotates: Mapping[str, Collection[str]] | None = None,
    *,
    labels: Iterable[str] = (),
    seen: Collection[str] | None = None,
    worst: int = 20,
) -> Evaluation:
    """Let `predict` tag the words of all sentences and compare with their spans.

    Spans of a label that `annotates` does not list for the sentence's corpus (a corpus it does not
    name annotates every label) are not counted, neither predicted nor gold ones: a corpus may mark
    some of what it does not promise to mark throughout. Nor are predicted spans that touch a range
    of `Sentence.unknown` without being gold. Gold spans that no words can express count as missed,
    and what was predicted in their place as spurious.

    Args:
        predict: takes sentences of words, returns the spans of each, in words, perhaps with scores.
        sentences: what to measure on.
        annotates: the labels each corpus annotates, by its name.
        labels: labels in the order in which to show them, even those that never occur.
        seen: the surfaces of the training entities, see `surfaces`.
        worst: the number of mistakes of each kind to keep, the surest first.

    Raises: ValueError when `predict` gives more or fewer results than there are sentences.
    """
    predictions = predict([sentence.words for sentence in sentences])
    if len(predictions) != len(sentences):
        raise ValueError(f"{len(sentences)} sentences, but predictions for {len(predictions)}")
    tally = _Tally(SpanScores(labels), seen)
    for sentence, predicted in zip(sentences, predictions, strict=True):
        tally.add(sentence, predicted, (annotates or {}).get(sentence.corpus))
    return tally.evaluation(worst)


def surfaces(sentences: Iterable[Sentence]) -> frozenset[str]:
    """Give the words of all entities, joined by one space each."""
    return frozenset(
        " ".join(sentence.words[span.start : span.end])
        for sentence in sentences
        for span in sentence.spans
    )


@dataclass(slots=True)
class _Tally:
    """An evaluation in the making."""

    scores: SpanScores
    seen: Collection[str] | None
    by_sentence: list[Mapping[str, Counts]] = field(default_factory=list)
    by_corpus: dict[str, SpanScores] = field(default_factory=dict)
    by_length: dict[str, Counts] = field(
        default_factory=lambda: {name: Counts() for name in ("1", "2", "3", "4+")}
    )
    by_surface: dict[str, Counts] = field(default_factory=dict)
    confusion: Confusion = field(default_factory=Confusion)
    mistakes: list[Mistake] = field(default_factory=list)
    n_by_kind: Counter[MistakeKind] = field(default_factory=Counter)
    outcomes: dict[tuple[str, str], list[tuple[float, bool]]] = field(default_factory=dict)
    """By corpus and label: the score of each predicted span, and whether it is right."""
    gold_tags: list[list[str]] = field(default_factory=list)
    predicted_tags: list[list[str]] = field(default_factory=list)
    n_misaligned: int = 0
    n_ignored: int = 0

    def add(
        self,
        sentence: Sentence,
        predicted: Sequence[ScoredSpan],
        annotated: Collection[str] | None,
    ) -> None:
        sentence = with_annotated(sentence, annotated)
        scored = scorable_spans(sentence, predicted, annotated)
        self.n_ignored += len({each.span for each in predicted}) - len(scored)
        self.gold_tags.append(write_tags(sentence.spans, len(sentence.words), Scheme.BIO))
        self.predicted_tags.append(write_tags(sorted(scored), len(sentence.words), Scheme.BIO))
        counts = SpanScores()
        counts.add(sentence.spans, scored)
        for pair in pair_spans(sentence.spans, scored):
            gold, found = (
                in_characters(sentence, span) if span else None
                for span in (pair.gold, pair.predicted)
            )
            score = scored[pair.predicted] if pair.predicted else None
            self._keep(sentence, pair, gold, found, score)
            for span in {pair.gold, pair.predicted}:
                if span is not None:
                    there, is_found = int(span == pair.gold), int(span == pair.predicted)
                    words = sentence.words[span.start : span.end]
                    self._slice(
                        Counts(there, is_found, there * is_found), len(words), " ".join(words)
                    )
            if pair.predicted and score is not None:
                key = (sentence.corpus, pair.predicted.label)
                self.outcomes.setdefault(key, []).append((score, pair.gold == pair.predicted))
        for span in sentence.misaligned:
            # In characters: two may look alike, and none may be taken for a predicted span.
            self.n_misaligned += 1
            counts.add([span], [])
            self._keep(sentence, SpanPair(span, None), span, None, None)
            n_words = sum(start < span.end and span.start < end for start, end in sentence.offsets)
            surface = " ".join(sentence.text[span.start : span.end].split())
            self._slice(Counts(gold=1), max(n_words, 1), surface)
        self.by_sentence.append(counts.by_label)
        self.scores += counts
        of_corpus = self.by_corpus.get(sentence.corpus) or SpanScores(self.scores.by_label)
        self.by_corpus[sentence.corpus] = of_corpus + counts

    def _slice(self, counts: Counts, n_words: int, surface: str) -> None:
        self.by_length[str(n_words) if n_words < 4 else "4+"] += counts
        if self.seen is not None:
            name = "seen" if surface in self.seen else "unseen"
            self.by_surface[name] = self.by_surface.get(name, Counts()) + counts

    def _keep(
        self,
        sentence: Sentence,
        pair: SpanPair,
        gold: Span | None,
        predicted: Span | None,
        score: float | None,
    ) -> None:
        self.confusion.add(pair)
        self.n_by_kind[pair.kind] += 1
        if pair.kind is not MistakeKind.CORRECT:
            place = (sentence.text, sentence.corpus, sentence.path, sentence.line)
            self.mistakes.append(Mistake(pair.kind, gold, predicted, score, *place))

    def _calibration(self, corpora: Iterable[str], labels: Iterable[str]) -> Reliability:
        keys = product(corpora, labels)
        return Reliability.of(outcome for key in keys for outcome in self.outcomes.get(key, ()))

    def evaluation(self, worst: int) -> Evaluation:
        labels, corpora = self.scores.by_label, self.by_corpus
        return Evaluation(
            n_sentences=len(self.gold_tags),
            n_words=sum(map(len, self.gold_tags)),
            scores=self.scores,
            by_sentence=tuple(self.by_sentence),
            conlleval=conlleval_scores(self.gold_tags, self.predicted_tags),
            by_corpus=corpora,
            by_length=self.by_length,
            by_surface=dict(sorted(self.by_surface.items())),
            confusion=self.confusion,
            calibration=self._calibration(corpora, labels),
            calibration_by_label={label: self._calibration(corpora, [label]) for label in labels},
            calibration_by_corpus={name: self._calibration([name], labels) for name in corpora},
            mistakes=tuple(
                mistake
                for kind in MistakeKind
                for mistake in sorted(
                    (each for each in self.mistakes if each.kind is kind),
                    key=lambda each: 1.0 if each.score is None else -each.score,
                )[:worst]
            ),
            n_by_kind={kind: self.n_by_kind[kind] for kind in MistakeKind},
            n_misaligned=self.n_misaligned,
            n_ignored=self.n_ignored,
        )


def scorable_spans(
    sentence: Sentence, predicted: Iterable[ScoredSpan], annotated: Collection[str] | None
) -> dict[Span, float | None]:
    """Return the predicted spans that gold can judge, with scores; `annotated` as in `evaluate`."""
    return {
        each.span: each.score for each in predicted if is_scorable(sentence, each.span, annotated)
    }


def with_annotated(sentence: Sentence, annotated: Collection[str] | None) -> Sentence:
    """Give the sentence without gold spans of other labels; `annotated` as in `evaluate`."""
    if annotated is None:
        return sentence
    return replace(
        sentence,
        spans=tuple(span for span in sentence.spans if span.label in annotated),
        misaligned=tuple(span for span in sentence.misaligned if span.label in annotated),
    )


def is_scorable(sentence: Sentence, span: Span, annotated: Collection[str] | None) -> bool:
    """Return whether gold can judge a predicted span; `annotated` as in `evaluate`.

    It cannot where a word is unknown, unless that is only because no words can express a gold span.
    """
    if annotated is not None and span.label not in annotated:
        return False
    if span in sentence.spans:
        return True
    touched = (
        sentence.offsets[word]
        for start, end in sentence.unknown
        for word in range(max(start, span.start), min(end, span.end))
    )
    return all(
        any(start < gold.end and gold.start < end for gold in sentence.misaligned)
        for start, end in touched
    )


def in_characters(sentence: Sentence, span: Span) -> Span:
    """Give a span in words as one in characters of the sentence's text."""
    return Span(sentence.offsets[span.start][0], sentence.offsets[span.end - 1][1], span.label)


def surface_of(sentence: Sentence, span: Span) -> str:
    """Give the text of a span in words."""
    place = in_characters(sentence, span)
    return sentence.text[place.start : place.end]
