"""Windows: the stretches of words that the network reads at once.

A sentence is one window. A sentence that is too long becomes several that overlap, so that every word is read with
context on both sides; each word's result is kept from one window only, and no word is dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Window:
    """Words `[start, end)` are read; the results of `[keep_start, keep_end)` among them are kept. Not empty."""

    start: int
    end: int
    keep_start: int
    keep_end: int


def split_windows(sentences: Sequence[tuple[int, int]], max_words: int, overlap: int) -> list[Window]:
    """Make one window of each sentence, or several of one longer than `max_words`.

    `sentences` are half-open ranges of words. Neighbouring windows of one sentence share at least `overlap` words,
    and what is kept changes hands in the middle of what they share. The kept ranges partition the words, in order.

    Raises:
        ValueError: not 0 <= overlap < max_words.
    """
    if not 0 <= overlap < max_words:
        raise ValueError(f"a window of {max_words} words cannot overlap the next by {overlap}")
    windows: list[Window] = []
    for start, end in sentences:
        if end - start <= max_words:
            if start < end:
                windows.append(Window(start, end, start, end))
        else:
            windows += _split_long(start, end, max_words, overlap)
    return windows


def _split_long(start: int, end: int, max_words: int, overlap: int) -> list[Window]:
    # The last window is moved back rather than made short: its first words then see as much as all others.
    last_start = end - max_words
    starts = [*range(start, last_start, max_words - overlap), last_start]
    # neighbours share [next start, this start + max_words); its middle is where the kept ranges meet
    middles = [(this + max_words + following) // 2 for this, following in pairwise(starts)]
    keeps = zip([start, *middles], [*middles, end], strict=True)
    return [Window(first, first + max_words, *keep) for first, keep in zip(starts, keeps, strict=True)]
