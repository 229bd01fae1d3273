"""Texts with highlighted spans, as HTML: an excerpt cut into segments, each marked with all spans that cover it."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from teddy.model.spans import Span

_CONTEXT = 140  # characters to show on either side
_SLACK = 20  # by so many fewer, where that makes the excerpt begin and end between words


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text, and the roles of the spans that all of it lies in, such as `gold` and `predicted`."""

    text: str
    roles: tuple[str, ...]


def excerpt(text: str, spans: Mapping[str, Span | None]) -> list[Segment]:
    """Cut the surroundings of spans into segments; an ellipsis says where the text goes on.

    Args:
        text: of the sentence; control characters and lone surrogates, which no page may hold, become spaces.
        spans: by role, in characters of the text; at least one is not None.
    """
    there = {role: span for role, span in spans.items() if span is not None}
    start = _begin(text, min(span.start for span in there.values()))
    end = _end(text, max(span.end for span in there.values()))
    borders = sorted({start, end, *_borders(there.values())})
    clean = _printable(text)
    segments = [
        Segment(clean[begin:stop], tuple(role for role, span in there.items() if span.start <= begin < span.end))
        for begin, stop in pairwise(borders)
    ]
    before, after = [Segment("…", ())] * (start > 0), [Segment("…", ())] * (end < len(text))
    return [*before, *segments, *after]


def covered(text: str, span: Span) -> str:
    """Give the characters of a span, ready for a page."""
    return _printable(text)[span.start : span.end]


def _borders(spans: Iterable[Span]) -> set[int]:
    return {border for span in spans for border in (span.start, span.end)}


def _begin(text: str, first: int) -> int:
    start = first - _CONTEXT
    if start <= 0:
        return 0
    space = text.find(" ", start, min(start + _SLACK, first))
    return space + 1 if space >= 0 else start


def _end(text: str, last: int) -> int:
    end = last + _CONTEXT
    if end >= len(text):
        return len(text)
    space = text.rfind(" ", max(end - _SLACK, last), end)
    return space if space >= 0 else end


def _printable(text: str) -> str:
    """Keep every character in its place; joiners and direction marks, which scripts need, stay as they are."""
    return "".join(" " if unicodedata.category(character) in ("Cc", "Cs") else character for character in text)
