"""What the network looks up for a word: the rows of one embedding table whose sum is the word's vector.

    row 0                   the unknown word (word dropout while training; a word without any row)
    1 .. n_pieces           sentencepiece pieces
    then, hashed            the word's shape, its prefixes and suffixes
    then, if it has one     the row of the whole word, case-folded

Hashed features (Weinberger et al. 2009) need no vocabulary, so nothing is out of it. The hash is CRC-32, which is the
same on every machine and in every process, as Python's own is not. Whole words are listed, not hashed: each frequent
word has a row that no other word disturbs, and a rare one has none.
"""

from collections.abc import Iterable, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from model.config import FeatureConfig
from model.pieces import Pieces

UNKNOWN_WORD = 0
"""The row of the unknown word."""

_CACHE_WORDS = 100_000
"""Distinct words remembered, 64 MB (measured with random letters); then it starts anew."""
_LONGEST_CACHED = 32
"""Longer words are looked up each time: they seldom come again, and a text made to fill the memory has many."""

_LONGEST_RUN = 4
"""A shape keeps at most so many equal signs in a row: `Xxxxxxx` and `Xxxxx` are one shape."""


def word_shape(word: str) -> str:
    """Letters as X, x or c (those without case), digits as d, the rest as itself: `Dec-2019` becomes `Xxx-dddd`."""
    shape: list[str] = []
    run = 0
    for character in word:
        if character.isalpha():
            sign = "X" if character.isupper() else "x" if character.islower() else "c"
        else:
            sign = "d" if character.isdigit() else character
        run = run + 1 if shape and shape[-1] == sign else 1
        if run <= _LONGEST_RUN:
            shape.append(sign)
    return "".join(shape)


class WordFeatures:
    """Maps words to rows, remembering the words that it has seen.

    Safe to share between threads: the memory is a dictionary, written whole entries at a time.
    """

    def __init__(self, pieces: Pieces, config: FeatureConfig, words: Sequence[str] = ()) -> None:
        """`words` are those that have a row of their own, case-folded and distinct."""
        self.pieces = pieces
        self.config = config
        self.words = tuple(words)
        self._shape_start = 1 + pieces.n_pieces
        self._affix_start = self._shape_start + config.shape_rows
        self._word_start = self._affix_start + config.affix_rows
        self.n_rows = self._word_start + len(self.words)
        self._word_row = {word: row for row, word in enumerate(self.words, start=self._word_start)}
        self._remembered: dict[str, tuple[int, ...]] = {}

    @property
    def group_starts(self) -> tuple[int, int, int, int]:
        """The first row of each kind: pieces, shapes, affixes, whole words."""
        return 1, self._shape_start, self._affix_start, self._word_start

    def rows(self, word: str) -> tuple[int, ...]:
        """The rows of one word, never none."""
        known = self._remembered.get(word)
        if known is None:
            known = tuple(self._rows(word)) or (UNKNOWN_WORD,)
            if len(self._remembered) >= _CACHE_WORDS:
                self._remembered = {}
            if len(word) <= _LONGEST_CACHED:
                self._remembered[word] = known
        return known

    def _rows(self, word: str) -> Iterable[int]:
        config = self.config
        yield from (1 + piece for piece in self.pieces.ids(word))
        if config.shape_rows:
            yield self._shape_start + crc32(word_shape(word).encode()) % config.shape_rows
        folded = word.casefold()
        if config.affix_rows:
            for length in config.affix_lengths:
                # A word no longer than the affix is the affix; the mark keeps `a` the word apart from `a-` the prefix.
                mark = "=" if len(folded) <= length else ""
                for affix in (f"<{mark}{folded[:length]}", f"{folded[-length:]}{mark}>"):
                    yield self._affix_start + crc32(f"{length}{affix}".encode()) % config.affix_rows
        if folded in self._word_row:
            yield self._word_row[folded]

    def bag(self, words: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows of many words, flat, and where each word's rows begin: (rows [F], starts [len(words)])."""
        rows = [self.rows(word) for word in words]
        starts = np.zeros(len(rows), dtype=np.int64)
        np.cumsum([len(each) for each in rows[:-1]], out=starts[1:]) if rows else None
        flat = np.fromiter((row for each in rows for row in each), dtype=np.int64)
        return flat, starts
