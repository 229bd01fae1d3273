"""What one tagger does better than another, entity by entity: which of two got an entity right, or invented none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from teddy.model.spans import Span
from teddy.training.corpus.align import Sentence
from teddy.training.evaluate import in_characters
from teddy.training.mistakes import pair_spans

Scored = Mapping[Span, float | None]
"""The judged spans of one tagger in a sentence, in words, with their scores."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tagger said of an entity: a span, in characters of the text, and how sure it was."""

    span: Span
    score: float | None

    def as_dict(self) -> dict[str, object]:
        """Give the answer ready for JSON."""
        return {"start": self.span.start, "end": self.span.end, "label": self.span.label, "score": self.score}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A place where exactly one of two taggers is right. What is None is nothing; `gold` is in characters.

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
        """The sum of the scores: great where both were sure, and one of them should not have been."""
        return sum(answer.score or 0.0 for answer in (self.first, self.second) if answer)

    def as_dict(self) -> dict[str, object]:
        """Give the change ready for JSON."""
        gold = self.gold and {"start": self.gold.start, "end": self.gold.end, "label": self.gold.label}
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
    """Counts of one label: of annotated entities by who got them right, and of invented ones by who invented them.

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


def changes(sentence: Sentence, first: Scored, second: Scored, tallies: Mapping[str, Tally]) -> Iterator[Change]:
    """Count the entities of a sentence, and give the changes in it, in order; annotated ones come first.

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
            yield _change(sentence, None, None, pair.predicted, first, second, second_is_right=False)


def _standing_for(sentence: Sentence, predicted: Scored) -> dict[Span, Span]:
    pairs = pair_spans(sentence.spans, predicted)
    return {pair.gold: pair.predicted for pair in pairs if pair.gold and pair.predicted}


def _invented(sentence: Sentence, predicted: Scored) -> list[Span]:
    return [pair.predicted for pair in pair_spans(sentence.spans, predicted) if not pair.gold and pair.predicted]


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
