"""Sentences: ranges of words that the network reads together.

A light splitter, made to err on the side of the longer sentence: a cut through `J. R. R. Tolkien`
costs an entity, two sentences read as one cost next to nothing. A sentence ends

- at `.` `!` `?` and their like with the closing quotes, brackets and references (`[21]`) behind
  them, where white space and something other than a lower-case letter or a comma follows. A dot
  behind an abbreviation, an initial or a number of one or two digits (`3. Oktober`) ends it only
  where a word follows that often begins a sentence or is a forename (`U.S. Liam stayed`), behind a
  title (`Dr.`) never: `teddy.model.text.abbreviations` lists them, for seven languages;
- at `.` `!` `?` before a lower-case letter where the word before is no name, and no abbreviation;
- behind an emoticon and before `¿` or `¡`, where an upper-case letter follows;
- at the full stops of Chinese and Japanese, whatever follows;
- at a blank line, a line's end that is not a program's wrapping, a list's item, a tab, a wide gap,
  a table's border: `teddy.model.text.layout` says when.

Kiss and Strunk (2006), Unsupervised multilingual sentence boundary detection, is the source of the
classes: abbreviations, initials, ordinal numbers, and frequent first words of sentences.
"""

import re
from bisect import bisect_right
from typing import Literal, get_args

from teddy.model.text.abbreviations import (
    AFTER_TIME,
    BEFORE_LETTERS,
    BEFORE_NUMBERS,
    FINAL,
    FORENAMES,
    MIDDLE,
    NUMBERS_ONLY,
    PLAIN_STARTERS,
    STARTERS,
    TITLES,
)
from teddy.model.text.layout import LINE_BREAKS, layout_borders
from teddy.model.text.layout import Offsets as Offsets

SentenceMode = Literal["document", "lines"]
"""`document`: by the rules above. `lines`: each line is a sentence, and none ends within."""
SENTENCE_MODES = get_args(SentenceMode)

_FULL_WIDTH_STOPS = "\u3002\uff01\uff0e\uff1f\uff61"
_STOPS = ".!?\u2026\u203c\u2047\u2048\u2049\u061f\u06d4\u0964\u0965"
_ENDS = rf"(?<=[{_STOPS}])[{_STOPS}]*+(?![^\W_])"
_END = re.compile(
    rf"[{_STOPS}{_FULL_WIDTH_STOPS}:;=¿¡]"
    rf"(?:{_ENDS}|(?<=[{_FULL_WIDTH_STOPS}])[{_STOPS}{_FULL_WIDTH_STOPS}]*+"
    r"|(?<=\s[:;=])['\-]?[)DPp](?=\s+[^\Wa-z\d_])|(?<=\s[¿¡])(?=[^\Wa-z\d_]))"
)
_STRAIGHT_QUOTES = frozenset("\"'")
_CLOSERS = frozenset([*_STRAIGHT_QUOTES, "''", *")]}»\u2019\u201d\uff09\uff3d\uff5d」』】》〉"])
_OPENERS = frozenset([*_STRAIGHT_QUOTES, "``", *"([{«\u2018\u201c\u201e"])
_CONTINUERS = frozenset(f",;:{_STOPS}")
_FIRST_OF_CLOSERS = frozenset([*(each[0] for each in _CLOSERS), "[", " "])
_FIRST_OF_OPENERS = frozenset(each[0] for each in _OPENERS)
_REFERENCE = re.compile(r" ?(?:\[\d{1,3}\])+")
# characters looked back for the quotation mark that a spaced `"` closes; keeps the time linear
_QUOTE_REACH = 1000
_has_vowel = re.compile("[aeiouyáéíóúàèìòùâêîôûäëïöüãõœæåø]", re.IGNORECASE).search
_LONGEST_ABBREVIATION = 7
_is_roman = re.compile("[IVX]{2,}").fullmatch


def split_sentences(
    text: str, words: Offsets, mode: SentenceMode = "document"
) -> list[tuple[int, int]]:
    """Split a text's words, as `split_words` gives them, into sentences, in linear time.

    Returns half-open ranges of word indices: none is empty, and in order they partition
    `range(len(words.starts))`.
    """
    n_words = len(words.starts)
    if not n_words:
        return []
    if mode == "lines":
        borders = layout_borders(text, words, every_line=True)
    else:
        borders = _stop_borders(text, words)
        if others := layout_borders(text, words):
            borders = sorted({*borders, *others})
    if not borders:
        return [(0, n_words)]
    return [*zip([0, *borders], [*borders, n_words], strict=True)]


def _stop_borders(text: str, words: Offsets) -> list[int]:
    """Return the words that begin a sentence because of a stop before them, in order."""
    borders: list[int] = []
    starts, n_words = words.starts, len(words.starts)
    start = following = 0
    for match in _END.finditer(text):
        end = match.end()
        following = bisect_right(starts, end - 1, following)  # first word behind this place
        if following >= n_words:
            break
        mark = text[match.start()]
        if mark in "¿¡":
            following -= 1
            is_end = text[words.ends[following - 1] - 1] not in ",;:("
        elif mark in ":;=":
            is_end = True
        else:
            is_end, following = _ends(text, words, start, following, end)
        if is_end and start < following < n_words:
            borders.append(following)
            start = following
    return borders


def _ends(text: str, words: Offsets, start: int, following: int, end: int) -> tuple[bool, int]:
    """Tell whether the stop before character `end` ends the sentence open since word `start`.

    `following` is the first word behind it; the second result is the first behind closing quotes.
    """
    stop = following - 1
    if stop < start or words.ends[stop] != end:
        return False, following  # inside a word: 3.14
    behind = following
    if text[end] not in " \n" or text[end + 1] in _FIRST_OF_CLOSERS:
        following = _skip_closers(text, words, start, following)
        if following >= len(words.starts):
            return False, following
        if text[end - 1] in _FULL_WIDTH_STOPS:
            return True, following
        if not text[words.ends[following - 1] : words.starts[following]].isspace():
            return False, following
    first, last = words.starts[following], words.ends[following]
    letter = text[first]
    if letter in _FIRST_OF_OPENERS and text[first:last] in _OPENERS:
        if following + 1 < len(words.starts):
            first, last = words.starts[following + 1], words.ends[following + 1]
            letter = text[first]
    elif letter in _CONTINUERS:
        return False, following
    if text[end - 1] == "\u2026" or text[end - 2 : end] == "..":
        return not letter.islower(), following
    if letter.islower():
        return following == behind and _is_plain(text, words, stop), following
    if text[end - 1] == ".":
        next_word = text[first:last]
        return _full_stop_ends(text, words, start, stop, next_word), following
    return True, following


def _is_plain(text: str, words: Offsets, stop: int) -> bool:
    """Tell whether the word before a stop is lower case, and neither an abbreviation nor short."""
    first, last = words.starts[stop], words.ends[stop]
    mark = text[last - 1]
    if last - first == 1 or text[first] in _STOPS:
        if not stop or words.ends[stop - 1] != first:
            return False
        first, last = words.starts[stop - 1], words.ends[stop - 1]
    word = text[first:last].rstrip(_STOPS)
    if not (word.isalpha() and word.islower()):
        return False
    if mark != ".":
        return True
    return (
        (len(word) > 3 or (len(word) > 1 and word.title() in STARTERS))
        and word not in TITLES
        and word not in MIDDLE
        and word not in FINAL
        and word not in BEFORE_NUMBERS
        and _has_vowel(word) is not None
    )


def _skip_closers(text: str, words: Offsets, start: int, following: int) -> int:
    """Step over closing quotes and brackets, and references.

    A spaced straight quote closes only if an odd number came before.
    """
    while following < len(words.starts):
        first, last = words.starts[following], words.ends[following]
        gap = text[words.ends[following - 1] : first]
        if text[first] == "[" and (reference := _REFERENCE.match(text, words.ends[following - 1])):
            following = bisect_right(words.starts, reference.end() - 1, following)
            continue
        if text[first:last] not in _CLOSERS or gap not in ("", " "):
            break
        if gap and text[first:last] in _STRAIGHT_QUOTES:
            reach = max(words.starts[start], first - _QUOTE_REACH)
            if text.count(text[first], reach, first) % 2 == 0:
                break
        following += 1
    return following


def _full_stop_ends(text: str, words: Offsets, start: int, stop: int, next_word: str) -> bool:
    """Tell a full stop from an abbreviation's dot, which may be a word of its own."""
    first, last = words.starts[stop], words.ends[stop] - 1
    if last == first:
        if stop == start:
            return True
        stop -= 1
        first, last = words.starts[stop], words.ends[stop]
    word = text[first:last]
    if len(word) > _LONGEST_ABBREVIATION and word.isalpha():
        return True
    if len(word) == 1 and _is_spaced_out(text, first):
        return False
    if len(word) == 1 or (word.isdecimal() and len(word) <= 2):
        before = text[words.starts[stop - 1] : words.ends[stop - 1]] if stop > start else ""
        return _letter_or_number_ends(word, before, next_word, _begins_line(text, first))
    usual = word.title() if word.isupper() and "." not in word else word
    if usual in TITLES:
        return False
    if word in FINAL:
        return next_word not in AFTER_TIME and not next_word.isdecimal()
    if usual in BEFORE_NUMBERS:
        if next_word[0].isdecimal() or _is_roman(next_word):
            return False
        if usual in NUMBERS_ONLY:
            return True
    elif not (
        usual in MIDDLE
        or word in MIDDLE
        or (word.isascii() and word.isalpha() and not word.isupper() and not _has_vowel(word))
        or ("." in word and word.replace(".", "").isalpha())
        or _is_roman(word)
    ):
        return True
    return next_word in STARTERS or next_word in FORENAMES


def _begins_line(text: str, first: int) -> bool:
    """Tell whether a word is the first of the text or of its line."""
    before = text[max(0, first - 16) : first].rstrip(" \t")
    return not before or before[-1] in LINE_BREAKS


def _is_spaced_out(text: str, first: int) -> bool:
    """Tell whether a letter is behind another one with a dot, in lower case: `z. B.`, `u. a.`."""
    before = text[max(0, first - 4) : first]
    return before[-2:] == ". " and before[-3:-2].islower() and not before[:-3].isalpha()


def _letter_or_number_ends(word: str, before: str, next_word: str, begins_line: bool) -> bool:
    """Tell whether the dot behind one letter, or a number of one or two digits, is a full stop.

    `before` is the word before it in the sentence; `begins_line`: the word is the first of a line.
    """
    if not before or begins_line:
        return False  # an item's number
    if word.isdecimal():
        return next_word in STARTERS or next_word in FORENAMES
    if before.lower() in BEFORE_LETTERS or not word.isalpha():
        return True
    if len(next_word) == 1 or next_word[1:] == ".":
        return False  # U . S . A .
    return next_word in PLAIN_STARTERS
