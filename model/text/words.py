"""Words: where they lie in a text, and what the network reads of each.

Training and serving both split here, so that a model meets the words it has learnt. A text is first
split at white space; what one chunk gives never depends on its neighbours, but for a user name
behind an `@` that stands apart, which ends where that of `@name` does. What a word is within a
chunk is said by the grammar of the model's version and language (`teddy.model.text.grammar`), and
in docs/words.md with examples.

Since version 2 a chunk is first read: character references of HTML become characters, and
characters that cannot be seen are left out. The words are those of what is left; their offsets are
where they stand in the text, so that an entity has all that is inside it.

Every character that is neither white space nor ignorable lies in exactly one word, but for
references that stand for such a character. Ignorable are control and format characters (NUL,
zero-width space, byte-order mark, directional marks, ...). Those that are not read through end a
word as a space does, but for the zero-width joiners in the middle of a word or an emoji.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from html import unescape
from html.entities import html5
from itertools import pairwise

from teddy.model.errors import TextError
from teddy.model.text.grammar import keeps_stop, word_pattern

TOKENISER_VERSION = 2
"""The newest version, which new models get; another for each change in how some text is split."""

READABLE_VERSIONS = range(1, TOKENISER_VERSION + 1)
"""The versions by which the words of a model file may be split."""

MAX_WORD_CHARACTERS = 100
"""A longer word is cut after every so many characters; nothing is dropped."""

Text = str | Sequence[str]
"""A text, or its words where they are given: then its offsets count words."""

_SHORT_CHUNK_CHARACTERS = 24
_CACHED_CHUNKS = 2**13  # about 3 MB

_INVISIBLE = "\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
"""Inside of `[...]`: soft hyphen, zero-width space and no-break space, word joiner, marks of
direction. Joiners that change how letters or emoji look are not among them."""
_REFERENCE = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
_hidden = re.compile(rf"(?P<reference>{_REFERENCE})|[{_INVISIBLE}]++")

_Word = tuple[int, int, str]
"""Where a word begins and ends in its chunk, and what the network reads."""


def check_text(text: str) -> None:
    """Raise TextError, which names the position, when the text holds a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code_point = ord(text[error.start])
        raise TextError(f"lone surrogate U+{code_point:04X} at character {error.start}") from None


def check_words(words: Sequence[str]) -> None:
    """Raise TextError, which names the position, for an empty word or a lone surrogate in one."""
    try:
        " ".join(words).encode()
    except UnicodeEncodeError:
        for position, word in enumerate(words):
            try:
                check_text(word)
            except TextError as error:
                raise TextError(f"{error} of word {position}") from None
    if not all(words):
        raise TextError(f"word {list(words).index('')} is empty: leave it out")


def n_characters(text: Text) -> int:
    """Return the length of a text; of words, the length with one space between each two."""
    if isinstance(text, str):
        return len(text)
    return sum(map(len, text)) + max(0, len(text) - 1)


@dataclass(frozen=True, slots=True)
class Tokeniser:
    """The rules by which text is split into words: a version, and a language for its clitics.

    `language` is a code such as `fr` or `pt-BR`. One without rules of its own gets those that all
    languages share; version 1 has no others.
    """

    version: int = TOKENISER_VERSION
    language: str = ""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Return half-open character offsets of a text's words, in order; see `split_words`."""
        starts, ends, _ = self.split_words(text)
        return list(zip(starts, ends, strict=True))

    def read(self, stretch: str) -> str:
        """Return what the network reads of a word that stands so in a text."""
        if self.version == 1 or not _hidden.search(stretch):
            return stretch
        return _read(stretch)[0]

    def split_words(self, text: str) -> tuple[list[int], list[int], list[str]]:
        """Return where each word begins, where it ends, and the word, in time linear in the text.

        Words are disjoint and in order; no word is empty or holds white space. Each is what `read`
        makes of its stretch of the text.
        """
        cut, cut_short, keeping_stop = _rules(self.version, self.language)
        starts: list[int] = []
        ends: list[int] = []
        words: list[str] = []
        chunks = text.split()
        # Where one space stands between chunks, as nearly everywhere, no search is needed.
        is_evenly_spaced = " ".join(chunks) == text
        end = -1
        for chunk in chunks:
            start = end + 1 if is_evenly_spaced else text.index(chunk, end + 1)
            size = len(chunk)
            end = start + size
            if size > _SHORT_CHUNK_CHARACTERS:
                found = cut(chunk)
            # Nine chunks in ten of English text are plain letters, perhaps with a comma or stop.
            elif chunk.isalpha() and chunk.isascii():
                starts.append(start)
                ends.append(end)
                words.append(chunk)
                continue
            elif (
                chunk[-1] in ",."
                and (stem := chunk[:-1]).isalpha()
                and stem.isascii()
                and stem not in keeping_stop
            ):
                starts += (start, end - 1)
                ends += (end - 1, end)
                words += (stem, chunk[-1])
                continue
            else:
                found = cut_short(chunk)
            if words and words[-1] == "@" and self.version > 1:
                found = _behind_at(cut, chunk)
            for first, last, word in found:
                starts.append(start + first)
                ends.append(start + last)
                words.append(word)
        return starts, ends, words


@cache
def _rules(
    version: int, language: str
) -> tuple[Callable[[str], Iterable[_Word]], Callable[[str], Iterable[_Word]], frozenset[str]]:
    """Return what splits a chunk, what does so for short ones and remembers them, and stems.

    The stems are those that keep their full stop.
    """
    pattern = word_pattern(version, language.casefold().partition("-")[0])

    def cut(chunk: str) -> Iterator[_Word]:
        """Yield the words of a text without white space, perhaps a whole document in Chinese."""
        if version == 1 or not _hidden.search(chunk):
            for start, end in _matches(pattern, chunk):
                for first in range(start, end, MAX_WORD_CHARACTERS):
                    last = min(end, first + MAX_WORD_CHARACTERS)
                    yield first, last, chunk[first:last]
            return
        plain, starts, ends = _read(chunk)
        for start, end in _matches(pattern, plain):
            first = start
            for last in range(start + 1, end + 1):
                # characters that are written at length count as they are written
                if last == end or ends[last] - starts[first] > MAX_WORD_CHARACTERS:
                    yield starts[first], ends[last - 1], plain[first:last]
                    first = last

    return cut, lru_cache(_CACHED_CHUNKS)(lambda chunk: tuple(cut(chunk))), keeps_stop(version)


def _behind_at(cut: Callable[[str], Iterable[_Word]], chunk: str) -> Iterator[_Word]:
    """Yield the words of a chunk behind an `@` that stands apart, as if it were joined to it."""
    for first, last, word in cut("@" + chunk):
        if last > 1:
            yield max(0, first - 1), last - 1, word[first == 0 :]


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(text):
        start, end = match.span()
        if match.lastgroup != "tag":
            yield start, end
            continue
        yield start, start + 1
        borders = [start + 1, *_borders_in_tag(text, start + 1, end), end]
        yield from pairwise(borders)


def _borders_in_tag(text: str, first: int, end: int) -> Iterator[int]:
    """Yield where the words of a hashtag meet: `New|York|City`, `Oslo|2024`, `TV|News`, `a|_|b`.

    One or two letters before a capital stay with it: `iPhone`, `McLaren`.
    """
    for place in range(first + 1, end):
        before, here = text[place - 1], text[place]
        if "_" in (before, here):
            is_border = before != here
        elif before.isdecimal() or here.isdecimal():
            is_border = here.isalnum() and before.isdecimal() != here.isdecimal()
        elif here.isupper() and before.islower():
            is_border = place - first > 2
        else:
            following = text[place + 1 : min(place + 2, end)]
            is_border = here.isupper() and before.isupper() and following.islower()
        if is_border:
            yield place
            first = place


def _read(chunk: str) -> tuple[str, list[int], list[int]]:
    """Return the characters that the network sees, and where each begins and ends in the chunk.

    A character reference of HTML is the character that it stands for; invisible characters are
    left out.
    """
    plain: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    end = 0
    for match in _hidden.finditer(chunk):
        meant = _referred(match[0]) if match["reference"] else ""
        if meant is None:
            continue
        before = range(end, match.start())
        plain.append(chunk[end : match.start()])
        starts += before
        ends += range(end + 1, match.start() + 1)
        end = match.end()
        visible = _hidden.sub("", meant)
        plain.append(visible)
        starts += [match.start()] * len(visible)
        ends += [end] * len(visible)
    plain.append(chunk[end:])
    starts += range(end, len(chunk))
    ends += range(end + 1, len(chunk) + 1)
    return "".join(plain), starts, ends


def _referred(reference: str) -> str | None:
    """Return the one character that a reference such as `&eacute;` or `&#233;` stands for."""
    meant = unescape(reference) if reference[1] == "#" else html5.get(reference[1:], "")
    return meant if len(meant) == 1 and meant != "\ufffd" else None
