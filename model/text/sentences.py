"""Sentences: ranges of words that the network reads together.

A light splitter, made to err on the side of the longer sentence: a cut through `J. R. R. Tolkien`
costs an entity, two sentences read as one cost next to nothing. A sentence ends

- at `.` `!` `?` and their like with the closing quotes and brackets behind them, where white space
  and something other than a lower-case letter or a comma follows; but not behind a title or an
  item's number (`Dr.`, `1.`), and behind any other abbreviation or initial (`U.S.`, `Inc.`, `J.`)
  only where a word follows that often begins a sentence (`The`);
- at the full stops of Chinese and Japanese, whatever follows;
- at a blank line; at the end of a line where the line is too short, or too long, to have been
  broken by wrapping, or where a list's item follows; not where a lower-case letter does.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_LINE_BREAK = r"(?:\r\n?|[\n\x0b\x0c\x85\u2028\u2029])"
_FULL_WIDTH_STOPS = "\u3002\uff01\uff0e\uff1f\uff61"
_BREAK = re.compile(
    rf"[.!?\u2026\u203c\u2047-\u2049\u061f\u06d4\u0964\u0965{_FULL_WIDTH_STOPS}]++"
    rf"|(?P<line>{_LINE_BREAK})[^\S\r\n\x0b\x0c\x85\u2028\u2029]*+(?P<blank>{_LINE_BREAK}\s*+)?"
)
_STRAIGHT_QUOTES = frozenset("\"'")
_CLOSERS = frozenset([*_STRAIGHT_QUOTES, "''", *")]}»\u2019\u201d\uff09\uff3d\uff5d」』】》〉"])
_OPENERS = frozenset([*_STRAIGHT_QUOTES, "``", *"([{«\u2018\u201c\u201e"])
_CONTINUERS = ",;:"
_BULLETS = frozenset("-*+•·–—▪◦●■")  # noqa: RUF001 - the dashes are meant
_WRAPPED_LINE = range(40, 101)  # characters in a line that was broken for want of room
# characters looked back for the quotation mark that a spaced `"` closes; keeps the time linear
_QUOTE_REACH = 1000

_is_title = re.compile(
    "Mr|Mrs|Ms|Messrs|Dr|Prof|Rev|Hon|Gen|Col|Maj|Capt|Cmdr|Lt|Sgt|Cpl|Adm|Gov|Sen|Rep|Pres|St|Sta|"
    "Ste|Mt|Ft|Pt|Pvt|Drs|vs|vol|cf|pp|approx|feat|ft|e\\.g|i\\.e"
).fullmatch
_often_begins_sentence = re.compile(
    "The|A|An|This|That|These|Those|There|Here|He|She|It|They|We|You|I|His|Her|Its|Their|Our|My|In|"
    "On|At|By|For|From|With|To|Of|But|And|Or|So|Yet|If|When|While|As|After|Before|Since|Although|"
    "Though|However|Then|Thus|Also|Both|Some|Many|Most|Not|What|Who|Why|How|Where|Which|Please|"
    "Thanks|During|Because|Under|Once"
).fullmatch


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


def split_sentences(text: str, words: Offsets) -> list[tuple[int, int]]:
    """Split a text's words, as `split_words` gives them, into sentences, in linear time.

    Returns half-open ranges of word indices: none is empty, and in order they partition
    `range(len(words.starts))`.
    """
    sentences: list[tuple[int, int]] = []
    starts = words.starts
    start = 0  # first word of the sentence that is open
    line_start = 0  # first character of the line
    gap_of_last_line = -1
    for match in _BREAK.finditer(text):
        following = bisect_right(starts, match.start())  # first word that starts behind this place
        if match["line"]:
            is_blank = match["blank"] is not None or following == gap_of_last_line
            ends = is_blank or _line_ends_sentence(
                text, words, match.start() - line_start, following
            )
            line_start, gap_of_last_line = match.end(), following
        else:
            following = bisect_right(starts, match.end() - 1, following)
            ends, following = _stop_ends_sentence(text, words, start, following, match.end())
        if ends and start < following < len(words.starts):
            sentences.append((start, following))
            start = following
    if start < len(words.starts):
        sentences.append((start, len(words.starts)))
    return sentences


def _line_ends_sentence(text: str, words: Offsets, line_characters: int, following: int) -> bool:
    """Tell whether a line of so many characters, before the word `following`, ends a sentence."""
    if following >= len(words.starts):
        return False
    first, last = words.starts[following], words.ends[following]
    if text[first].islower() or text[first] in _CONTINUERS:
        return False
    return (
        line_characters not in _WRAPPED_LINE
        or text[first:last] in _BULLETS
        or _is_item_number(text, words, following)
    )


def _is_item_number(text: str, words: Offsets, index: int) -> bool:
    """Tell whether the words here are a list item's number: `1.`, `2)`."""
    if index + 1 >= len(words.starts):
        return False
    first, last, end = words.starts[index], words.ends[index], words.ends[index + 1]
    return text[first:last].isdecimal() and text[last:end] in (".", ")")


def _stop_ends_sentence(
    text: str, words: Offsets, start: int, following: int, end: int
) -> tuple[bool, int]:
    """Tell whether the stop before character `end` ends the sentence open since word `start`.

    `following` is the first word behind it; the second result is the first behind closing quotes.
    """
    stop = following - 1
    if stop < start or words.ends[stop] != end:
        return False, following  # inside a word: 3.14
    following = _skip_closers(text, words, start, following)
    if following >= len(words.starts):
        return False, following
    if text[end - 1] in _FULL_WIDTH_STOPS:
        return True, following
    if not text[words.ends[following - 1] : words.starts[following]].isspace() or _continues(
        text, words, following
    ):
        return False, following
    if text[end - 1] == "." and text[end - 2 : end] != "..":
        return _full_stop_ends_sentence(text, words, start, stop, following), following
    return True, following


def _skip_closers(text: str, words: Offsets, start: int, following: int) -> int:
    """Step over closing quotes and brackets.

    A spaced straight quote closes only if an odd number came before.
    """
    while following < len(words.starts):
        first, last = words.starts[following], words.ends[following]
        gap = text[words.ends[following - 1] : first]
        if text[first:last] not in _CLOSERS or gap not in ("", " "):
            break
        if gap and text[first:last] in _STRAIGHT_QUOTES:
            reach = max(words.starts[start], first - _QUOTE_REACH)
            if text.count(text[first], reach, first) % 2 == 0:
                break
        following += 1
    return following


def _continues(text: str, words: Offsets, following: int) -> bool:
    """Tell whether this word, or the one behind an opening quote, goes on with the sentence."""
    first, last = words.starts[following], words.ends[following]
    if text[first:last] in _OPENERS and following + 1 < len(words.starts):
        first = words.starts[following + 1]
    return text[first].islower() or text[first] in _CONTINUERS


def _full_stop_ends_sentence(
    text: str, words: Offsets, start: int, stop: int, following: int
) -> bool:
    """Tell a full stop from an abbreviation's dot, which may be a word of its own in split text."""
    first, last = words.starts[stop], words.ends[stop]
    is_apart = last - first == 1
    if is_apart:
        if stop == start:
            return True
        first, last = words.starts[stop - 1], words.ends[stop - 1]
    else:
        last -= 1
    abbreviation = text[first:last]
    next_word = text[words.starts[following] : words.ends[following]]
    usual_case = abbreviation.title() if abbreviation.isupper() else abbreviation
    if _is_title(usual_case) or (abbreviation in ("No", "Nos") and next_word.isdecimal()):
        return False
    if is_apart and (abbreviation.isdecimal() or len(abbreviation) == 1) and stop - 1 == start:
        return False  # an item's number
    is_initial = len(abbreviation) == 1 and abbreviation.isupper()
    if is_initial and len(next_word) == 1:
        return False  # U . S . A .
    return bool(_often_begins_sentence(next_word)) or (is_apart and not is_initial)
