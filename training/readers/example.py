"""What every reader yields: a text with the spans that somebody marked in it."""

from dataclasses import dataclass

from teddy.model.spans import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A sentence, or a document of several, as a corpus file gives it. Labels are those of the file."""

    text: str
    spans: tuple[Span, ...]
    """In characters of `text`."""
    span_lines: tuple[int, ...]
    """For each span, the line of the file on which it begins."""
    path: str
    line: int
    """On which the example begins, counted from 1."""
    is_sentence: bool
    """Whether the file says that this is one sentence; otherwise the text is split."""
    document: int
    """Number of its document within the file; where a format has only sentences, each is a document of its own."""
