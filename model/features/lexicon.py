"""Classes of words: which words are alike, as Brown clusters and lists of names say it.

Words of one class share a row of the embedding. So a word that was never learnt is read like others
of its class that were (Brown et al. 1992; for entities, Miller et al. 2004).

A lexicon holds hashes, not words: six bytes an entry in memory and three in a file. A word that is
not listed is taken for a listed one with a probability of 5e-5 (200,000 entries, CRC-32).
"""

import zlib
from bisect import bisect_left
from collections.abc import Iterable
from zlib import crc32

import numpy as np

MOST_CLASSES = 2**16
_ENTRY = np.dtype([("step", "<u4"), ("number", "<u2")])
"""Of a file: how far a word's hash is above the one before it, and the number of its class. Bytes
of equal weight stand together, so that they can be packed."""


class Lexicon:
    """Maps words to the numbers of their classes; a word may be in several, or in none."""

    def __init__(self, serialised: bytes = b"") -> None:
        """Read what an earlier one has `serialised`, or nothing. Raises ValueError for others."""
        self.serialised = serialised
        try:
            packed = zlib.decompress(serialised) if serialised else b""
        except zlib.error as error:
            raise ValueError(f"not a lexicon ({error})") from error
        columns = np.frombuffer(packed, np.uint8).reshape(_ENTRY.itemsize, -1)
        entries = np.ascontiguousarray(columns.T).view(_ENTRY).reshape(-1)
        # As views, whose items are plain numbers: 3 us a word that is not listed, for the few new
        # ones of a text. With `np.searchsorted` 60 us a text and 6 us a word.
        self._words = np.cumsum(entries["step"], dtype=np.uint32).data
        self._numbers = entries["number"].copy().data
        self.n_classes = int(entries["number"].max()) + 1 if len(entries) else 0

    def __str__(self) -> str:
        return f"{len(self._words):,} words in {self.n_classes:,} classes"

    @classmethod
    def of(cls, entries: Iterable[tuple[str, int]]) -> "Lexicon":
        """Return the lexicon of words and their classes, numbered from 0; order has no effect."""
        pairs = sorted({(crc32(word.encode()), number) for word, number in entries})
        if not pairs:
            return cls()
        packed = np.array(pairs, _ENTRY)
        packed["step"] = np.diff(packed["step"], prepend=np.uint32(0))
        columns = packed.view(np.uint8).reshape(-1, _ENTRY.itemsize)
        return cls(zlib.compress(columns.T.tobytes(), level=9))

    def __getitem__(self, word: str) -> list[int]:
        """Return the numbers of the classes of a word, in ascending order.

        A word that is not listed as it stands is looked up in lower case, then with only its first
        letter in upper case: `BERLIN` and `berlin` are found as `Berlin`.
        """
        for form in (word, word.lower(), word.capitalize()):
            key = crc32(form.encode())
            first = end = bisect_left(self._words, key)
            while end < len(self._words) and self._words[end] == key:
                end += 1
            if first < end:
                return self._numbers[first:end].tolist()
        return []
