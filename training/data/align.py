"""Align spans of characters to words: sentences for the network, and the spans that do not fit.

Nothing is lost without a word. A gold span that no run of words can express, or that overlaps a
longer one, is handed to `on_misaligned`, kept in `Sentence.misaligned` (so that evaluation can
count it as missed), and the words it touches are `unknown`: they may have any tag, which teaches
neither the span nor its absence.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import Any, TypeVar

from teddy.model.tags.spans import Span
from teddy.model.text.sentences import Offsets, SentenceMode, split_sentences
from teddy.model.text.words import Tokeniser
from teddy.training.data.readers.rows import Example
from teddy.training.recipe.corpus_config import UNKNOWN

_Item = TypeVar("_Item")
OFF_BORDERS = "does not fall on word borders"
_OVERLAPS = "overlaps a longer span"
_MOST_LISTED = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence as words.

    Sentences of a corpus file are what training batches and evaluation counts are made of.
    """

    words: tuple[str, ...]
    """At least one; each is what `tokeniser` reads of its stretch of `text`."""
    offsets: tuple[tuple[int, int], ...]
    """Of the words, in characters of `text`."""
    spans: tuple[Span, ...]
    """Gold entities, in words: in order, disjoint, with labels of the recipe."""
    unknown: tuple[tuple[int, int], ...]
    """Ranges of words, in order and disjoint, where any tag is possible."""
    misaligned: tuple[Span, ...]
    """Gold entities, in characters of `text`, that `spans` cannot express."""
    corpus: str
    text: str
    path: str
    line: int
    tokeniser: Tokeniser
    """By which `text` was split, and is split again when it is changed."""


@dataclass(frozen=True, slots=True)
class Misaligned:
    """A gold span that words cannot express; as a string, one line that says where and why."""

    path: str
    line: int
    text: str
    label: str
    reason: str
    is_lost: bool = True
    """Whether it is left out; if not, it is read with other borders."""

    @property
    def about(self) -> str:
        """The span and the reason, without the place."""
        return f"{self.label} {self.text!r} {self.reason}"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.about}"


OnMisaligned = Callable[[Misaligned], None]


def align(
    example: Example,
    corpus: str,
    tokeniser: Tokeniser,
    on_misaligned: OnMisaligned,
    sentences: SentenceMode = "document",
) -> list[Sentence]:
    """Return the sentences of an example whose spans have labels of the recipe or `UNKNOWN`.

    A document is split into sentences, and those are joined again that a span crosses. Sentences
    without a word are left out. Linear in the length of the text, apart from sorting its spans.
    """
    starts, ends, words = tokeniser.split_words(example.text)
    sorted_spans = _SortedSpans(example, Offsets(starts, ends), on_misaligned)
    ranges = (
        [(0, len(words))]
        if example.is_sentence
        else split_sentences(example.text, Offsets(starts, ends), sentences)
    )
    kept = [(span.start, span.end) for span in sorted_spans.kept]
    return [
        sorted_spans.sentence(corpus, first, last, words[first:last], tokeniser)
        for first, last in _joined(ranges, kept + sorted_spans.touched)
        if first < last
    ]


class _SortedSpans:
    """The spans of an example, sorted into kept and misaligned ones, and unknown words."""

    def __init__(self, example: Example, words: Offsets, on_misaligned: OnMisaligned) -> None:
        self.kept: list[Span] = []
        """In words, disjoint."""
        self.touched: list[tuple[int, int]] = []
        """Ranges of words of the spans that are not kept."""
        self._example, self._words = example, words
        self._misaligned: list[tuple[int, Span]] = []
        """Each with the first word that it touches."""
        taken: dict[int, Span] = {}
        starts, ends = words
        for span, line in sorted(
            zip(example.spans, example.span_lines, strict=True), key=_longest_first
        ):
            # Words that the span touches: from the first that ends behind its start to the last
            # that starts before its end.
            first, last = bisect_right(ends, span.start), bisect_left(starts, span.end)
            if span.label == UNKNOWN:
                self.touched.append((first, last))
                continue
            # A user name is one word with its @, marked or not.
            at = first < last and starts[first] == span.start - 1
            at = at and example.text[starts[first]] == "@"
            exact = first < last and _are_one_place(
                example.text,
                (starts[first] if at else span.start, starts[first]),
                (ends[last - 1], span.end),
            )
            word_span = Span(first, last, span.label)
            rivals = {taken[word] for word in range(first, last) if word in taken}
            if exact and not rivals:
                self.kept.append(word_span)
                if at:
                    name = example.text[span.start : span.end]
                    reason = "is read with its @"
                    on_misaligned(
                        Misaligned(example.path, line, name, span.label, reason, is_lost=False)
                    )
                taken.update(dict.fromkeys(range(first, last), word_span))
            elif not exact or rivals != {word_span}:  # the same span twice says nothing new
                self.touched.append((first, last))
                # A span behind the last word (of white space, say) belongs to that word's sentence.
                self._misaligned.append((min(first, len(starts) - 1), span))
                text = example.text[span.start : span.end]
                reason = _rivalry(word_span, rivals) if exact else OFF_BORDERS
                on_misaligned(Misaligned(example.path, line, text, span.label, reason))
        self.kept.sort()
        self._misaligned.sort()
        touched = {word for first, last in self.touched for word in range(first, last)}
        self._unknown = sorted(touched - taken.keys())

    def sentence(
        self, corpus: str, first: int, last: int, words: Sequence[str], tokeniser: Tokeniser
    ) -> Sentence:
        """Return a sentence of the words [first, last), which no span crosses."""
        example = self._example
        starts, ends = self._words.starts[first:last], self._words.ends[first:last]
        kept = _within(self.kept, first, last, attrgetter("start"))
        misaligned = [span for _, span in _within(self._misaligned, first, last, itemgetter(0))]
        unknown = _within(self._unknown, first, last, int)
        if example.is_sentence:
            begin, stop = 0, len(example.text)
        else:
            begin = min([starts[0], *(span.start for span in misaligned)])
            stop = max([ends[-1], *(span.end for span in misaligned)])
        return Sentence(
            words=tuple(words),
            offsets=tuple(
                (start - begin, end - begin) for start, end in zip(starts, ends, strict=True)
            ),
            spans=tuple(Span(span.start - first, span.end - first, span.label) for span in kept),
            unknown=tuple((start - first, end - first) for start, end in _runs(unknown)),
            misaligned=tuple(
                Span(span.start - begin, span.end - begin, span.label) for span in misaligned
            ),
            corpus=corpus,
            text=example.text[begin:stop],
            path=example.path,
            line=example.line,
            tokeniser=tokeniser,
        )


def _are_one_place(text: str, *borders: tuple[int, int]) -> bool:
    """Return whether nothing lies between the places of each pair but what cannot be seen."""
    return all(
        before <= behind and not any(map(str.isspace, text[before:behind]))
        for before, behind in borders
    )


def _rivalry(span: Span, rivals: Iterable[Span]) -> str:
    """Return why a span is not kept: another label on the same words, or a longer span."""
    same = [each.label for each in rivals if (each.start, each.end) == (span.start, span.end)]
    return f"is marked {same[0]} too, which is kept: one of the two" if same else _OVERLAPS


def _longest_first(item: tuple[Span, int]) -> tuple[int, Span]:
    span, _ = item
    return span.start - span.end, span


def _within(items: list[_Item], first: int, last: int, place: Callable[[Any], int]) -> list[_Item]:
    """Return those of sorted items whose places are in [first, last)."""
    return items[bisect_left(items, first, key=place) : bisect_left(items, last, key=place)]


def _joined(
    ranges: Iterable[tuple[int, int]], spans: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Join neighbouring ranges where a span covers words on both sides of their border."""
    # A border at word w is inside a span when start < w < end: +1 where spans begin, -1 where they
    # end.
    ordered = sorted(spans)
    joined: list[tuple[int, int]] = []
    reach = 0  # the furthest end of the spans that begin before the border
    at = 0
    for start, end in ranges:
        while at < len(ordered) and ordered[at][0] < start:
            reach = max(reach, ordered[at][1])
            at += 1
        if joined and reach > start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return sorted, distinct numbers as half-open ranges: 2 3 4 7 gives (2, 5) and (7, 8)."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs


@dataclass(slots=True)
class MisalignedReport:
    """What `on_misaligned` was called with in the course of reading."""

    n_spans: int = 0
    """That are lost."""
    n_fitted: int = 0
    """That are read with other borders."""
    listed: list[Misaligned] = field(default_factory=list)
    """The first, a hundred thousand at most."""

    def add(self, span: Misaligned) -> None:
        """Add a span."""
        self.n_spans += span.is_lost
        self.n_fitted += not span.is_lost
        if len(self.listed) < _MOST_LISTED:
            self.listed.append(span)

    def __str__(self) -> str:
        """Return a line for each, and one for those that are not listed."""
        lines = [*map(str, self.listed)]
        n_spans = self.n_spans + self.n_fitted
        if len(self.listed) < n_spans:
            lines.append(f"... and {n_spans - len(self.listed):,} more")
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "MisalignedReport":
        """Return the report of which `asdict` gave this."""
        listed = [Misaligned(**each) for each in value["listed"]]
        return cls(value["n_spans"], value["n_fitted"], listed)
