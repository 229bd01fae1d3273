"""Sentences as people and programs change them: case, punctuation, typing errors, lost spaces.

A perturbation edits the text of a sentence, and the text is then split into words again: that is
what a predictor would do with it: `mr.` is two words where `Mr.` is one. Gold spans follow their
characters. Where a changed span no longer begins and ends between words (`in Oslo.no` is read as a
web address) there is no result: the sentence had better stay as it was than lose an entity.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np

from teddy.model.tags.spans import Span
from teddy.model.text.sentences import Offsets, split_sentences
from teddy.training.data.align import Sentence

Edit = tuple[int, int, str]
"""Characters [start, end) of the text, and what is put there instead."""

_is_small_word = re.compile(
    "a|an|and|as|at|but|by|for|from|in|into|nor|of|off|on|onto|or|out|over|per|than|the|to|up|via"
    "|with|n['\u2019]t"
).fullmatch
"""Left in lower case in a headline, unless they begin it."""
_CONTENT_MARKS = frozenset("%&#@*/\\§†‡‰")
"""Unicode calls them punctuation; without them a text says something else."""
_FINAL_STOP = re.compile(
    r"(\s*)[.!?\u2026\u3002\uff01\uff1f]++(?:\s?[\"'\u2019\u201d\u00bb)\]]){0,3}\s*\Z"
)
"""What ends a sentence, with the quotes and brackets behind it; first the gap before it, as corpora
leave one."""
_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_MISTYPED_SHARE = 0.1
_SHORTEST_MISTYPED = 4


def lower(sentence: Sentence) -> Sentence | None:
    """Return the whole sentence in lower case."""
    return _with_words(sentence, str.lower)


def upper(sentence: Sentence) -> Sentence | None:
    """Return THE WHOLE SENTENCE IN CAPITALS."""
    return _with_words(sentence, str.upper)


def title(sentence: Sentence) -> Sentence | None:
    """Return Title Case Like in Headlines: capitals except for short function words."""
    edits: list[Edit] = []
    for start, end in sentence.offsets:
        word = sentence.text[start:end]
        is_first = start == sentence.offsets[0][0]
        goes_on = start > 0 and sentence.text[start - 1].isalnum()  # the `n't` of `don't`
        is_address = any(mark in word for mark in ".@/:")
        is_left = goes_on or is_address or (_is_small_word(word) and not is_first)
        if word.islower() and word[0].isalpha() and not is_left:
            edits.append((start, start + 1, word[0].title()))
    return rewritten(sentence, edits)


def unpunctuated(sentence: Sentence, *, only_last: bool = False) -> Sentence | None:
    """Without the words that are punctuation, or without the last words only where those are.

    A gold span that is nothing but punctuation keeps it. None for a sentence of which nothing would
    be left.
    """
    kept = {
        place
        for span in sentence.spans
        if all(_is_punctuation(word) for word in sentence.words[span.start : span.end])
        for place in range(span.start, span.end)
    }
    removed = [
        _is_punctuation(word) and place not in kept for place, word in enumerate(sentence.words)
    ]
    if all(removed):
        return None
    if only_last:
        last = max(place for place, gone in enumerate(removed) if not gone)
        removed[: last + 1] = [False] * (last + 1)
    return rewritten(sentence, list(_removals(sentence, removed)))


def _removals(sentence: Sentence, removed: list[bool]) -> Iterator[Edit]:
    """Take out runs of words with the gaps around them; one space stays between words."""
    offsets = sentence.offsets
    for gone, run in groupby(range(len(removed)), key=removed.__getitem__):
        if gone:
            places = list(run)
            first, last = places[0], places[-1]
            start = offsets[first - 1][1] if first else offsets[first][0]
            end = offsets[last + 1][0] if last + 1 < len(offsets) else offsets[last][1]
            yield start, end, " " if first and last + 1 < len(offsets) else ""


def mistyped(sentence: Sentence, random: np.random.Generator) -> Sentence | None:
    """With one slip of the fingers in about a tenth of the words of four letters or more."""
    places = [
        place
        for place, word in enumerate(sentence.words)
        if len(word) >= _SHORTEST_MISTYPED and word.isalpha()
    ]
    struck = random.random(len(places)) < _MISTYPED_SHARE
    hit = [place for place, hit in zip(places, struck, strict=True) if hit]
    edits = [(*sentence.offsets[place], mistype(sentence.words[place], random)) for place in hit]
    return rewritten(sentence, edits)


def mistype(word: str, random: np.random.Generator) -> str:
    """Misspell a word: two letters are swapped, or one is dropped, doubled or mistyped."""
    slip, place, side = (int(each) for each in random.integers((4, len(word), 2)))
    before, letter, behind = word[:place], word[place], word[place + 1 :]
    if slip == 0 and behind and behind[0] != letter:
        return before + behind[0] + letter + behind[1:]
    if slip == 1:
        return before + behind
    if slip == 2 and (beside := _key_beside(letter, side)):
        return before + beside + behind
    return before + letter + letter + behind


def _key_beside(letter: str, side: int) -> str:
    """Return the letter of the key to the left (side 0) or right, else to the other side."""
    for row in _KEYBOARD:
        place = row.find(letter.lower())
        if place >= 0:
            beside = place + 1 if (side or place == 0) and place + 1 < len(row) else place - 1
            return row[beside].upper() if letter.isupper() else row[beside]
    return ""


def joined(first: Sentence, second: Sentence) -> Sentence | None:
    """Two sentences of a corpus as one, as when a writer forgets the space behind the full stop.

    Where the first has no stop at its end, a space stays. None where the splitter sees the border
    nevertheless.
    """
    border = len(first.text)
    n_words = len(first.words)
    both = replace(
        first,
        words=first.words + second.words,
        offsets=first.offsets
        + tuple((start + border, end + border) for start, end in second.offsets),
        spans=first.spans + shifted(second.spans, n_words),
        unknown=first.unknown
        + tuple((start + n_words, end + n_words) for start, end in second.unknown),
        misaligned=first.misaligned + shifted(second.misaligned, border),
        text=first.text + second.text,
    )
    stop = _FINAL_STOP.search(first.text)
    edits: list[Edit] = [] if stop is None else [(*stop.span(1), "")]
    gap_start = len(first.text.rstrip())
    gap_end = border + len(second.text) - len(second.text.lstrip())
    result = rewritten(both, [*edits, (gap_start, gap_end, " " if stop is None else "")])
    if result is None:
        return None
    seam = gap_start - sum(end - start for start, end, _ in edits)
    following = bisect_left(result.offsets, (seam, 0))
    is_seen = any(
        start == following for start, _ in split_sentences(result.text, Offsets.of(result.offsets))
    )
    return None if is_seen else result


def _with_words(sentence: Sentence, change: Callable[[str], str]) -> Sentence | None:
    edits = [
        (*offsets, changed)
        for offsets, word in zip(sentence.offsets, sentence.words, strict=True)
        if (changed := change(word)) != word
    ]
    return rewritten(sentence, edits)


def rewritten(sentence: Sentence, edits: list[Edit], *, grown: bool = False) -> Sentence | None:
    """Return the sentence with disjoint edits, in order, made in its text.

    None where a span then no longer lies on the borders of words; with `grown` it takes in the
    whole of its first word, and a `#` before it.
    """
    if not edits:
        return sentence
    places = _Places(edits)
    text = places.applied(sentence.text)
    starts, ends, words = sentence.tokeniser.split_words(text)
    spans: list[Span] = []
    for span in sentence.spans:
        start, end = places.stretch(*characters(sentence, span.start, span.end))
        start -= grown and text[max(0, start - 1) : start] == "#"
        first = bisect_right(ends, start) if grown else bisect_left(starts, start)
        last = bisect_right(ends, end)
        splits_first = not grown and first > 0 and ends[first - 1] > start
        splits_last = last < len(starts) and starts[last] < end
        if first >= last or splits_first or splits_last:
            return None
        spans.append(Span(first, last, span.label))
    unknown: list[tuple[int, int]] = []
    for first_word, last_word in sentence.unknown:
        start, end = places.stretch(*characters(sentence, first_word, last_word))
        first, last = bisect_right(ends, start), bisect_left(starts, end)
        unknown.append((max(first, unknown[-1][1] if unknown else 0), last))
    return replace(
        sentence,
        words=tuple(words),
        offsets=tuple(zip(starts, ends, strict=True)),
        spans=tuple(spans),
        unknown=tuple((first, last) for first, last in unknown if first < last),
        misaligned=tuple(
            Span(*places.stretch(span.start, span.end), span.label) for span in sentence.misaligned
        ),
        text=text,
    )


class _Places:
    """Where the characters of a text are after its edits."""

    def __init__(self, edits: list[Edit]) -> None:
        self._edits = edits
        self._starts = [start for start, _, _ in edits]
        self._shifts = [0]  # before each edit, and behind the last
        for start, end, new in edits:
            self._shifts.append(self._shifts[-1] + len(new) - (end - start))

    def applied(self, text: str) -> str:
        """Return the text after its edits."""
        parts: list[str] = []
        at = 0
        for start, end, new in self._edits:
            parts += (text[at:start], new)
            at = end
        return "".join((*parts, text[at:]))

    def stretch(self, start: int, end: int) -> tuple[int, int]:
        """Return what is the stretch [start, end) of the text when the edits are made."""
        return self._place(start), self._place(end)

    def _place(self, place: int) -> int:
        # The last edit that begins before this place; one that begins here is inside a stretch that
        # begins here.
        number = bisect_left(self._starts, place) - 1
        if number < 0:
            return place
        start, end, new = self._edits[number]
        if place >= end:
            return place + self._shifts[number + 1]
        # Within the edit, as the border of a span that words cannot express may be.
        return start + self._shifts[number] + min(place - start, len(new))


def characters(sentence: Sentence, first: int, last: int) -> tuple[int, int]:
    """Return where the words [first, last) begin and end in the text."""
    return sentence.offsets[first][0], sentence.offsets[last - 1][1]


def shifted(spans: Iterable[Span], by: int) -> tuple[Span, ...]:
    """Return the spans, each so much further on."""
    return tuple(Span(span.start + by, span.end + by, span.label) for span in spans)


def _is_punctuation(word: str) -> bool:
    return all(
        (character == "`" or unicodedata.category(character).startswith("P"))
        and character not in _CONTENT_MARKS
        for character in word
    )
