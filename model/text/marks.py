"""Entities marked in their text, as HTML: for notebooks, files, and where the page is copied.

A mark has the colour of its label, the stronger the higher the score, and the label behind it. The
page of the service makes the same marks (`service/page/marks.js`); a test compares the two.
"""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import accumulate
from typing import Protocol

PALETTE = (
    ("#b0d9ff", "#154d8c"),
    ("#fdcb9b", "#783b00"),
    ("#a9e7be", "#005f2e"),
    ("#f3c3f5", "#6c3270"),
    ("#8fe7ec", "#005f67"),
    ("#deda98", "#584f00"),
    ("#ffc0bd", "#822b2e"),
    ("#d4cdff", "#4e3e89"),
    ("#c3e2a7", "#365900"),
    ("#ffc0e3", "#782c5c"),
)
"""A ground and an ink for each colour: light enough, and dark enough, to be read at any score."""
COLOURS = {
    "PER": 0,
    "PERSON": 0,
    "ORG": 1,
    "ORGANIZATION": 1,
    "LOC": 2,
    "LOCATION": 2,
    "GPE": 2,
    "MISC": 3,
    "DATE": 4,
    "TIME": 4,
    "MONEY": 5,
    "EVENT": 6,
    "PRODUCT": 7,
    "FAC": 8,
    "NORP": 9,
}
"""Labels that nearly every model has keep one colour; others get one by their name."""
WEAKEST = 0.3
"""The strength of a colour at score 0, so that every mark can be seen; at score 1 it is 1."""
NO_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")

_BLOCK = (
    "white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext;text-align:start;"
    "line-height:1.9"
)
_MARK = "color:#1c1b19;border-radius:4px;padding:2px 4px;unicode-bidi:isolate"
_LABEL = (
    "font:600 .65em system-ui,sans-serif;letter-spacing:.03em;margin-inline-start:.4em;"
    "unicode-bidi:isolate"
)
PAGE_START = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Entities</title>
<style>
:root { color-scheme: light dark }
body { font: 18px Georgia, serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem }
body > div { margin-block: 1.2rem }
</style>
<body>
"""
"""What stands before the marked texts in a page of their own."""


class Marked(Protocol):
    """What is marked: a labelled stretch of a text, with its probability."""

    @property
    def start(self) -> int:
        """The first character."""
        ...

    @property
    def end(self) -> int:
        """The character behind the last."""
        ...

    @property
    def label(self) -> str:
        """The label."""
        ...

    @property
    def score(self) -> float:
        """The probability."""
        ...


def mark(text: str | Sequence[str], entities: Iterable[Marked]) -> str:
    """Return a text with its entities marked, as a piece of HTML that needs no style sheet.

    Of a text that is given as words, entities count words. They must be in order and disjoint.
    Everything of the text is escaped; a lone surrogate, which no file can hold, is replaced.
    """
    pieces = "".join(_pieces(*_in_characters(text, entities)))
    return f'<div style="{_BLOCK}">{pieces}</div>'


def colour_of(label: str) -> int:
    """Return the place of a label's colour in `PALETTE`: always the same for the same label."""
    digest = 0x811C9DC5  # FNV-1a, which JavaScript has no more of than Python
    for byte in label.encode("utf-8", "replace"):
        digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
    return COLOURS.get(label.upper(), digest % len(PALETTE))


def ground_of(label: str, score: float) -> str:
    """Return the colour behind an entity: that of its label, mixed with white by the score."""
    strength = WEAKEST + (1 - WEAKEST) * score
    full = bytes.fromhex(PALETTE[colour_of(label)][0][1:])
    return "#" + bytes(int(255 - (255 - part) * strength + 0.5) for part in full).hex()


def _in_characters(
    text: str | Sequence[str], entities: Iterable[Marked]
) -> tuple[str, Iterator[tuple[int, int, Marked]]]:
    """Return a text as a string, and its entities with their places in it."""
    if isinstance(text, str):
        return text, ((each.start, each.end, each) for each in entities)
    starts = [0, *accumulate(len(word) + 1 for word in text)]
    return " ".join(text), ((starts[each.start], starts[each.end] - 1, each) for each in entities)


def _pieces(text: str, placed: Iterable[tuple[int, int, Marked]]) -> Iterator[str]:
    done = 0
    for start, end, entity in placed:
        yield _escaped(text[done:start])
        _, ink = PALETTE[colour_of(entity.label)]
        yield f'<mark style="{_MARK};background:{ground_of(entity.label, entity.score)}" '
        yield f'title="{int(entity.score * 1000 + 0.5) / 1000:.3f}">{_escaped(text[start:end])}'
        yield f'<small style="{_LABEL};color:{ink}">{_escaped(entity.label)}</small></mark>'
        done = end
    yield _escaped(text[done:])


def _escaped(text: str) -> str:
    """Escape for HTML; a carriage return too, which a reader of HTML would make a newline."""
    return escape(text).replace("\r", "&#13;").translate(NO_SURROGATES)
