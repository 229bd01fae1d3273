"""Layout: where lines, gaps and marks of a text end a sentence.

**Lines.** Whether a line break ends a sentence depends on the document's habit. A program that
wraps text puts a word into a line while it fits into the width `W`, so every line break of its
making satisfies

    length of the line <= W <= length of the line + length of the next line's first word

(greedy wrapping; up to a tenth more is allowed for programs that aim below the width, as GNU `fmt`
does at 93 %). Each open line break (one not behind a stop nor before a list's mark) so gives an
interval, and `W` is where most intervals overlap. The document is hard-wrapped where at least half
of its open breaks agree on `W`, and a fifth of these go on in lower case; or where all agree, and
so many upper-case words in a row are no surprise, as in German. In a hard-wrapped document a break
that agrees goes on with the sentence. In any other the break ends it, unless a lower-case letter
follows, or a hyphen is before it. One or two open breaks are too few to show a habit: these go on
where the next line is not longer than `W` would allow and the line has 40 characters or more, or a
name may lie across (`I spoke to Nora` / `Finch about it`); not where a word follows that often
begins a sentence.

Measured on paragraphs of EWT, GUM and GermEval, each wrapped at widths of 24 to 140 characters:
see `docs/training.md`.

**Gaps and marks.** A tab, a `|` beside white space, a box-drawing character, a rule such as
`-----`, and a gap of two spaces or more are borders. Not a gap behind a stop, which typists make;
and in justified text, where at least half of the gaps lie before a lower-case letter, only one of
four spaces or more.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from teddy.model.text.abbreviations import NAME_PARTICLES, STARTERS

LINE_BREAKS = "\n\r\x0b\x0c\x85\u2028\u2029"
_BREAK = re.compile(rf"[{LINE_BREAKS}]\s*+")
_FIRST_WORD = re.compile(r"(?:>\s?){0,9}(\S{1,30})")
_MARK = re.compile(r"(?:[-*+•·–—▪◦●■○‣∙►☐☑✓]|#{1,6}|\(?[a-z]\)|\(?\d{1,3}\)|(\d{1,3}\.))\s")  # noqa: RUF001 - the dashes are meant
_STOPS = frozenset(".!?:;…\u3002\uff01\uff1f")
_CONTINUERS = frozenset(",;:.)]}%")
_CLOSING = "\"')]}»\u2019\u201d"
_USUAL_WIDTH = 40
_HYPHENS = frozenset("-\u00ad\u2010")
_WIDEST = 100
_FEW = 2  # open breaks, which show no habit
_RARE = 0.01
_PROSE_CHARACTERS = 4000  # looked at to tell prose from a table

_GAP = re.compile(r"[^\S\n\r\x0b\x0c\x85\u2028\u2029\t]{2,}")
_FURNITURE = re.compile(r"[\t\u2500-\u257f]+|(?<!\S)\|+|\|+(?!\S)|(?<!\S)([-=_*~#+])\1{4,}(?!\S)")
_JUSTIFIED_GAP = 4
_BEFORE_TYPED_GAPS = frozenset(".!?:;,\"')")


class Offsets(NamedTuple):
    """Where the words of a text begin and end, in characters.

    Two lists of numbers: a list of pairs is an object for each word, and walking through them all
    cost the garbage collector an eighth of the time of tagging.
    """

    starts: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]]) -> "Offsets":
        """Make them from pairs, as `tokenise` returns them."""
        listed = list(pairs)
        return cls([start for start, _ in listed], [end for _, end in listed])


class _Break(NamedTuple):
    """A line break between two lines with words.

    `length`: of the line before, in characters. `next_start`: of the line behind. `following`: the
    first word there. `room`: the length of its first word, with a tenth of the line.
    """

    length: int
    end: int
    next_start: int
    following: int
    room: int


def line_borders(text: str, words: Offsets, *, every_line: bool = False) -> list[int]:
    """Return the words that begin a sentence because of a line break before them, in order.

    With `every_line` each first word of a line does. Linear in the text.
    """
    borders: list[int] = []
    breaks: list[_Break] = []
    n_words, starts = len(words.starts), words.starts
    line_start = following = 0
    for match in _BREAK.finditer(text):
        before, following = following, bisect_left(starts, match.end(), following)
        if following >= n_words:
            break
        space = match[0]
        is_blank = len(space) > 1 and _n_breaks(space) > 1
        if every_line or is_blank or before == following:
            borders.append(following)
        else:
            length = match.start() - line_start
            word = _FIRST_WORD.match(text, match.end())
            room = (0 if word is None else len(word[1])) + length // 10
            breaks.append(_Break(length, match.start(), match.end(), following, room))
        line_start = match.start() + max(map(space.rfind, LINE_BREAKS)) + 1
    return sorted({*borders, *_ending(text, words, breaks)} - {0})


def _n_breaks(space: str) -> int:
    return sum(map(space.count, LINE_BREAKS)) - space.count("\r\n")


def _ending(text: str, words: Offsets, breaks: Sequence[_Break]) -> Iterator[int]:
    """Yield the words behind those line breaks that end a sentence."""
    open_breaks = [
        each
        for each in breaks
        if text[each.end - 1 : each.end] not in _STOPS and not _MARK.match(text, each.next_start)
    ]
    width, is_wrapped, runs_on = _habit(text, open_breaks)
    is_few = len(open_breaks) <= _FEW
    for each in breaks:
        agrees = each.length <= width <= each.length + each.room
        mark = _MARK.match(text, each.next_start)
        first = _first_letter(text, each.next_start)
        if mark and not (mark[1] and agrees and is_wrapped and not _is_after_stop(text, each)):
            yield each.following
        elif first.islower() or first in _CONTINUERS or _is_hyphenated(text, each.end):
            continue
        elif is_wrapped:
            if not agrees:
                yield each.following
        elif first.isalpha() and not first.isupper():  # a script without cases
            if not _USUAL_WIDTH <= each.length <= _WIDEST:
                yield each.following
        elif not (is_few or runs_on) or not _may_go_on(text, words, each, runs_on):
            yield each.following


def _is_after_stop(text: str, each: _Break) -> bool:
    return text[each.end - 1 : each.end] in _STOPS


def _first_letter(text: str, start: int) -> str:
    """Return the first letter of a line, behind the marks of quoted mail; else what is there."""
    word = _FIRST_WORD.match(text, start)
    return "" if word is None else word[1][0]


def _habit(text: str, breaks: Sequence[_Break]) -> tuple[int, bool, bool]:
    """Return the width to which most lines agree, whether they are wrapped, and run on."""
    if not breaks:
        return -1, False, False
    changes: Counter[int] = Counter()
    for each in breaks:
        changes[each.length] += 1
        changes[each.length + each.room + 1] -= 1
    widths = sorted(changes)
    support = list(accumulate(map(changes.__getitem__, widths)))
    most = max(support)
    # Lines are as long as the room allows: of several widths the largest.
    width = max(each for each, n in zip(widths, support, strict=True) if n == most)
    lower = [
        each.length <= width <= each.length + each.room
        for each in breaks
        if _first_letter(text, each.next_start).islower()
    ]
    n_breaks = len(breaks)
    is_wrapped = 2 * most >= n_breaks and (
        5 * sum(lower) >= most
        or (most == n_breaks > _FEW and (sum(lower) > 0 or _may_all_be_upper(text, n_breaks)))
    )
    return width, is_wrapped, 4 * len(lower) >= n_breaks


def _may_all_be_upper(text: str, n_breaks: int) -> bool:
    """Tell whether the text is prose where so many words in a row may be upper case by chance.

    In German prose it is no surprise; in English they are the first words of verse.
    """
    inner = [word for line in text[:_PROSE_CHARACTERS].splitlines() for word in line.split()[1:]]
    upper = 1 - sum(word[0].islower() for word in inner) / max(1, len(inner))
    return bool(upper < 1 / 2 and upper**n_breaks > _RARE)


def _is_hyphenated(text: str, end: int) -> bool:
    """Tell whether a line ends in a hyphen behind a letter, as in `Baden-` / `Baden`."""
    return text[end - 1 : end] in _HYPHENS and text[end - 2 : end - 1].isalpha()


def _may_go_on(text: str, words: Offsets, each: _Break, runs_on: bool) -> bool:
    """Tell whether a line of prose goes on in upper case, where lines have no other habit.

    It does in a document whose lines often break off (`runs_on`), or where the next line would have
    fitted, only inside what may be a name; or where the line is as long as wrapped ones are.
    """
    starts, ends = words
    index = each.following
    line = text[max(0, each.end - each.length) : each.end].split()
    first = text[starts[index] : ends[index]]
    second = text[starts[index + 1] : ends[index + 1]] if index + 1 < len(starts) else "."
    n_lower = sum(word[0].islower() for word in line)
    if 2 * n_lower < len(line) or line[-1][-1] in _STOPS:
        return False
    next_break = _BREAK.search(text, each.next_start)
    next_length = (len(text) if next_break is None else next_break.start()) - each.next_start
    is_wide_enough = next_length <= each.length + each.room
    if is_wide_enough and not runs_on and each.length >= _USUAL_WIDTH:
        return first == "I" or first not in STARTERS
    return (
        (is_wide_enough or runs_on or line[0][0].islower())
        and len(line) > 2
        and (line[-1][0].isupper() or line[-1] in NAME_PARTICLES)
        and first[0].isupper()
        and first not in STARTERS
        and (second[0].islower() or second[0] in ",.;!?)'\u2019")
    )


def layout_borders(text: str, words: Offsets) -> list[int]:
    """Return the words that begin a sentence because a gap or a mark is before them, in order."""
    places: list[int] = []
    if "\t" in text or "|" in text or not text.isascii() or _has_rule(text):
        for match in _FURNITURE.finditer(text):
            places.append(match.end())
            if match[1]:
                places.append(match.start())
    if "  " in text:
        places += _gaps(text)
    starts = words.starts
    found = {bisect_left(starts, place) for place in places}
    return sorted(found - {0, len(starts)})


def _has_rule(text: str) -> bool:
    return any(rule in text for rule in ("-----", "=====", "_____", "*****", "~~~~~", "+++++"))


def _gaps(text: str) -> Iterator[int]:
    """Yield where gaps end that separate columns."""
    gaps = [
        match
        for match in _GAP.finditer(text)
        if match.end() < len(text)
        and text[match.end()] not in LINE_BREAKS
        and match.start()
        and text[match.start() - 1] not in LINE_BREAKS
    ]
    inside = [each for each in gaps if text[each.start() - 1] not in _BEFORE_TYPED_GAPS]
    n_lower = sum(text[each.end()].islower() for each in inside)
    narrowest = _JUSTIFIED_GAP if 2 * n_lower >= len(inside) else 2
    chosen = {each.end() for each in inside if each.end() - each.start() >= narrowest}
    yield from chosen
    yield from (each.end() for each in gaps if each.end() - each.start() >= _JUSTIFIED_GAP)
