"""The scores of the CoNLL shared tasks, by the rules that the `conlleval` script made customary.

They differ from strict scores only on ill-formed tag sequences: conlleval repairs them, gold and prediction alike, by
its rules about where a chunk starts and ends, and then counts equal chunks. `seqeval` by default does the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from teddy.model.spans import Scheme, Span, read_tags
from teddy.training.scores import SpanScores


@dataclass(frozen=True, slots=True)
class ConllevalScores:
    """Chunk scores and word accuracy (the share of words whose whole tag is right, `O` included)."""

    spans: SpanScores
    words: int
    correct_words: int

    def __add__(self, other: "ConllevalScores") -> "ConllevalScores":
        words, correct_words = self.words + other.words, self.correct_words + other.correct_words
        return ConllevalScores(self.spans + other.spans, words, correct_words)

    @property
    def accuracy(self) -> float:
        """Share of the words tagged as in the gold, 0 to 1; 0.0 when there are no words."""
        return self.correct_words / self.words if self.words else 0.0

    def as_dict(self) -> dict[str, object]:
        """`SpanScores.as_dict` with the accuracy and the number of words, ready for JSON."""
        return {"accuracy": self.accuracy, "words": self.words, **self.spans.as_dict()}

    def report(self) -> str:
        """Print as the script does, character for character. No final newline."""
        micro = self.spans.micro
        lines = [
            f"processed {self.words} tokens with {micro.gold} phrases; "
            f"found: {micro.predicted} phrases; correct: {micro.correct}.",
            f"accuracy: {100 * self.accuracy:6.2f}%; precision: {100 * micro.precision:6.2f}%; "
            f"recall: {100 * micro.recall:6.2f}%; FB1: {100 * micro.f1:6.2f}",
        ]
        for label, counts in sorted(self.spans.by_label.items()):
            lines.append(
                f"{label:>17}: precision: {100 * counts.precision:6.2f}%; recall: {100 * counts.recall:6.2f}%; "
                f"FB1: {100 * counts.f1:6.2f}  {counts.predicted}"
            )
        return "\n".join(lines)


def conlleval_scores(gold_tags: Sequence[Sequence[str]], predicted_tags: Sequence[Sequence[str]]) -> ConllevalScores:
    """Score sentences of tags, the gold ones against the predicted ones.

    A tag is `O`, or one of `B I E S [ ]` followed by a hyphen and a label, as in `B-PER`; the label may be left out.

    Raises: ValueError when the two differ in length, or where a tag is none of these.
    """
    if len(gold_tags) != len(predicted_tags):
        raise ValueError(f"{len(gold_tags)} gold sentences, but {len(predicted_tags)} predicted ones")
    spans, words, correct_words = SpanScores(), 0, 0
    for gold, predicted in zip(gold_tags, predicted_tags, strict=True):
        if len(gold) != len(predicted):
            raise ValueError(f"a sentence of {len(gold)} gold tags, but {len(predicted)} predicted ones")
        spans.add(read_chunks(gold), read_chunks(predicted))
        words += len(gold)
        correct_words += sum(map(str.__eq__, gold, predicted))
    return ConllevalScores(spans, words, correct_words)


def read_chunks(tags: Iterable[str]) -> list[Span]:
    """Chunks of a sentence as conlleval sees them, in words: the repair rule of `spans.read_tags` is conlleval's.

    A chunk without a label gets the label `_`.

    Raises: ValueError on a tag that is none of those named in `conlleval_scores`.
    """
    return read_tags([_modern(tag) for tag in tags], Scheme.BIOES)


def _modern(tag: str) -> str:
    prefix, hyphen, label = tag.partition("-")
    if tag == "O" or (hyphen and not label):
        return tag
    # In the oldest data a bracket of either kind is a chunk of one word.
    return f"{'S' if prefix in ('[', ']') else prefix}-{label or '_'}"
