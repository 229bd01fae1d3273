"""Classes of words: which words are alike, as Brown clusters and lists of names say it.

Words of one class share a row of the embedding. So a word that was never learnt is read like others
of its class that were (Brown et al. 1992; for entities, Miller et al. 2004).

A lexicon holds hashes, not words: six bytes an entry in memory and three in a file, and many
words are looked up at once. A word that is not listed is taken for a listed one with a probability
of 5e-5 (200,000 entries, CRC-32).
"""

import zlib
from collections.abc import Iterable, Sequence
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
        self._words = np.cumsum(entries["step"], dtype=np.uint32)
        self._numbers = entries["number"].copy()
        self.n_classes = int(self._numbers.max()) + 1 if len(entries) else 0

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

    def classes(self, words: Sequence[str]) -> list[list[int]]:
        """Return the numbers of the classes of each word, in ascending order.

        A word that is not listed as it stands is looked up in lower case, then with only its first
        letter in upper case: `BERLIN` and `berlin` are found as `Berlin`.
        """
        forms = [words, [word.lower() for word in words], [word.capitalize() for word in words]]
        hashes = np.array([[crc32(word.encode()) for word in each] for each in forms], np.uint32)
        first = np.searchsorted(self._words, hashes, side="left")
        end = np.searchsorted(self._words, hashes, side="right")
        form = np.argmax(end > first, axis=0), np.arange(len(words))
        found = zip(first[form].tolist(), end[form].tolist(), strict=True)
        return [self._numbers[start:stop].tolist() for start, stop in found]
