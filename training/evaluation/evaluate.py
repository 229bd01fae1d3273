"""Measure a tagger on sentences whose entities are known."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from teddy.model.tags.spans import Scheme, Span, write_tags
from teddy.training.data.align import Sentence
from teddy.training.evaluation.mistakes import Confusion, Kind, Pair, mended, pair_spans
from teddy.training.evaluation.reliability import Reliability
from teddy.training.evaluation.scores import ConllevalScores, Counts, SpanScores, conlleval_scores


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """A predicted span, in words, and how sure the tagger is of it, 0 to 1."""

    span: Span
    score: float


Predict = Callable[[Sequence[Sequence[str]]], Sequence[Sequence[Span | ScoredSpan]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A pair that is not correct, in characters of the sentence's text, and where to find it."""

    kind: Kind
    gold: Span | None
    predicted: Span | None
    score: float | None
    text: str
    corpus: str
    path: str
    line: int

    def as_dict(self) -> dict[str, object]:
        """Give the mistake ready for JSON."""
        return {
            "kind": self.kind.value,
            "gold": _span_as_dict(self.gold),
            "predicted": _span_as_dict(self.predicted),
            "score": self.score,
            "text": self.text,
            "corpus": self.corpus,
            "path": self.path,
            "line": self.line,
        }


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
    n_by_kind: dict[Kind, int]
    n_misaligned: int
    n_ignored: int

    def without(self, kind: Kind) -> Counts:
        """Return what the counts would be without the mistakes of one kind."""
        return mended(self.scores.micro, kind, self.n_by_kind[kind])

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
            "by_corpus": {name: scores.as_dict() for name, scores in self.by_corpus.items()},
            "by_length": {name: counts.as_dict() for name, counts in self.by_length.items()},
            "by_surface": {name: counts.as_dict() for name, counts in self.by_surface.items()},
            "by_kind": {kind.value: n for kind, n in self.n_by_kind.items()},
            "without_kind": {
                kind.value: self.without(kind).as_dict()
                for kind in Kind
                if kind is not Kind.CORRECT
            },
            "calibration": self.calibration_fields(),
            "misaligned": self.n_misaligned,
            "ignored": self.n_ignored,
            "confusion": self.confusion.as_dict(),
            "mistakes": [mistake.as_dict() for mistake in self.mistakes],
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
    tally = _Tally(scores=SpanScores(labels), seen=seen)
    for sentence, predicted in zip(sentences, predictions, strict=True):
        tally.add(
            sentence, predicted, None if annotates is None else annotates.get(sentence.corpus)
        )
    return tally.evaluation(worst)


def surfaces(sentences: Iterable[Sentence]) -> frozenset[str]:
    """Give the words of all entities, joined by one space each."""
    return frozenset(_surface(sentence, span) for sentence in sentences for span in sentence.spans)


@dataclass(slots=True, kw_only=True)
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
    kinds: Counter[Kind] = field(default_factory=Counter)
    outcomes: dict[tuple[str, str], list[tuple[float, bool]]] = field(default_factory=dict)
    """By corpus and label: the score of each predicted span, and whether it is right."""
    gold_tags: list[list[str]] = field(default_factory=list)
    predicted_tags: list[list[str]] = field(default_factory=list)
    n_misaligned: int = 0
    n_ignored: int = 0

    def add(
        self,
        sentence: Sentence,
        predicted: Sequence[Span | ScoredSpan],
        annotated: Collection[str] | None,
    ) -> None:
        sentence = with_annotated(sentence, annotated)
        counted = judged(sentence, predicted, annotated)
        self.n_ignored += len(set(map(_span, predicted))) - len(counted)
        self._score(sentence, counted)
        self._count_spans(sentence, counted)
        self._compare_spans(sentence, counted)
        self.gold_tags.append(write_tags(sentence.spans, len(sentence.words), Scheme.BIO))
        self.predicted_tags.append(write_tags(sorted(counted), len(sentence.words), Scheme.BIO))
        for span in sentence.misaligned:
            self._count_misaligned(sentence, span)

    def _score(self, sentence: Sentence, predicted: Collection[Span]) -> None:
        scores = SpanScores()
        scores.add(sentence.spans, predicted)
        for span in sentence.misaligned:
            # They are in characters, so that none may be taken for a predicted one, and two may
            # look alike.
            scores.add([span], [])
        self.by_sentence.append(scores.by_label)
        self.scores += scores
        of_corpus = self.by_corpus.get(sentence.corpus) or SpanScores(self.scores.by_label)
        self.by_corpus[sentence.corpus] = of_corpus + scores

    def _count_spans(self, sentence: Sentence, predicted: Mapping[Span, float | None]) -> None:
        gold = set(sentence.spans)
        for span, score in predicted.items():
            if score is not None:
                self.outcomes.setdefault((sentence.corpus, span.label), []).append(
                    (score, span in gold)
                )
        for span in gold.union(predicted):
            there, found = span in gold, span in predicted
            counts = Counts(int(there), int(found), int(there and found))
            self._slice(counts, span.end - span.start, _surface(sentence, span))

    def _count_misaligned(self, sentence: Sentence, span: Span) -> None:
        """Count a gold span, in characters, as missed."""
        self.n_misaligned += 1
        n_words = sum(start < span.end and span.start < end for start, end in sentence.offsets)
        self._slice(
            Counts(gold=1), max(n_words, 1), " ".join(sentence.text[span.start : span.end].split())
        )
        self._keep(sentence, Pair(span, None), span, None, None)

    def _slice(self, counts: Counts, n_words: int, surface: str) -> None:
        length = str(n_words) if n_words < 4 else "4+"
        self.by_length[length] += counts
        if self.seen is not None:
            name = "seen" if surface in self.seen else "unseen"
            self.by_surface[name] = self.by_surface.get(name, Counts()) + counts

    def _compare_spans(self, sentence: Sentence, predicted: Mapping[Span, float | None]) -> None:
        for pair in pair_spans(sentence.spans, predicted):
            score = predicted[pair.predicted] if pair.predicted else None
            gold, found = (
                in_characters(sentence, pair.gold),
                in_characters(sentence, pair.predicted),
            )
            self._keep(sentence, pair, gold, found, score)

    def _keep(
        self,
        sentence: Sentence,
        pair: Pair,
        gold: Span | None,
        predicted: Span | None,
        score: float | None,
    ) -> None:
        self.confusion.add(pair)
        self.kinds[pair.kind] += 1
        if pair.kind is Kind.CORRECT:
            return
        self.mistakes.append(
            Mistake(
                kind=pair.kind,
                gold=gold,
                predicted=predicted,
                score=score,
                text=sentence.text,
                corpus=sentence.corpus,
                path=sentence.path,
                line=sentence.line,
            )
        )

    def _calibration(self, corpora: Iterable[str], labels: Iterable[str]) -> Reliability:
        keys = product(corpora, labels)
        return Reliability.of(outcome for key in keys for outcome in self.outcomes.get(key, ()))

    def evaluation(self, worst: int) -> Evaluation:
        mistakes: list[Mistake] = []
        for kind in Kind:
            of_kind = [mistake for mistake in self.mistakes if mistake.kind is kind]
            of_kind.sort(
                key=lambda mistake: -1.0 if mistake.score is None else mistake.score, reverse=True
            )
            mistakes += of_kind[:worst]
        return Evaluation(
            n_sentences=len(self.gold_tags),
            n_words=sum(map(len, self.gold_tags)),
            scores=self.scores,
            by_sentence=tuple(self.by_sentence),
            conlleval=conlleval_scores(self.gold_tags, self.predicted_tags),
            by_corpus=self.by_corpus,
            by_length=self.by_length,
            by_surface=dict(sorted(self.by_surface.items())),
            confusion=self.confusion,
            calibration=self._calibration(self.by_corpus, self.scores.by_label),
            calibration_by_label={
                label: self._calibration(self.by_corpus, [label]) for label in self.scores.by_label
            },
            calibration_by_corpus={
                name: self._calibration([name], self.scores.by_label) for name in self.by_corpus
            },
            mistakes=tuple(mistakes),
            n_by_kind={kind: self.kinds[kind] for kind in Kind},
            n_misaligned=self.n_misaligned,
            n_ignored=self.n_ignored,
        )


def judged(
    sentence: Sentence, predicted: Iterable[Span | ScoredSpan], annotated: Collection[str] | None
) -> dict[Span, float | None]:
    """Return the predicted spans that gold can judge, with scores; `annotated` as in `evaluate`."""
    scored = dict(_with_score(one) for one in predicted)
    return {span: score for span, score in scored.items() if is_judged(sentence, span, annotated)}


def _with_score(predicted: Span | ScoredSpan) -> tuple[Span, float | None]:
    return (
        (predicted.span, predicted.score)
        if isinstance(predicted, ScoredSpan)
        else (predicted, None)
    )


def _span(predicted: Span | ScoredSpan) -> Span:
    return _with_score(predicted)[0]


def with_annotated(sentence: Sentence, annotated: Collection[str] | None) -> Sentence:
    """Give the sentence without gold spans of other labels; `annotated` as in `evaluate`."""
    if annotated is None:
        return sentence
    return replace(
        sentence,
        spans=tuple(span for span in sentence.spans if span.label in annotated),
        misaligned=tuple(span for span in sentence.misaligned if span.label in annotated),
    )


def is_judged(sentence: Sentence, span: Span, annotated: Collection[str] | None) -> bool:
    """Return whether gold can judge a predicted span; `annotated` as in `evaluate`."""
    if annotated is not None and span.label not in annotated:
        return False
    if span in sentence.spans:
        return True
    touched = {
        i
        for start, end in sentence.unknown
        for i in range(max(start, span.start), min(end, span.end))
    }
    return all(_is_misaligned(sentence, i) for i in touched)


def _is_misaligned(sentence: Sentence, word: int) -> bool:
    """Return whether a word is unknown only because no words can express its gold span."""
    start, end = sentence.offsets[word]
    return any(start < span.end and span.start < end for span in sentence.misaligned)


def _surface(sentence: Sentence, span: Span) -> str:
    return " ".join(sentence.words[span.start : span.end])


def in_characters(sentence: Sentence, span: Span | None) -> Span | None:
    """Give a span in words as one in characters of the sentence's text."""
    if span is None:
        return None
    return Span(sentence.offsets[span.start][0], sentence.offsets[span.end - 1][1], span.label)


def _span_as_dict(span: Span | None) -> dict[str, str | int] | None:
    return None if span is None else {"start": span.start, "end": span.end, "label": span.label}
