"""The texts between the marks of HTML and Markdown. What is malformed is read as far as it goes."""

import re
from collections.abc import Callable, Iterator

from teddy.service.redaction.pieces import Piece, pieces_of_html

_INLINE = frozenset(
    [
        "a",
        "abbr",
        "acronym",
        "b",
        "bdi",
        "bdo",
        "big",
        "cite",
        "code",
        "data",
        "dfn",
        "em",
        "font",
        "i",
        "ins",
        "kbd",
        "label",
        "mark",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "sup",
        "time",
        "tt",
        "u",
        "var",
        "wbr",
    ]
)
"""Tags that may stand within a name; at all others a text ends."""
_OPAQUE = ("script", "style")
_NAME = re.compile(r"/?([A-Za-z][A-Za-z0-9:-]*)")
_ATTRIBUTE = re.compile(
    r"""\s(?:alt|title|placeholder|aria-label|content|value|summary)\s*=\s*("[^"]*"|'[^']*')""",
    re.IGNORECASE,
)
Read = Callable[[str, int, int], Iterator[Piece]]


def html_texts(content: str, read: Read) -> Iterator[list[Piece]]:
    """Yield the pieces of each text: runs of characters and inline tags, and some attributes."""
    pieces: list[Piece] = []
    place, ends = 0, _TagEnds(content)
    while place < len(content):
        begin = content.find("<", place)
        begin = len(content) if begin < 0 else begin
        pieces += read(content, place, begin)
        if begin == len(content):
            break
        name = _NAME.match(content, begin + 1)
        end = ends.after(begin + 1) if name or content.startswith(("!", "?"), begin + 1) else None
        if end is None:  # a mere "<"
            pieces.append(Piece("<", begin, begin + 1))
            place = begin + 1
            continue
        tag = name[1].lower() if name else "!"
        if tag not in _INLINE and tag != "!":
            yield pieces
            pieces = []
        for found in _ATTRIBUTE.finditer(content, begin, end) if name else ():
            yield list(read(content, found.start(1) + 1, found.end(1) - 1))
        place = end
        if tag in _OPAQUE and content[begin + 1] != "/":
            closing = re.compile(f"</{tag}", re.IGNORECASE).search(content, end)
            place = closing.start() if closing else len(content)
    yield pieces


class _TagEnds:
    """Where tags end, in time linear in the document, however many are never closed."""

    def __init__(self, content: str) -> None:
        self._content = content
        self._unclosed = {">": len(content) + 1, "-->": len(content) + 1}

    def after(self, begin: int) -> int | None:
        """Return the place behind the tag or comment whose inside begins there; None for no end."""
        if self._content.startswith("!--", begin):
            return self._find("-->", begin)
        place = begin
        while (end := self._find(">", place)) is not None:
            inside = self._content[place : end - 1]
            quote = re.search(r"=\s*([\"'])", inside)
            if quote is None:
                return end
            # a quoted value may have a ">" in it
            closing = self._content.find(quote[1], place + quote.end())
            if closing < 0:
                return end
            place = closing + 1
        return None

    def _find(self, mark: str, begin: int) -> int | None:
        if begin >= self._unclosed[mark]:
            return None
        found = self._content.find(mark, begin)
        if found < 0:
            self._unclosed[mark] = begin
            return None
        return found + len(mark)


_MARKDOWN = re.compile(
    r"""
      (?P<escape>\\[!-/:-@\[-`{-~])
    | (?P<entity>&(?:\#[0-9]{1,8}|\#[xX][0-9a-fA-F]{1,8}|[A-Za-z][A-Za-z0-9]{0,31});)
    | (?P<gap>\|)
    | (?P<mark>
        ^[ \t]{0,3}\[[^\]\n]{1,200}\]:[^\n]*            # a link's address by name
      | ^[ \t]*(?:\#{1,6}|>|[-+*]|[0-9]{1,9}[.)])[ \t]+ # a heading, quotation or list
      | ^[ \t]{0,3}(?:`{3,}|~{3,})[^\n]*                # a fence of code
      | </?[A-Za-z][^<>\n]{0,1000}>                     # a tag, or an address in angle brackets
      | \]\([^()\n]*\) | \]\[[^\[\]\n]*\] | !?\[ | \]   # a link or picture
      | [*~`]+ | (?<!\w)_+ | _+(?!\w)                   # emphasis and code
      )
    | (?P<text>[^\\&|\[\]!<*~`_\n]+|.|\n)
    """,
    re.VERBOSE | re.MULTILINE,
)


def markdown_texts(content: str) -> list[Piece]:
    """Return the pieces of a document of Markdown, as one text."""
    pieces: list[Piece] = []
    for found in _MARKDOWN.finditer(content):
        start, end = found.span()
        match found.lastgroup:
            case "escape":
                pieces.append(Piece(found[0][1], start, end))
            case "entity":
                pieces += pieces_of_html(content, start, end)
            case "gap":
                pieces.append(Piece("\n\n", start, start))
            case "text":
                pieces.append(Piece(found[0], start, end))
    return pieces
