"""Align spans of characters to words: sentences for the network, and the spans that do not fit.

Nothing is lost without a word. A gold span that no run of words can express, or that overlaps a
longer one, is handed to `on_misaligned`, kept in `Sentence.misaligned` (so that evaluation can
count it as missed), and the words it touches are `unknown`: they may have any tag, which teaches
neither the span nor its absence.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from teddy.model.tags.spans import Span
from teddy.model.text.sentences import Offsets, split_sentences
from teddy.model.text.words import tokenise
from teddy.training.data.readers.rows import Example
from teddy.training.recipe.corpus_config import UNKNOWN

_OFF_BORDERS = "does not fall on word borders"
_OVERLAPS = "overlaps a longer span"
_MOST_LISTED = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence as words.

    Sentences of a corpus file are what training batches and evaluation counts are made of.
    """

    words: tuple[str, ...]
    """At least one."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Misaligned:
    """A gold span that words cannot express; as a string, one line that says where and why."""

    path: str
    line: int
    text: str
    label: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.label} {self.text!r} {self.reason}"


OnMisaligned = Callable[[Misaligned], None]


def align(example: Example, corpus: str, on_misaligned: OnMisaligned) -> list[Sentence]:
    """Return the sentences of an example whose spans have labels of the recipe or `UNKNOWN`.

    A document is split into sentences, and those are joined again that a span crosses. Sentences
    without a word are left out. Linear in the length of the text, apart from sorting its spans.
    """
    words = tokenise(example.text)
    starts = [start for start, _ in words]
    ends = [end for _, end in words]
    sorter = _Sorter(example, len(words), on_misaligned)
    for span, line in sorted(
        zip(example.spans, example.span_lines, strict=True), key=_longest_first
    ):
        # Words that the span touches: from the first that ends behind its start to the last that
        # starts before its end.
        first, last = bisect_right(ends, span.start), bisect_left(starts, span.end)
        exact = first < last and starts[first] == span.start and ends[last - 1] == span.end
        sorter.put(span, line, first, last, exact=exact)
    ranges = (
        [(0, len(words))]
        if example.is_sentence
        else split_sentences(example.text, Offsets.of(words))
    )
    ranges = _joined(ranges, [(span.start, span.end) for span in sorter.kept] + sorter.touched)
    sorter.finish()
    return [
        _sentence(example, corpus, words, first, last, sorter)
        for first, last in ranges
        if first < last
    ]


def _longest_first(item: tuple[Span, int]) -> tuple[int, Span]:
    span, _ = item
    return span.start - span.end, span


class _Sorter:
    """Sorts the spans of an example into kept and misaligned ones, and unknown words."""

    def __init__(self, example: Example, n_words: int, on_misaligned: OnMisaligned) -> None:
        self.kept: list[Span] = []
        """In words, disjoint."""
        self.misaligned: list[tuple[int, Span]] = []
        """Each with the first word that it touches."""
        self.touched: list[tuple[int, int]] = []
        """Ranges of words of the spans that are not kept."""
        self._taken: dict[int, Span] = {}
        self._unknown: list[int] = []
        self._example = example
        self._n_words = n_words
        self._on_misaligned = on_misaligned

    def put(self, span: Span, line: int, first: int, last: int, *, exact: bool) -> None:
        """Sort one span, which touches the words [first, last); longer spans come first."""
        if span.label == UNKNOWN:
            self.touched.append((first, last))
            return
        word_span = Span(first, last, span.label)
        rivals = {self._taken[word] for word in range(first, last) if word in self._taken}
        if exact and not rivals:
            self.kept.append(word_span)
            self._taken.update(dict.fromkeys(range(first, last), word_span))
        elif not exact or rivals != {word_span}:  # the same span marked twice says nothing new
            self.touched.append((first, last))
            # A span behind the last word (of white space, say) belongs to the last word's sentence.
            self.misaligned.append((min(first, self._n_words - 1), span))
            text = self._example.text[span.start : span.end]
            reason = _OVERLAPS if exact else _OFF_BORDERS
            report = Misaligned(
                path=self._example.path, line=line, text=text, label=span.label, reason=reason
            )
            self._on_misaligned(report)

    def finish(self) -> None:
        """Put what was sorted into the order of the text."""
        self.kept.sort()
        self.misaligned.sort()
        touched = {word for first, last in self.touched for word in range(first, last)}
        self._unknown = sorted(touched - self._taken.keys())

    def kept_within(self, first: int, last: int) -> list[Span]:
        """Return the kept spans among the words [first, last)."""
        begin = bisect_left(self.kept, first, key=_start)
        return self.kept[begin : bisect_left(self.kept, last, key=_start)]

    def misaligned_within(self, first: int, last: int) -> list[Span]:
        """Return the misaligned spans of those words, in characters."""
        begin = bisect_left(self.misaligned, first, key=_first_word)
        return [
            span
            for _, span in self.misaligned[
                begin : bisect_left(self.misaligned, last, key=_first_word)
            ]
        ]

    def unknown_within(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return the ranges of those words that may have any tag."""
        return _runs(
            self._unknown[bisect_left(self._unknown, first) : bisect_left(self._unknown, last)]
        )


def _start(span: Span) -> int:
    return span.start


def _first_word(item: tuple[int, Span]) -> int:
    return item[0]


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


def _sentence(
    example: Example,
    corpus: str,
    words: Sequence[tuple[int, int]],
    first: int,
    last: int,
    sorter: _Sorter,
) -> Sentence:
    """Return a sentence of the words [first, last), which no span crosses, with new offsets."""
    kept = sorter.kept_within(first, last)
    misaligned = sorter.misaligned_within(first, last)
    if example.is_sentence:
        begin, stop = 0, len(example.text)
    else:
        begin = min([words[first][0], *(span.start for span in misaligned)])
        stop = max([words[last - 1][1], *(span.end for span in misaligned)])
    return Sentence(
        words=tuple(example.text[start:end] for start, end in words[first:last]),
        offsets=tuple((start - begin, end - begin) for start, end in words[first:last]),
        spans=tuple(Span(span.start - first, span.end - first, span.label) for span in kept),
        unknown=tuple(
            (start - first, end - first) for start, end in sorter.unknown_within(first, last)
        ),
        misaligned=tuple(
            Span(span.start - begin, span.end - begin, span.label) for span in misaligned
        ),
        corpus=corpus,
        text=example.text[begin:stop],
        path=example.path,
        line=example.line,
    )


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return sorted, distinct numbers as half-open ranges: 2 3 4 7 gives (2, 5) and (7, 8)."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs


class MisalignedReport:
    """What `on_misaligned` heard in the course of reading."""

    def __init__(self, n_spans: int = 0, listed: list[Misaligned] | None = None) -> None:
        self.n_spans = n_spans
        self.listed = listed or []
        """The first, a hundred thousand at most."""

    def add(self, span: Misaligned) -> None:
        """Take note of a span."""
        self.n_spans += 1
        if len(self.listed) < _MOST_LISTED:
            self.listed.append(span)

    def __str__(self) -> str:
        """Return a line for each, and one for those that are not listed."""
        lines = [*map(str, self.listed)]
        if len(self.listed) < self.n_spans:
            lines.append(f"... and {self.n_spans - len(self.listed):,} more")
        return "".join(f"{line}\n" for line in lines)

    def as_json(self) -> dict[str, Any]:
        """For `from_json`."""
        return {"n_spans": self.n_spans, "listed": [asdict(each) for each in self.listed]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "MisalignedReport":
        """Return the report of which `as_json` gave this."""
        return cls(value["n_spans"], [Misaligned(**each) for each in value["listed"]])
