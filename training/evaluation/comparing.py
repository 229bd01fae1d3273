"""Two taggers on the same sentences: which is better, how sure that is, and where they differ."""

import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from teddy.model.tags.spans import Span
from teddy.training.data.align import Sentence
from teddy.training.evaluation.bootstrap import Difference, count_table, differences
from teddy.training.evaluation.evaluate import (
    Answers,
    Predict,
    ScoredSpan,
    evaluate,
    in_characters,
    scorable_spans,
    with_annotated,
)
from teddy.training.evaluation.mistakes import pair_spans

Scored = Mapping[Span, float | None]
"""The scorable spans of one tagger in a sentence, in words, with their scores."""
SURE = 0.05
"""A difference counts as shown when chance alone would give one so large less often than this."""


@dataclass(frozen=True, slots=True)
class Change:
    """A place where exactly one of two taggers is right; spans are in characters of `text`.

    With `gold`, each tagger's span is the one paired with it. Without, one of the two found an
    entity where none is, and that of the other is None.
    """

    gold: Span | None
    first: ScoredSpan | None
    second: ScoredSpan | None
    second_is_right: bool
    text: str
    corpus: str
    path: str
    line: int

    @property
    def sureness(self) -> float:
        """The sum of both scores: high where both were sure and one was wrong."""
        return sum(found.score or 0.0 for found in (self.first, self.second) if found)

    def as_dict(self) -> dict[str, object]:
        """Give the change ready for JSON."""
        fields: dict[str, object] = {"gold": asdict(self.gold) if self.gold else None}
        for side, found in (("first", self.first), ("second", self.second)):
            fields[side] = {**asdict(found.span), "score": found.score} if found else None
        fields["right"] = "second" if self.second_is_right else "first"
        place = {name: getattr(self, name) for name in ("text", "corpus", "path", "line")}
        return fields | place


@dataclass(slots=True, kw_only=True)
class LabelTally:
    """Counts of one label: annotated entities by who was right, invented ones by who invented them.

    An invented entity is one that stands for no annotated one.
    """

    both: int = 0
    only_first: int = 0
    only_second: int = 0
    neither: int = 0
    invented_by_both: int = 0
    invented_by_first: int = 0
    invented_by_second: int = 0

    def add(self, first: bool, second: bool) -> None:
        """Count an annotated entity by which taggers found it."""
        self.both += first and second
        self.only_first += first and not second
        self.only_second += second and not first
        self.neither += not (first or second)


def changes(
    sentence: Sentence, first: Scored, second: Scored, tallies: Mapping[str, LabelTally]
) -> Iterator[Change]:
    """Count the entities of a sentence, and yield its changes in order, annotated ones first.

    Annotated entities that words cannot express are found by neither.
    """
    for span in sentence.misaligned:
        tallies[span.label].add(False, False)
    pairs = [pair_spans(sentence.spans, found) for found in (first, second)]
    paired = [{pair.gold: pair.predicted for pair in of_one if pair.gold} for of_one in pairs]
    for gold in sentence.spans:
        tallies[gold.label].add(gold in first, gold in second)
        if (gold in first) != (gold in second):
            found = [of_one[gold] for of_one in paired]
            yield _change(sentence, gold, found, (first, second), gold in second)
    invented = [
        [pair.predicted for pair in of_one if pair.predicted and not pair.gold] for of_one in pairs
    ]
    for pair in pair_spans(*invented):
        if pair.gold and pair.predicted:
            tallies[pair.gold.label].invented_by_both += 1
        elif pair.gold:
            tallies[pair.gold.label].invented_by_first += 1
            yield _change(sentence, None, (pair.gold, None), (first, second), True)
        elif pair.predicted:
            tallies[pair.predicted.label].invented_by_second += 1
            yield _change(sentence, None, (None, pair.predicted), (first, second), False)


def _change(
    sentence: Sentence,
    gold: Span | None,
    found: Sequence[Span | None],
    scored: tuple[Scored, Scored],
    second_is_right: bool,
) -> Change:
    first, second = (
        ScoredSpan(in_characters(sentence, span), scores[span]) if span else None
        for span, scores in zip(found, scored, strict=True)
    )
    place = (sentence.text, sentence.corpus, sentence.path, sentence.line)
    where = in_characters(sentence, gold) if gold else None
    return Change(where, first, second, second_is_right, *place)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggerComparison:
    """The second tagger against the first: differences are positive where the second is better.

    Attributes:
        overall, by_label: the differences in strict F1.
        tallies: counts by label and by who was right.
        better, worse: places where only the second is right, or only the first, the surest first,
            up to the number asked for; `n_better` and `n_worse` are the numbers of all.
        n_draws, seed: of the bootstrap and the randomisation.
    """

    n_sentences: int
    n_words: int
    overall: Difference
    by_label: dict[str, Difference]
    tallies: dict[str, LabelTally]
    better: tuple[Change, ...]
    worse: tuple[Change, ...]
    n_better: int
    n_worse: int
    n_draws: int
    seed: int

    @property
    def is_shown(self) -> bool:
        """Whether chance alone would hardly give such a difference."""
        return self.overall.p_bootstrap < SURE

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        difference = self.overall
        low, high = 100 * difference.interval.low, 100 * difference.interval.high
        sure = f"95 % interval {low:+.2f} to {high:+.2f}"
        sure += f", p = {difference.p_bootstrap:.2g}"
        if difference.first == difference.second and not (self.n_better or self.n_worse):
            return "Both give the same entities."
        if not self.is_shown:
            return f"No difference is shown: F1 {100 * difference.f1:+.2f} ({sure})."
        verdict = "better" if difference.f1 > 0 else "worse"
        return f"B is {verdict}: F1 {100 * difference.f1:+.2f} ({sure})."

    def as_dict(self) -> dict[str, object]:
        """Give everything ready for JSON; ratios are 0 to 1."""
        return {
            "sentences": self.n_sentences,
            "words": self.n_words,
            "draws": self.n_draws,
            "seed": self.seed,
            "verdict": self.verdict,
            "overall": self.overall.as_dict(),
            "by_label": {
                label: {**each.as_dict(), "entities": asdict(self.tallies[label])}
                for label, each in self.by_label.items()
            },
            "n_better": self.n_better,
            "n_worse": self.n_worse,
            "better": [each.as_dict() for each in self.better],
            "worse": [each.as_dict() for each in self.worse],
        }


def compare(
    first: Predict,
    second: Predict,
    sentences: Sequence[Sentence],
    annotates: Mapping[str, Collection[str]],
    labels: Sequence[str],
    *,
    n_draws: int = 10_000,
    seed: int = 1,
    most: int = 20,
) -> TaggerComparison:
    """Let both tag all sentences and compare what they find, label by label and place by place.

    Args:
        first: what was there; see `teddy.training.evaluation.evaluate.Predict`.
        second: what is new.
        sentences: what to measure on.
        annotates: by corpus, the labels that count: annotated there, and known to both.
        labels: all of those, in the order in which to show them.
        n_draws: see `teddy.training.evaluation.bootstrap.differences`.
        seed: see there.
        most: how many changes of each kind to keep.
    """
    words = [sentence.words for sentence in sentences]
    answers = first(words), second(words)
    evaluations = [
        evaluate(partial(_given, found), sentences, annotates, labels=labels, worst=0)
        for found in answers
    ]
    tables = [count_table(each.by_sentence, labels) for each in evaluations]
    overall, by_label = differences(tables[0], tables[1], labels, n_draws=n_draws, seed=seed)
    tallies = {label: LabelTally() for label in labels}
    every: list[Change] = []
    for sentence, *found in zip(sentences, *answers, strict=True):
        annotated = annotates[sentence.corpus]
        sentence = with_annotated(sentence, annotated)
        scored = [scorable_spans(sentence, each, annotated) for each in found]
        every += changes(sentence, scored[0], scored[1], tallies)
    every.sort(key=lambda change: -change.sureness)
    better = [change for change in every if change.second_is_right]
    worse = [change for change in every if not change.second_is_right]
    return TaggerComparison(
        n_sentences=len(sentences),
        n_words=sum(map(len, words)),
        overall=overall,
        by_label=by_label,
        tallies=tallies,
        better=tuple(better[:most]),
        worse=tuple(worse[:most]),
        n_better=len(better),
        n_worse=len(worse),
        n_draws=n_draws,
        seed=seed,
    )


def _given(answers: Answers, _: object) -> Answers:
    return answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """Words per second of both: medians of `turns` turns, in which they took turns."""

    first: float
    second: float
    turns: int


def measure_speeds(
    first: Predict,
    second: Predict,
    sentences: Sequence[Sentence],
    *,
    turns: int = 5,
    most_words: int = 20_000,
    clock: Callable[[], float] = time.perf_counter,
) -> Speeds:
    """Let both tag the same sentences in turns, so that the machine disturbs both alike."""
    words, n_words = [], 0
    for sentence in sentences:
        words.append(sentence.words)
        n_words += len(sentence.words)
        if n_words >= most_words:
            break
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns):
        for predict, measured in zip((first, second), seconds, strict=True):
            begin = clock()
            predict(words)
            measured.append(clock() - begin)
    return Speeds(
        first=n_words / statistics.median(seconds[0]),
        second=n_words / statistics.median(seconds[1]),
        turns=turns,
    )
