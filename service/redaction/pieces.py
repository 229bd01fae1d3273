"""A stretch of a document as it is read: plain characters, or one that is written as several."""

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

_ENTITY = re.compile(r"&(?:#[0-9]{1,8}|#[xX][0-9a-fA-F]{1,8}|[A-Za-z][A-Za-z0-9]{0,31});?|[^&]+|&")


class Piece(NamedTuple):
    """`text`, which the document has at `[start, end)`.

    As many characters in both: each is at its place. Otherwise it can only be changed as a whole.
    An empty range is a mark of ours, such as the gap between two cells.
    """

    text: str
    start: int
    end: int

    def range(self, first: int, last: int) -> tuple[int, int]:
        """Return where `text[first:last]` is written."""
        if self.end - self.start == len(self.text):
            return self.start + first, self.start + last
        return self.start, self.end


def pieces_of_html(content: str, start: int, end: int) -> Iterator[Piece]:
    """Yield the pieces of a stretch of HTML without tags; line breaks are spaces there."""
    for found in _ENTITY.finditer(content, start, end):
        text = found[0]
        if text[0] == "&" and len(text) > 1:
            text = html.unescape(text)
        yield Piece(re.sub(r"[\r\n]", " ", text), found.start(), found.end())
