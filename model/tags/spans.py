"""Entities as spans, and the tag schemes in which corpora write them.

A span is half-open; the name of the variable that holds it says whether it counts words or
characters. Only this file knows how a scheme spells a span; elsewhere in Teddy are spans or BIOES.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A labelled stretch `[start, end)`; sorts by start, then end, then label."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Hint:
    """A weight, in log-odds, on the words `[start, end)` being an entity with this label."""

    start: int
    end: int
    label: str
    weight: float


class Scheme(StrEnum):
    """How a sequence of tags spells spans.

    - `IO`: every word of an entity is `I-`; two neighbours with one label cannot be told apart.
    - `IOB1`: `I-`, and `B-` only where an entity follows another of the same label.
    - `BIO` (IOB2): `B-` on the first word, `I-` on the others.
    - `BIOES`: `S-` on an entity of one word; else `B-`, any number of `I-`, `E-`.
    - `BMES`, `BILUO`, `BMEWO`: BIOES with other letters for `I-`, `E-` and `S-`.
    - `PLAIN`: the label alone on every word, as `IO` without its `I-`.
    - `BRACKETS`: `(PER*` on the first word, `*` on the others and outside, `*)` on the last;
      `(PER)` and `(PER*)` on an only one.
    """

    IO = "io"
    IOB1 = "iob1"
    BIO = "bio"
    BIOES = "bioes"
    BMES = "bmes"
    BILUO = "biluo"
    BMEWO = "bmewo"
    PLAIN = "plain"
    BRACKETS = "brackets"


_PREFIXES = {
    Scheme.IO: "I",
    Scheme.IOB1: "BI",
    Scheme.BIO: "BI",
    Scheme.BIOES: "BIES",
    Scheme.BMES: "BMES",
    Scheme.BILUO: "BILU",
    Scheme.BMEWO: "BMEW",
}
"""In the order first, inside, last, only word, where a scheme has four."""
_BRACKETS = re.compile(r"(?:\(([^()*]+))?(?:\*|(?=\)))(\))?")


def read_tags(tags: Sequence[str], scheme: Scheme) -> list[Span]:
    """Read the spans, in words, that a sequence of tags spells; they come in order and disjoint.

    A sequence that the scheme forbids is repaired by the rule of the CoNLL scorer `conlleval`, so
    that no tagged word is lost. An entity begins at every word that is not `O` and is tagged `B-`
    or `S-`, or follows `O`, `E-`, `S-`, another label or the start of the sequence; it runs to the
    next word that is `O` or begins an entity.

    Raises ValueError when a tag is neither `O` nor a prefix of the scheme, `-` and a label.
    """
    if scheme is Scheme.BRACKETS:
        return _read_brackets(tags)
    prefixes = _PREFIXES.get(scheme, "")
    lasts = prefixes[2:] or "-"
    spans: list[Span] = []
    start = 0
    open_label = ""  # the label of the entity that the word before belongs to; empty outside
    previous_prefix = "O"
    for position, tag in enumerate(tags):
        prefix, label = _split_tag(tag, prefixes, scheme)
        begins = prefix in ("B", prefixes[3:]) or previous_prefix in lasts or label != open_label
        if begins or not label:
            if open_label:
                spans.append(Span(start, position, open_label))
            start = position
        open_label, previous_prefix = label, prefix
    if open_label:
        spans.append(Span(start, len(tags), open_label))
    return spans


def write_tags(spans: Iterable[Span], n_words: int, scheme: Scheme) -> list[str]:
    """Write spans, in words and in any order, as one tag per word.

    Raises ValueError when a span is empty, has no label, overlaps another, or lies outside the
    words.
    """
    tags = ["*" if scheme is Scheme.BRACKETS else "O"] * n_words
    before: Span | None = None
    for span in sorted(spans):
        if not 0 <= span.start < span.end <= n_words or not span.label:
            raise ValueError(f"{span} is not a labelled stretch of {n_words} words")
        if before is not None and span.start < before.end:
            raise ValueError(f"{before} and {span} overlap; a sequence of tags cannot say so")
        follows_like = before is not None and (before.end, before.label) == (span.start, span.label)
        tags[span.start : span.end] = _spell(span, scheme, follows_like=follows_like)
        before = span
    return tags


def disjoint(spans: Sequence[Span], weights: Sequence[float]) -> list[int]:
    """Return the positions of spans that do not overlap and whose weights have the largest sum.

    It is exact (weighted interval scheduling; Kleinberg & Tardos 2006, section 6.1). The spans, in
    any order, are not empty, and each has a weight above 0; the positions are in the order of the
    spans' starts.
    """
    order = sorted(range(len(spans)), key=lambda place: (spans[place].end, spans[place].start))
    ends = [spans[place].end for place in order]
    before: list[int] = []  # how many of the spans, by their ends, are over when each begins
    best = [0.0]  # of the first so many spans
    for n, place in enumerate(order):
        before.append(bisect_right(ends, spans[place].start, 0, n))
        best.append(max(best[n], best[before[n]] + weights[place]))
    chosen: list[int] = []
    n = len(order)
    while n:
        if best[n] > best[n - 1]:
            chosen.append(order[n - 1])
            n = before[n - 1]
        else:
            n -= 1
    return chosen[::-1]


def _read_brackets(tags: Sequence[str]) -> list[Span]:
    """Read `(PER*`, `*` and `*)`; a start ends what is open, a mere end says nothing."""
    spans: list[Span] = []
    start, label = 0, ""
    for position, tag in enumerate([*tags, "(end*"]):
        found = _BRACKETS.fullmatch(tag)
        if found is None:
            raise ValueError(f"{tag!r} is not a tag of the scheme brackets: (LABEL*, * or *)")
        if found[1]:
            if label:
                spans.append(Span(start, position, label))
            start, label = position, found[1]
        if found[2] and label:
            spans.append(Span(start, position + 1, label))
            label = ""
    return spans


def _split_tag(tag: str, prefixes: str, scheme: Scheme) -> tuple[str, str]:
    """Split `B-creative-work` into `B` and `creative-work`, and `O` into `O` and nothing."""
    if tag == "O":
        return "O", ""
    if scheme is Scheme.PLAIN and tag:
        return "I", tag
    prefix, _, label = tag.partition("-")
    if len(prefix) != 1 or prefix not in prefixes or not label:
        raise ValueError(
            f"{tag!r} is not a tag of the scheme {scheme}: "
            f"O, or one of {', '.join(prefixes)} and -LABEL"
        )
    return prefix, label


def _spell(span: Span, scheme: Scheme, *, follows_like: bool) -> list[str]:
    """Return the tags of the words of an entity; `follows_like`: one of its label touches it."""
    n_words, label = span.end - span.start, span.label
    if scheme is Scheme.PLAIN:
        return [label] * n_words
    if scheme is Scheme.BRACKETS:
        tags = [f"({label}*", *["*"] * (n_words - 1)]
        return [*tags[:-1], f"{tags[-1]})"]
    prefixes = _PREFIXES[scheme]
    if scheme is Scheme.IO:
        spelt = "I" * n_words
    elif scheme is Scheme.IOB1:
        spelt = ("B" if follows_like else "I") + "I" * (n_words - 1)
    elif scheme is Scheme.BIO:
        spelt = "B" + "I" * (n_words - 1)
    elif n_words == 1:
        spelt = prefixes[3]
    else:
        spelt = "B" + prefixes[1] * (n_words - 2) + prefixes[2]
    return [f"{prefix}-{label}" for prefix in spelt]
