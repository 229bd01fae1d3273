"""The texts in a document of some format, and where each of their characters stands in it.

    document --segments--> texts to tag --Segment.ranges--> places in the document to change

What is not text (names of keys, tags, marks, numbers) is in no segment, and so is never changed. A
document that is changed only at such places keeps every other byte.
"""

import html
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from teddy.model.errors import TeddyError
from teddy.service.redaction.markup import html_texts, markdown_texts
from teddy.service.redaction.pieces import Piece, pieces_of_html

FormatName = Literal["text", "json", "csv", "html", "markdown"]
FORMATS: tuple[str, ...] = get_args(FormatName)
Range = tuple[int, int]


class DocumentError(TeddyError):
    """A document that is not of the format it is said to be of. The message has none of it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A text of a document; its pieces, in order, say where its characters come from."""

    pieces: Sequence[Piece]
    _starts: Sequence[int] = field(default=(), repr=False)

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> "Segment":
        """Return the text that these pieces make."""
        starts, length = [], 0
        for piece in pieces:
            starts.append(length)
            length += len(piece.text)
        return cls(pieces, starts)

    @property
    def text(self) -> str:
        """The text as it is read."""
        return "".join(piece.text for piece in self.pieces)

    def ranges(self, start: int, end: int) -> list[Range]:
        """Return the ranges of the document that make `text[start:end]`, in order.

        There are several where marks stand between. A character that is written as several stays
        whole.
        """
        found: list[Range] = []
        for place in range(bisect_right(self._starts, start) - 1, len(self.pieces)):
            piece, begin = self.pieces[place], self._starts[place]
            if begin >= end:
                break
            first, last = piece.range(max(start - begin, 0), min(end - begin, len(piece.text)))
            if first == last:
                continue
            if found and found[-1][1] == first:
                found[-1] = found[-1][0], last
            else:
                found.append((first, last))
        return found


@dataclass(frozen=True, slots=True)
class Form:
    """A format: how texts are found in a document, and how a replacement is written in it.

    `token` finds what `Replacements.token` made, as it is written there: label and content.
    """

    segments: Callable[[str, Collection[str] | None], list[Segment]]
    escape: Callable[[str], str]
    token: re.Pattern[str]


def _of_text(content: str, _: Collection[str] | None) -> list[Segment]:
    return [Segment.of([Piece(content, 0, len(content))])]


_STRING = r'"(?:[^"\\\x00-\x1f]|\\.)*+"'
_JSON = re.compile(rf"(?P<string>{_STRING})(?P<key>\s*:)?|[{{}}\[\]]")
_IN_STRING = re.compile(
    r"[^\\]+|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\."
)


def _of_json(content: str, keys: Collection[str] | None) -> list[Segment]:
    """Return every string that is a value, or those of `keys`, also in lists under them."""
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        raise DocumentError("The text is not JSON.") from None
    segments: list[Segment] = []
    above: list[str | None] = []
    key: str | None = None
    for found in _JSON.finditer(content):
        mark = found[0]
        if mark in "{[":
            above.append(key)
        elif mark in "}]":
            key = above.pop()
        elif found["key"]:
            key = json.loads(found["string"])
        elif keys is None or key in keys:
            start = found.start() + 1
            pieces = [
                Piece(
                    each[0] if each[0][0] != "\\" else json.loads(f'"{each[0]}"'),
                    start + each.start(),
                    start + each.end(),
                )
                for each in _IN_STRING.finditer(found["string"][1:-1])
            ]
            segments.append(Segment.of(pieces))
    return segments


def _of_csv(content: str, columns: Collection[str] | None) -> list[Segment]:
    """Return every cell with a letter, or those of the columns that the first row names."""
    segments: list[Segment] = []
    wanted: set[int] | None = None
    for row, cells in enumerate(_rows(content)):
        if row == 0 and columns is not None:
            names = ["".join(piece.text for piece in cell).strip() for cell in cells]
            if missing := set(columns).difference(names):
                raise DocumentError(f"The first row has no column {min(missing)!r}.")
            wanted = {place for place, name in enumerate(names) if name in columns}
            continue
        for place, cell in enumerate(cells):
            if wanted is None or place in wanted:
                segments.append(Segment.of(cell))
    return [each for each in segments if any(map(str.isalpha, each.text))]


def _rows(content: str) -> Iterator[list[list[Piece]]]:
    """Yield the cells of each row (RFC 4180); a quote within an unquoted cell is a character."""
    head = content.partition("\n")[0]
    comma = max(",;\t|", key=head.count)
    plain = re.compile(rf"[^\r\n{re.escape(comma)}]*")
    quoted = re.compile(r'"((?:[^"]|"")*+)"?')
    place, cells = 0, []
    while place < len(content):
        if found := quoted.match(content, place):
            cells.append(_quoted_cell(content, found.start(1), found.end(1)))
            place = found.end()
            place = plain.match(content, place).end()  # type: ignore[union-attr]
        else:
            end = plain.match(content, place).end()  # type: ignore[union-attr]
            cells.append([Piece(content[place:end], place, end)])
            place = end
        if content.startswith(comma, place):
            place += 1
            continue
        yield cells
        cells = []
        place += 2 if content.startswith("\r\n", place) else 1
    if cells:
        yield cells


def _quoted_cell(content: str, start: int, end: int) -> list[Piece]:
    pieces = []
    for part in re.finditer(r'[^"]+|""', content[start:end]):
        text = '"' if part[0] == '""' else part[0]
        pieces.append(Piece(text, start + part.start(), start + part.end()))
    return pieces


def _of_html(content: str, _: Collection[str] | None) -> list[Segment]:
    return [Segment.of(pieces) for pieces in html_texts(content, pieces_of_html)]


def _of_markdown(content: str, _: Collection[str] | None) -> list[Segment]:
    return [Segment.of(markdown_texts(content))]


def _same(replacement: str) -> str:
    return replacement


def _in_markdown(replacement: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>()#|~!])", r"\\\1", replacement)


_PLAIN_TOKEN = re.compile(r"<([A-Za-z0-9_.-]+):([a-z2-7]{40,})>")
FORMS: dict[str, Form] = {
    "text": Form(_of_text, _same, _PLAIN_TOKEN),
    "json": Form(_of_json, _same, _PLAIN_TOKEN),
    "csv": Form(_of_csv, _same, _PLAIN_TOKEN),
    "html": Form(_of_html, html.escape, re.compile(r"&lt;([A-Za-z0-9_.-]+):([a-z2-7]{40,})&gt;")),
    "markdown": Form(
        _of_markdown,
        _in_markdown,
        re.compile(r"\\<((?:[A-Za-z0-9.-]|\\_)+):([a-z2-7]{40,})\\>"),
    ),
}
