"""Spans that do not begin and end where words do: fitted as `misaligned` says, counted, refused."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.tags.spans import Span
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import OFF_BORDERS, Misaligned, OnMisaligned
from teddy.training.data.readers import Example, read_examples
from teddy.training.recipe.corpus_config import CorpusConfig, FormatConfig

_MOST_LOST = 0.05
"""Of the spans of a corpus: more is another offset unit, or another text, rather than mistakes."""
_FEW = 3
"""Lost spans that are mistakes, even where they are many for a small corpus."""


def is_too_many(n_lost: int, n_spans: int) -> bool:
    """Whether so many of the spans are lost that their corpus must be misread."""
    return n_lost > max(_FEW, n_spans * _MOST_LOST)


class SpanFitter:
    """Reads the examples of a corpus, fits their spans, and counts those that are lost."""

    def __init__(
        self, config: CorpusConfig, tokeniser: Tokeniser, on_misaligned: OnMisaligned
    ) -> None:
        self._config, self._tokeniser = config, tokeniser
        self._on_misaligned = on_misaligned
        self._n_spans = self._n_lost = 0
        self._first: Misaligned | None = None

    def read(self, path: Path) -> Iterator[Example]:
        """Yield the examples of a file with fitted spans. Raises DataError."""
        for example in read_examples(path, self._config):
            self._n_spans += len(example.spans)
            yield fit(example, self._config, self._tokeniser, self._on_misaligned)

    def add(self, item: Misaligned) -> None:
        """Count a span that words cannot express. Raises DataError where the corpus refuses it."""
        if item.reason == OFF_BORDERS:
            if self._config.misaligned == "refuse":
                cure = 'correct it, or set misaligned = "trim", "expand" or "contract"'
                raise DataError(item.path, item.line, f"{item.about}; {cure}")
            self._n_lost += 1
            self._first = self._first or item
        self._on_misaligned(item)

    def check(self) -> None:
        """Raise DataError if so many spans to train on are lost that the corpus must be misread."""
        too_many = is_too_many(self._n_lost, self._n_spans)
        if self._first and too_many and self._config.train and self._config.misaligned != "drop":
            lost = f"{self._n_lost:,} of {self._n_spans:,} spans of {self._config.name!r} are lost"
            cure = 'check offset_unit, or set misaligned = "expand", "contract" or "drop"'
            reason = f"{lost}, this one first: {self._first.about}; {cure}"
            raise DataError(self._first.path, self._first.line, reason)


def fit(
    example: Example, options: FormatConfig, tokeniser: Tokeniser, on_misaligned: OnMisaligned
) -> Example:
    """Return an example whose spans begin and end where words do, as far as `misaligned` allows.

    What is changed is reported, and is not lost. `drop` and `refuse` change nothing.
    """
    how, text = options.misaligned, example.text
    if how in ("drop", "refuse") or not example.spans:
        return example
    words = tokeniser.offsets(text) if how in ("expand", "contract") else ()
    spans = []
    for span, line in zip(example.spans, example.span_lines, strict=True):
        start, end = span.start, span.end
        if how == "trim":
            surface = text[start:end]
            if surface[0].isspace() or surface[-1].isspace():
                end = start + len(surface.rstrip())
                start += len(surface) - len(surface.lstrip())
        else:
            start, end = _nearest(words, start, end, inside=how == "contract")
        if start >= end:  # nothing is left: `align` reports it as lost
            start, end = span.start, span.end
        elif (start, end) != (span.start, span.end):
            reason = f"is read as {text[start:end]!r} ({how})"
            surface = text[span.start : span.end]
            on_misaligned(
                Misaligned(example.path, line, surface, span.label, reason, is_lost=False)
            )
        spans.append(Span(start, end, span.label))
    return replace(example, spans=tuple(spans))


def _nearest(
    words: Sequence[tuple[int, int]], start: int, end: int, *, inside: bool
) -> tuple[int, int]:
    """Return the borders of the words that a span touches, or of those inside it."""
    if inside:
        first = bisect_left(words, start, key=lambda word: word[0])
        last = bisect_right(words, end, key=lambda word: word[1])
    else:
        first = bisect_right(words, start, key=lambda word: word[1])
        last = bisect_left(words, end, key=lambda word: word[0])
    return (words[first][0], words[last - 1][1]) if first < last else (0, 0)
