"""What looks wrong in texts and their spans as the files have them, before they are divided into words."""

import re
from collections.abc import Iterator, Sequence

from teddy.model.sentences import Offsets, split_sentences
from teddy.model.text import tokenise
from teddy.training.check.kinds import Kind
from teddy.training.check.report import Finding, Marked
from teddy.training.readers import Example

_ENDS = re.compile(r"[.!?。！？]")  # noqa: RUF001
"""Where there is none, no sentence ends inside a span."""


def white_space(examples: Sequence[Example]) -> Iterator[Finding]:
    """Spans that begin or end with white space; a span of nothing else comes first."""
    for example in examples:
        for span, line in zip(example.spans, example.span_lines, strict=True):
            surface = example.text[span.start : span.end]
            if surface != surface.strip():
                yield Finding(
                    kind=Kind.WHITE_SPACE,
                    path=example.path,
                    line=line,
                    message=f"{span.label} {surface!r}",
                    weight=1.0 if surface.strip() else 2.0,
                )


def crossing(examples: Sequence[Example]) -> Iterator[Finding]:
    """Entities of documents that reach over the end of a sentence, as the splitter sees it."""
    for example in examples:
        suspects = [
            (span, line)
            for span, line in zip(example.spans, example.span_lines, strict=True)
            if _ENDS.search(example.text, span.start, span.end)
        ]
        if example.is_sentence or not suspects:
            continue
        words = tokenise(example.text)
        begins = [words[first][0] for first, last in split_sentences(example.text, Offsets.of(words)) if first < last]
        for span, line in suspects:
            if any(span.start < begin < span.end for begin in begins):
                yield Finding(
                    kind=Kind.CROSSING,
                    path=example.path,
                    line=line,
                    message=f"{span.label} {example.text[span.start : span.end]!r}",
                    weight=float(span.end - span.start),
                    text=example.text,
                    given=Marked(start=span.start, end=span.end, label=span.label),
                )


def empty_examples(examples: Sequence[Example]) -> Iterator[Finding]:
    """Documents, or rows of a table of texts, without a word."""
    for example in examples:
        if not tokenise(example.text):
            yield Finding(kind=Kind.EMPTY, path=example.path, line=example.line, message=f"{example.text[:40]!r}")
