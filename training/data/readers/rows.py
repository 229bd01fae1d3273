"""What every reader yields, and sentences as rows of tokens and tags."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError
from teddy.model.tags.spans import Scheme, Span, read_tags
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
    tokens: tuple[tuple[int, int], ...] = ()
    """Of the file, in characters of `text`; none where the format has only texts."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What else the record says, in JSON's types."""

    def with_spans(self, spans: Sequence[Span]) -> "Example":
        """Return the example with some of its spans."""
        lines = dict(zip(self.spans, self.span_lines, strict=True))
        return replace(self, spans=tuple(spans), span_lines=tuple(lines[each] for each in spans))


@dataclass(frozen=True, slots=True)
class Row:
    """One token, its tag, and the line of the file."""

    token: str
    tag: str
    line: int
    is_bare: bool = False
    """Whether the file gives the tag no label."""


_PREFIXES = frozenset("BIESMLUW")
_ONLY_LABEL = "ENTITY"
"""Where there is one label, and tags leave it out."""
NO_VALUE = (OUTSIDE, "_", "")
"""What a column of values has for a token without one."""
Rows = Sequence[Row]
"""The rows of one sentence, at least one."""


def clean_row(path: Path, line: int, token: str, tag: str, options: FormatConfig) -> Row | None:
    """Return the row as the options read it, or None for a row that they leave out.

    Raises DataError for an empty token or an empty tag.
    """
    token = (re.sub(options.token_strip, "", token) if options.token_strip else token).strip()
    is_bare = False
    tag = OUTSIDE if tag in options.outside or options.spans == "tokens" else tag.strip()
    if options.scheme is not Scheme.PLAIN and options.spans != "values":
        is_bare, tag = tag in _PREFIXES, spelt_out(tag)
    if not tag:
        cure = 'want O outside of entities, or outside = [""]'
        raise DataError(path, line, f"the tag is empty; {cure}")
    if token:
        return Row(token, tag, line, is_bare)
    if options.skip_empty_tokens and tag == OUTSIDE:
        return None
    raise DataError(
        path, line, "the token is empty (skip_empty_tokens leaves such rows out where the tag is O)"
    )


def spelt_out(tag: str) -> str:
    """Return `B-PER` for `PER-B`, and `B-ENTITY` for a mere `B`."""
    if tag[-1:] not in _PREFIXES or (tag[1:] and (tag[-2] != "-" or tag[1] == "-")):
        return tag
    return f"{tag[-1]}-{tag[:-2] or _ONLY_LABEL}"


def to_examples(sentences: Iterable[Rows], path: Path, options: FormatConfig) -> Iterator[Example]:
    """Join tokens to texts and turn tags into spans of characters.

    Raises DataError, with the line of the row, for a tag that the scheme does not have.
    """
    kinds: dict[bool, Row] = {}
    for document, rows in enumerate(sentences):
        for row in rows:
            if row.tag != OUTSIDE and kinds.setdefault(row.is_bare, row) is row and len(kinds) > 1:
                bare, full = kinds[True], kinds[False]
                other = f"{full.tag!r} on line {full.line} has one: write it on both"
                reason = f"the tag {bare.tag[0]!r} has no label, and {other}"
                raise DataError(path, bare.line, reason)
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
            tokens=tuple(zip(starts, ends, strict=True)),
        )


def sentence_spans(rows: Rows, path: Path, options: FormatConfig) -> list[Span]:
    """Return the spans of a sentence in tokens: what the tags say, or each token for itself."""
    if options.spans == "tokens":
        return [Span(index, index + 1, options.token_label) for index in range(len(rows))]
    if options.spans == "values":
        labelled = ((place, row.tag) for place, row in enumerate(rows))
        return [Span(place, place + 1, tag) for place, tag in labelled if tag not in NO_VALUE]
    try:
        return read_tags([row.tag for row in rows], options.tag_scheme)
    except ValueError:
        for row in rows:
            try:
                read_tags([row.tag], options.tag_scheme)
            except ValueError:
                reason = f"bad tag {row.tag!r} for the scheme {options.tag_scheme}{_cure(row.tag)}"
                raise DataError(path, row.line, reason) from None
        raise


def _cure(tag: str) -> str:
    """Return what helps against a bad tag, where its form says it."""
    if tag[:2] in ("L-", "U-"):
        return '; set scheme = "biluo"'
    if tag[:2] in ("E-", "S-"):
        return '; set scheme = "bioes"'
    if tag[:1] == "(" or tag.startswith("*"):
        return '; set scheme = "brackets"'
    if tag.isdecimal():
        return '; name what the numbers mean: tag_names = ["O", "B-PER", "I-PER"]'
    if tag[1:2] in ("_", ":", "/"):
        return f"; write {tag[0]}-{tag[2:]}"
    want = "want O or B-LABEL and I-LABEL"
    return f'; {want}, or set scheme = "plain" if labels have no prefix'


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
