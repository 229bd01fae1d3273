"""The features of a word: rows of one embedding table whose sum is the word's vector.

    row 0                   the unknown word (word dropout while training; a word without any row)
    1 .. n_pieces           sentencepiece pieces
    then, hashed            the word's shape, its prefixes and suffixes
    then, if it has one     the row of the whole word, case-folded
    then, if it has any     the rows of its classes in a lexicon

Hashed features (Weinberger et al. 2009) need no vocabulary. The hash is CRC-32, which unlike
Python's own is the same in every process. Whole words are listed, not hashed: a frequent word has a
row to itself, a rare one has none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from teddy.model.config import FeatureConfig
from teddy.model.features.lexicon import Lexicon
from teddy.model.features.pieces import Pieces

UNKNOWN_WORD = 0
"""The row of the unknown word."""
HIDDEN_WORD = ""
"""In place of a word, which is never empty: the unknown word is read there."""

_CACHE_WORDS = 100_000
"""Distinct words remembered, 64 MB (measured with random letters); then it starts over."""
_LONGEST_CACHED = 32
"""Longer words are looked up each time: they seldom come again, and an attacker could send many."""

_CACHED_AFFIXES = 2**12
"""Of prefixes, suffixes and shapes each, the first that come, which are the commonest."""
_LONGEST_RUN = 4
"""The most equal signs in a row: `Xxxxxxx` and `Xxxxx` are one shape."""


def word_shape(word: str) -> str:
    """Return X, x or c (no case) for letters, d for digits: `Dec-2019` becomes `Xxx-dddd`."""
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


_ASCII_SIGNS = bytes(ord(word_shape(chr(code))) if code < 128 else code for code in range(256))
"""For `bytes.translate`: the sign of each ASCII character."""


class _Remembered(dict[str, tuple[int, ...]]):
    """A function's results for the texts that came first."""

    def __init__(self, function: Callable[[str], tuple[int, ...]]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, text: str) -> tuple[int, ...]:
        found = self._function(text)
        if len(self) < _CACHED_AFFIXES:
            self[text] = found
        return found


@dataclass(frozen=True, slots=True)
class _AffixRows:
    """Maps prefixes and suffixes of `lengths` to `n_rows` rows from `start` on.

    A class of its own, so that the caches of `WordFeatures` do not refer back to it: the memory of
    a model that is replaced is free at once, without the garbage collector.
    """

    lengths: Sequence[int]
    start: int
    n_rows: int

    def of_prefixes(self, text: str, *, whole: bool = False) -> tuple[int, ...]:
        """Return the rows of a word's prefixes; `text` is the longest one or the `whole` word."""
        return tuple(self._row(f"{n}<{_mark(text, n, whole)}{text[:n]}") for n in self.lengths)

    def of_suffixes(self, text: str, *, whole: bool = False) -> tuple[int, ...]:
        """Return the rows of a word's suffixes, as `of_prefixes` does."""
        return tuple(self._row(f"{n}{text[-n:]}{_mark(text, n, whole)}>") for n in self.lengths)

    def _row(self, affix: str) -> int:
        return self.start + crc32(affix.encode()) % self.n_rows


def _mark(text: str, length: int, whole: bool) -> str:
    """Return a mark for a word no longer than the affix: `a` the word is not `a-` the prefix."""
    return "=" if whole and len(text) <= length else ""


class WordFeatures:
    """Maps words to rows, and remembers those it has seen; safe to share between threads."""

    def __init__(
        self,
        pieces: Pieces,
        config: FeatureConfig,
        words: Sequence[str] = (),
        lexicon: bytes = b"",
    ) -> None:
        """`words` have rows of their own, and are case-folded and distinct.

        `lexicon` is a `Lexicon` as it is stored.
        """
        self.pieces = pieces
        self.config = config
        self.words = tuple(words)
        self.lexicon = Lexicon(lexicon)
        self._shape_start = 1 + pieces.n_pieces
        self._affixes = _AffixRows(
            config.affix_lengths, self._shape_start + config.shape_rows, config.affix_rows
        )
        self.word_start = self._affixes.start + config.affix_rows
        """The row of the first of `words`."""
        self._class_start = self.word_start + len(self.words)
        self.n_rows = self._class_start + self.lexicon.n_classes
        self._word_row = {word: row for row, word in enumerate(self.words, start=self.word_start)}
        self._remembered: dict[str, tuple[int, ...]] = {}
        self._ascii_shapes: dict[bytes, int] = {}
        self._longest_affix = max(config.affix_lengths, default=0) if config.affix_rows else 0
        self._prefixes = _Remembered(self._affixes.of_prefixes)
        self._suffixes = _Remembered(self._affixes.of_suffixes)

    @property
    def group_starts(self) -> tuple[int, ...]:
        """The first rows of pieces, shapes, affixes, whole words and, if there are any, classes."""
        starts = (1, self._shape_start, self._affixes.start, self.word_start)
        return (*starts, self._class_start) if self.lexicon.n_classes else starts

    def rows(self, word: str) -> tuple[int, ...]:
        """Return the rows of one word, at least one."""
        known = self._remembered.get(word)
        if known is None:
            (known,) = self._look_up([word])
            if len(self._remembered) >= _CACHE_WORDS:
                self._remembered = {}
            if len(word) <= _LONGEST_CACHED:
                self._remembered[word] = known
        return known

    def knows(self, word: str) -> bool:
        """Tell whether a word has a row of its own; another by its parts and its classes."""
        return word.casefold() in self._word_row

    def bag(
        self, words: Sequence[str], *, remember: bool = True
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of words, flat [F], and the position of each word's first [len(words)].

        `remember=False` is for a caller that keeps the result itself, as `WordVectors` does.
        """
        rows = [self.rows(word) for word in words] if remember else self._look_up(words)
        counts = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        starts = np.cumsum(counts) - counts
        return np.fromiter(chain.from_iterable(rows), dtype=np.int64), starts

    def _look_up(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        # sentencepiece takes all words at once: a call costs it more than a word.
        longest = self._longest_affix
        found: list[tuple[int, ...]] = []
        for word, pieces in zip(words, self.pieces.ids_of_each(words), strict=True):
            rows = [piece + 1 for piece in pieces]
            if self.config.shape_rows:
                rows.append(self._shape_row(word))
            folded = word.casefold()
            if longest:
                if len(folded) > longest:  # many words share the longest affixes
                    rows += self._prefixes[folded[:longest]]
                    rows += self._suffixes[folded[-longest:]]
                else:
                    rows += self._affixes.of_prefixes(folded, whole=True)
                    rows += self._affixes.of_suffixes(folded, whole=True)
            if folded in self._word_row:
                rows.append(self._word_row[folded])
            if self.lexicon.n_classes:
                rows += [self._class_start + each for each in self.lexicon[word]]
            found.append(tuple(rows) if rows and word else (UNKNOWN_WORD,))
        return found

    def _shape_row(self, word: str) -> int:
        if not word.isascii():
            return self._hashed_shape(word)
        # Words of equal signs have one shape, and few kinds of them make up nearly every text.
        signs = word.encode().translate(_ASCII_SIGNS)
        row = self._ascii_shapes.get(signs)
        if row is None:
            row = self._hashed_shape(word)
            if len(self._ascii_shapes) < _CACHED_AFFIXES:
                self._ascii_shapes[signs] = row
        return row

    def _hashed_shape(self, word: str) -> int:
        return self._shape_start + crc32(word_shape(word).encode()) % self.config.shape_rows
