"""Layout: where lines, gaps and marks of a text end a sentence.

**Lines.** Whether a line break ends a sentence depends on the document's habit. A program that
wraps text puts a word into a line while it fits into the width `W`, so every line break of its
making satisfies

    length of the line <= W <= length of the line + length of the next line's first word

(greedy wrapping; up to a tenth more is allowed for programs that aim below the width, as GNU `fmt`
does at 93 %). Each open line break (one not behind a stop nor before a list's mark) so gives an
interval. `W` is the length of the longest line if half of the intervals hold it, else where most
intervals overlap. The document is hard-wrapped where at least half of its open breaks agree on `W`,
and a fifth of these go on in lower case; or where all agree, and so many upper-case words in a row
are no surprise, as in German. In a hard-wrapped document a break that agrees goes on with the
sentence. In any other the break ends it, unless a lower-case letter follows, or a hyphen is before
it. Where a quarter of the lines goes on in lower case, a break inside what may be a name goes on
too (`I spoke to Nora` / `Finch about it`). A single open break shows no habit: it goes on in such a
name (surely one if a forename is before the break and none behind it), and where the next line is
not longer than `W` would allow and the line has 40 characters or more; not where a word follows
that often begins a sentence.

Measured on paragraphs of EWT, GUM and GermEval, each wrapped at widths of 24 to 140 characters:
see `docs/python.md`.

**Gaps and marks.** A tab, a `|` beside white space, a box-drawing character, a rule such as
`-----`, and a gap of two spaces or more are borders. Not a gap behind a stop, which typists make;
and in justified text, where at least half of the gaps lie before a lower-case letter, only one of
four spaces or more.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from teddy.model.text.abbreviations import FORENAMES, NAME_PARTICLES, STARTERS

LINE_BREAKS = "\n\r\x0b\x0c\x85\u2028\u2029"
_BREAK = re.compile(rf"[{LINE_BREAKS}]\s*+")
_QUOTED = re.compile(r"(?:>\s?){1,9}")
_BULLETS = "-*+•·–—▪◦●■○‣∙►☐☑✓"  # noqa: RUF001 - the dashes are meant
_MARK_STARTS = frozenset(f"{_BULLETS}#(0123456789")
_MARK = re.compile(rf"(?:[{re.escape(_BULLETS)}]|#{{1,6}}|\(?[a-z]\)|\(?\d{{1,3}}\)|\d{{1,3}}\.)\s")
_LONGEST_WORD = 30
_STOPS = frozenset(".!?:;…\u3002\uff01\uff1f")
_CONTINUERS = frozenset(",;:.)]}%")
_USUAL_WIDTH = 40
_HYPHENS = frozenset("-\u00ad\u2010")
_WIDEST = 100
_FEW = 1  # open breaks, which show no habit
_RARE = 0.03
_PROSE_CHARACTERS = 4000  # looked at to tell prose from a table

# not behind a stop, as typists have them, unless it is wide; not at a line's beginning
_GAP = re.compile(r"  (?:(?<![.!?:;,\"')\s]  )|(?<!\s  )  ) *+(?=\S)")
_CELL = re.compile(
    r"[\t|\u2500-\u257f](?:(?<=[\t\u2500-\u257f])[\t\u2500-\u257f]*+|(?<=\s\|)|(?<!.\|)|\|*+(?!\S))"
)
_RULE = re.compile(r"(?<!\S)([-=_*~#+])\1{4,}(?!\S)")
_JUSTIFIED_GAP = 4


class Offsets(NamedTuple):
    """Where the words of a text begin and end, in characters.

    Two lists of numbers: a list of pairs is an object for each word, and walking through them all
    cost the garbage collector an eighth of the time of tagging.
    """

    starts: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]]) -> "Offsets":
        """Make them from pairs, as `Tokeniser.offsets` returns them."""
        listed = list(pairs)
        return cls([start for start, _ in listed], [end for _, end in listed])


_Break = tuple[int, int, int, int, str, bool]
"""A line break between two lines with words; a tuple, of which making is a third of the time.

The length of the line before, in characters; the largest width at which a program would have broken
here; where the line before ends; the first word behind; the first character there; whether a list's
mark is there.
"""


def layout_borders(text: str, words: Offsets, *, every_line: bool = False) -> list[int]:
    """Return the words that begin a sentence because of a line break, gap or mark before them.

    With `every_line` each first word of a line does, and no other. In order; linear in the text.
    """
    if every_line:
        return _line_borders(text, words, every_line=True)
    lines, gaps = _line_borders(text, words), _gap_borders(text, words)
    return sorted({*lines, *gaps}) if lines and gaps else lines or gaps


def _line_borders(text: str, words: Offsets, *, every_line: bool = False) -> list[int]:
    borders: list[int] = []
    breaks: list[_Break] = []
    n_words, starts = len(words.starts), words.starts
    line_start = following = 0
    for match in _BREAK.finditer(text):
        start, end = match.span()
        before, following = following, bisect_left(starts, end, following)
        if following >= n_words:
            break
        is_blank, next_line = False, end
        if end - start > 1:
            space = match[0]
            is_blank = _n_breaks(space) > 1
            next_line = start + max(map(space.rfind, LINE_BREAKS)) + 1
        if every_line or is_blank or before == following:
            if following and borders[-1:] != [following]:
                borders.append(following)
        else:
            breaks.append(_break(text, line_start, start, end, following))
        line_start = next_line
    if breaks:
        borders = sorted({*borders, *_ending(text, words, breaks)})
    return borders


def _n_breaks(space: str) -> int:
    return sum(map(space.count, LINE_BREAKS)) - space.count("\r\n")


def _break(text: str, line_start: int, end: int, next_start: int, following: int) -> _Break:
    while text[end - 1] == " " and end > line_start + 1:
        end -= 1
    first = text[next_start]
    is_mark = first in _MARK_STARTS or text[next_start + 1 : next_start + 2] == ")"
    if is_mark:
        is_mark = _MARK.match(text, next_start) is not None
    elif first == ">" and (quoted := _QUOTED.match(text, next_start)):
        next_start = quoted.end()
        first = text[next_start : next_start + 1]
    limit = next_start + _LONGEST_WORD
    gap = text.find(" ", next_start, limit)
    if gap < 0:
        gap = text.find("\n", next_start, limit)
        if gap < 0:
            gap = min(limit, len(text))
    length = end - line_start
    return length, length + length // 10 + gap - next_start, end, following, first, is_mark


def _ending(text: str, words: Offsets, breaks: Sequence[_Break]) -> Iterator[int]:
    """Yield the words behind those line breaks that end a sentence."""
    open_breaks = [each for each in breaks if not (each[5] or text[each[2] - 1] in _STOPS)]
    width, is_wrapped, runs_on = _habit(text, open_breaks)
    is_few = len(open_breaks) <= _FEW
    for each in breaks:
        length, most, end, following, first, is_mark = each
        if is_mark:
            # A number in the middle of wrapped prose: `am` / `3. Oktober`.
            if first.isdecimal() and is_wrapped and length <= width <= most:
                if text[end - 1 : end] in _STOPS:
                    yield following
            else:
                yield following
        elif first.islower() or first in _CONTINUERS or _is_hyphenated(text, end):
            continue
        elif is_wrapped:
            if not length <= width <= most:
                yield following
        elif first.isalpha() and not first.isupper():  # a script without cases
            if not _USUAL_WIDTH <= length <= _WIDEST:
                yield following
        elif not (is_few or runs_on) or not _may_go_on(text, words, each, runs_on):
            yield following


def _habit(text: str, breaks: Sequence[_Break]) -> tuple[int, bool, bool]:
    """Return the width to which most lines agree, whether they are wrapped, and run on."""
    if not breaks:
        return -1, False, False
    n_breaks = len(breaks)
    width = max(each[0] for each in breaks)
    agreeing = [each for each in breaks if width <= each[1]]
    if 2 * len(agreeing) < n_breaks:  # the longest line is no measure
        width = _common_width(breaks)
        agreeing = [each for each in breaks if each[0] <= width <= each[1]]
    best = len(agreeing)
    n_lower = sum(each[4].islower() for each in agreeing)
    is_wrapped = 2 * best >= n_breaks and (
        5 * n_lower >= best
        or (best == n_breaks > _FEW and (n_lower > 0 or _may_all_be_upper(text, n_breaks)))
    )
    runs_on = is_wrapped or 4 * sum(each[4].islower() for each in breaks) >= n_breaks
    return width, is_wrapped, runs_on


def _common_width(breaks: Sequence[_Break]) -> int:
    """Return the width with which most breaks agree; of several the largest that is a border."""
    changes: dict[int, int] = {}
    for length, most, *_ in breaks:
        changes[length] = changes.get(length, 0) + 1
        changes[most + 1] = changes.get(most + 1, 0) - 1
    widths = sorted(changes)
    support = list(accumulate(map(changes.__getitem__, widths)))
    best = max(support)
    return max(width for width, n in zip(widths, support, strict=True) if n == best)


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
    length, most, end, index, *_ = each
    line = text[max(0, end - length) : end].split()
    first = text[starts[index] : ends[index]]
    second = text[starts[index + 1] : ends[index + 1]] if index + 1 < len(starts) else "."
    n_lower = sum(word[0].islower() for word in line)
    if 3 * n_lower < len(line) or line[-1][-1] in _STOPS:
        return False
    next_break = _BREAK.search(text, starts[index])
    next_end = len(text) if next_break is None else next_break.start()
    is_wide_enough = next_end - starts[index] <= most
    if is_wide_enough and not runs_on and length >= _USUAL_WIDTH:
        return first == "I" or first not in STARTERS
    is_full_name = line[-1] in FORENAMES and first not in FORENAMES
    return (
        (is_wide_enough or runs_on or line[0][0].islower() or is_full_name)
        and len(line) > 2
        and (line[-1][0].isupper() or line[-1] in NAME_PARTICLES)
        and first[0].isupper()
        and first not in STARTERS
        and (second[0].islower() or second[0] in ",.;!?)'\u2019")
    )


def _gap_borders(text: str, words: Offsets) -> list[int]:
    places: list[int] = []
    if not text.isascii() or "\t" in text or "|" in text:
        places += [match.end() for match in _CELL.finditer(text)]
    if "-----" in text or "=====" in text or "_____" in text or "*****" in text:
        places += [place for match in _RULE.finditer(text) for place in match.span()]
    if "  " in text:
        places += _gaps(text)
    if not places:
        return places
    starts = words.starts
    found = {bisect_left(starts, place) for place in places}
    return sorted(found - {0, len(starts)})


def _gaps(text: str) -> list[int]:
    """Return where gaps end that separate columns."""
    gaps = [match.span() for match in _GAP.finditer(text)]
    n_lower = sum(text[end].islower() for _, end in gaps)
    narrowest = _JUSTIFIED_GAP if 2 * n_lower >= len(gaps) else 2
    return [end for start, end in gaps if end - start >= narrowest]
