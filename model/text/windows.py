"""Windows: the words of a text that the network reads together.

A sentence is one window. A long sentence becomes several that overlap, so that every word is read
with context on both sides; each word's result is kept from one window only, and no word is dropped.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from teddy.model.tags.spans import Hint


@dataclass(frozen=True, slots=True)
class Window:
    """Words that the network reads together, at least one; `start` is the first one's index.

    The results of the document's words `[keep_start, keep_end)` are kept from this window. `hints`
    are the hints at its words; they count these from 0.
    """

    words: list[str]
    start: int
    keep_start: int
    keep_end: int
    hints: tuple[Hint, ...] = ()

    @property
    def n_words(self) -> int:
        """The number of its words: what it costs to predict."""
        return len(self.words)

    @property
    def end(self) -> int:
        """The index behind the last word."""
        return self.start + len(self.words)


class Windows(Sequence[Window]):
    """The windows of a text. Each is made when it is asked for.

    One number array for each field: a text of 350,000 sentences had 700,000 objects, and freeing
    them held the interpreter for 100 ms.

    Attributes: `words`, those of the text; `starts`, `ends`, `keep_starts` and `keep_ends`, of
    each window; `hints`, at words of the text, in the order of their starts.
    """

    __slots__ = ("ends", "hints", "keep_ends", "keep_starts", "starts", "words")

    def __init__(self, words: list[str]) -> None:
        """Begin without windows: `split_windows` fills the arrays."""
        self.words = words
        self.starts, self.ends = array("I"), array("I")
        self.keep_starts, self.keep_ends = array("I"), array("I")
        self.hints: Sequence[Hint] = ()

    @property
    def n_words(self) -> int:
        """The number of words of all together: what it costs to predict."""
        return sum(self.ends) - sum(self.starts)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> Window: ...

    @overload
    def __getitem__(self, index: slice) -> list[Window]: ...

    def __getitem__(self, index: int | slice) -> Window | list[Window]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        start, end = self.starts[index], self.ends[index]
        first, behind = self.keep_starts[index], self.keep_ends[index]
        hints = self._hints_in(start, end)
        return Window(self.words[start:end], start, first, behind, hints)

    def __iter__(self) -> Iterator[Window]:
        words = self.words
        fields = zip(self.starts, self.ends, self.keep_starts, self.keep_ends, strict=True)
        if self.hints:
            return (self[index] for index in range(len(self)))
        return (Window(words[a:b], a, first, behind) for a, b, first, behind in fields)

    def _hints_in(self, start: int, end: int) -> tuple[Hint, ...]:
        """Return the hints that lie within these words, counted from `start`."""
        if not self.hints:
            return ()
        first = bisect_left(self.hints, start, key=_start_of)
        behind = bisect_left(self.hints, end, key=_start_of)
        return tuple(
            Hint(each.start - start, each.end - start, each.label, each.weight)
            for each in self.hints[first:behind]
            if each.end <= end
        )


def _start_of(hint: Hint) -> int:
    return hint.start


def split_windows(
    words: list[str], sentences: Sequence[tuple[int, int]], max_words: int, overlap: int
) -> Windows:
    """Make one window of each sentence, or several of one longer than `max_words`.

    `sentences` are half-open ranges of words. Neighbouring windows of one sentence share at least
    `overlap` words; the kept ranges meet in the middle of what they share, and partition the words.

    Raises ValueError unless 0 <= overlap < max_words.
    """
    if not 0 <= overlap < max_words:
        raise ValueError(f"a window of {max_words} words cannot overlap the next by {overlap}")
    windows = Windows(words)
    for start, end in sentences:
        if 0 < end - start <= max_words:  # nearly every one
            windows.starts.append(start)
            windows.ends.append(end)
            windows.keep_starts.append(start)
            windows.keep_ends.append(end)
            continue
        # The last window is moved back rather than made short, so that its first words see as much
        # as all others.
        last_start = max(start, end - max_words)
        first = keep_start = start
        while keep_start < end:
            following = min(first + max_words - overlap, last_start)
            keep_end = (first + max_words + following) // 2 if first < last_start else end
            windows.starts.append(first)
            windows.ends.append(min(first + max_words, end))
            windows.keep_starts.append(keep_start)
            windows.keep_ends.append(keep_end)
            first, keep_start = following, keep_end
    return windows
