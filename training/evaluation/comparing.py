"""Two taggers on the same sentences: which is better, how sure that is, and where they differ."""

import statistics
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from teddy.model.tags.spans import Span
from teddy.training.data.align import Sentence
from teddy.training.evaluation.bootstrap import Array, Difference, count_table, differences
from teddy.training.evaluation.evaluate import (
    Predict,
    ScoredSpan,
    evaluate,
    in_characters,
    judged,
    with_annotated,
)
from teddy.training.evaluation.mistakes import pair_spans

Scored = Mapping[Span, float | None]
"""The judged spans of one tagger in a sentence, in words, with their scores."""

Answers = Sequence[Sequence[Span | ScoredSpan]]
"""The spans, in words, that a tagger found in each sentence."""
SURE = 0.05
"""A difference counts as shown when chance alone would give one so large less often than this."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tagger said of an entity: a span, in characters of the text, and how sure it was."""

    span: Span
    score: float | None

    def as_dict(self) -> dict[str, object]:
        """Give the answer ready for JSON."""
        return {
            "start": self.span.start,
            "end": self.span.end,
            "label": self.span.label,
            "score": self.score,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A place where exactly one of two taggers is right.

    What is None is nothing; `gold` is in characters.

    With gold, an answer is the one that stands for it; without, one of the two invented an entity.
    """

    gold: Span | None
    first: Answer | None
    second: Answer | None
    second_is_right: bool
    text: str
    corpus: str
    path: str
    line: int

    @property
    def sureness(self) -> float:
        """The sum of both scores: high where both were sure and one was wrong."""
        return sum(answer.score or 0.0 for answer in (self.first, self.second) if answer)

    def as_dict(self) -> dict[str, object]:
        """Give the change ready for JSON."""
        gold = self.gold and {
            "start": self.gold.start,
            "end": self.gold.end,
            "label": self.gold.label,
        }
        return {
            "gold": gold,
            "first": self.first and self.first.as_dict(),
            "second": self.second and self.second.as_dict(),
            "right": "second" if self.second_is_right else "first",
            "text": self.text,
            "corpus": self.corpus,
            "path": self.path,
            "line": self.line,
        }


@dataclass(slots=True, kw_only=True)
class Tally:
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

    def judge(self, first: bool, second: bool) -> None:
        """Count an annotated entity by who got it right."""
        name = {(True, True): "both", (True, False): "only_first", (False, True): "only_second"}
        key = name.get((first, second), "neither")
        setattr(self, key, getattr(self, key) + 1)

    def as_dict(self) -> dict[str, int]:
        """Give the counts ready for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def changes(
    sentence: Sentence, first: Scored, second: Scored, tallies: Mapping[str, Tally]
) -> Iterator[Change]:
    """Count the entities of a sentence, and return its changes in order, annotated ones first.

    Annotated entities that words cannot express are got by neither.
    """
    for span in sentence.misaligned:
        tallies[span.label].judge(False, False)
    stands_first, stands_second = _standing_for(sentence, first), _standing_for(sentence, second)
    for gold in sentence.spans:
        tallies[gold.label].judge(gold in first, gold in second)
        if (gold in first) != (gold in second):
            answers = stands_first.get(gold), stands_second.get(gold)
            yield _change(sentence, gold, *answers, first, second, second_is_right=gold in second)
    invented = _invented(sentence, first), _invented(sentence, second)
    for pair in pair_spans(*invented):
        if pair.gold is not None and pair.predicted is not None:
            tallies[pair.gold.label].invented_by_both += 1
        elif pair.gold is not None:
            tallies[pair.gold.label].invented_by_first += 1
            yield _change(sentence, None, pair.gold, None, first, second, second_is_right=True)
        elif pair.predicted is not None:
            tallies[pair.predicted.label].invented_by_second += 1
            yield _change(
                sentence, None, None, pair.predicted, first, second, second_is_right=False
            )


def _standing_for(sentence: Sentence, predicted: Scored) -> dict[Span, Span]:
    pairs = pair_spans(sentence.spans, predicted)
    return {pair.gold: pair.predicted for pair in pairs if pair.gold and pair.predicted}


def _invented(sentence: Sentence, predicted: Scored) -> list[Span]:
    return [
        pair.predicted
        for pair in pair_spans(sentence.spans, predicted)
        if not pair.gold and pair.predicted
    ]


def _change(
    sentence: Sentence,
    gold: Span | None,
    of_first: Span | None,
    of_second: Span | None,
    first: Scored,
    second: Scored,
    *,
    second_is_right: bool,
) -> Change:
    return Change(
        gold=in_characters(sentence, gold),
        first=_answer(sentence, of_first, first),
        second=_answer(sentence, of_second, second),
        second_is_right=second_is_right,
        text=sentence.text,
        corpus=sentence.corpus,
        path=sentence.path,
        line=sentence.line,
    )


def _answer(sentence: Sentence, span: Span | None, predicted: Scored) -> Answer | None:
    found = in_characters(sentence, span)
    return Answer(found, predicted[span]) if span and found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
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
    tallies: dict[str, Tally]
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
                label: {**each.as_dict(), "entities": self.tallies[label].as_dict()}
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
) -> Comparison:
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
    tables = [_table(each, sentences, annotates, labels) for each in answers]
    overall, by_label = differences(tables[0], tables[1], labels, n_draws=n_draws, seed=seed)
    tallies = {label: Tally() for label in labels}
    found = sorted(
        _changes(sentences, *answers, annotates, tallies), key=lambda change: -change.sureness
    )
    better = [change for change in found if change.second_is_right]
    worse = [change for change in found if not change.second_is_right]
    return Comparison(
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


def _table(
    answers: Answers,
    sentences: Sequence[Sentence],
    annotates: Mapping[str, Collection[str]],
    labels: Sequence[str],
) -> Array:
    evaluation = evaluate(lambda _: answers, sentences, annotates, labels=labels, worst=0)
    return count_table(evaluation.by_sentence, labels)


def _changes(
    sentences: Sequence[Sentence],
    first: Answers,
    second: Answers,
    annotates: Mapping[str, Collection[str]],
    tallies: Mapping[str, Tally],
) -> Iterator[Change]:
    for sentence, one, other in zip(sentences, first, second, strict=True):
        annotated = annotates[sentence.corpus]
        sentence = with_annotated(sentence, annotated)
        yield from changes(
            sentence, judged(sentence, one, annotated), judged(sentence, other, annotated), tallies
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """Words per second of both: medians of `turns` turns, in which they took turns."""

    first: float
    second: float
    turns: int

    def as_dict(self) -> dict[str, float | int]:
        """Give the speeds ready for JSON."""
        return {"first": self.first, "second": self.second, "turns": self.turns}


def measure_speeds(
    first: Predict,
    second: Predict,
    sentences: Sequence[Sentence],
    *,
    turns: int = 5,
    most_words: int = 20_000,
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
            begin = time.perf_counter()
            predict(words)
            measured.append(time.perf_counter() - begin)
    return Speeds(
        first=n_words / statistics.median(seconds[0]),
        second=n_words / statistics.median(seconds[1]),
        turns=turns,
    )
