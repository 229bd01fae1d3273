"""What every reader yields, and sentences as rows of tokens and tags."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.tags.spans import Span, read_tags
from teddy.model.text.words import Tokeniser
from teddy.training.recipe.corpus_config import OUTSIDE, FormatConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A sentence, or a document of several, as a corpus file gives it.

    Labels are those of the file.
    """

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
    """Number of its document within the file; where a format has only sentences, each is a document
    of its own."""


@dataclass(frozen=True, slots=True)
class Row:
    """One token, its tag, and the line of the file."""

    token: str
    tag: str
    line: int


Rows = Sequence[Row]
"""The rows of one sentence, at least one."""


def clean_row(path: Path, line: int, token: str, tag: str, options: FormatConfig) -> Row | None:
    """Return the row as the options read it, or None for a row that they leave out.

    Raises DataError for an empty token or an empty tag.
    """
    token = (re.sub(options.token_strip, "", token) if options.token_strip else token).strip()
    tag = OUTSIDE if tag in options.outside or options.spans == "tokens" else tag.strip()
    if not tag:
        raise DataError(path, line, "the tag is empty")
    if token:
        return Row(token, tag, line)
    if options.skip_empty_tokens and tag == OUTSIDE:
        return None
    raise DataError(
        path, line, "the token is empty (skip_empty_tokens leaves such rows out where the tag is O)"
    )


def to_examples(sentences: Iterable[Rows], path: Path, options: FormatConfig) -> Iterator[Example]:
    """Join tokens to texts and turn tags into spans of characters.

    Raises DataError, with the line of the row, for a tag that the scheme does not have.
    """
    for document, rows in enumerate(sentences):
        starts, ends, text = join_tokens([row.token for row in rows], options)
        word_spans = sentence_spans(rows, path, options)
        yield Example(
            text=text,
            spans=tuple(
                Span(starts[span.start], ends[span.end - 1], span.label) for span in word_spans
            ),
            span_lines=tuple(rows[span.start].line for span in word_spans),
            path=str(path),
            line=rows[0].line,
            is_sentence=True,
            document=document,
        )


def sentence_spans(rows: Rows, path: Path, options: FormatConfig) -> list[Span]:
    """Return the spans of a sentence in tokens: what the tags say, or each token for itself."""
    if options.spans == "tokens":
        return [Span(index, index + 1, options.token_label) for index in range(len(rows))]
    try:
        return read_tags([row.tag for row in rows], options.scheme)
    except ValueError:
        for row in rows:
            try:
                read_tags([row.tag], options.scheme)
            except ValueError:
                reason = f"bad tag {row.tag!r} for the scheme {options.scheme.value}"
                raise DataError(path, row.line, reason) from None
        raise


def join_tokens(tokens: Sequence[str], options: FormatConfig) -> tuple[list[int], list[int], str]:
    """Return where each token starts and ends in the joined text, and that text."""
    starts: list[int] = []
    ends: list[int] = []
    text = ""
    for token in tokens:
        if starts:
            text += options.join
            if options.keep_apart and not options.join and token and ends[-1] > starts[-1]:
                text += " " if _run_together(text[-1], token[0]) else ""
        starts.append(len(text))
        text += token
        ends.append(len(text))
    return starts, ends, text


@lru_cache(maxsize=4096)
def _run_together(last: str, first: str) -> bool:
    """Whether two characters that meet make one word."""
    return len(Tokeniser().offsets(last + first)) == 1
