"""How often words occur, in bounded memory: lossy counting (Manku & Motwani 2002), of which an ordinary text sees none.

As long as there are no more distinct words than the table may have, the counts are exact. When it overflows, the rarest
words are dropped until it is half full. A word that comes again begins anew, so that its count is too low by at most
`uncertain_by`: the sum, over all prunings, of the greatest count that was dropped. Of a word that was never dropped the
count is exact.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

MOST_WORDS = 500_000
"""Distinct words; 0.1 GB."""


class WordCounts:
    """Counts of words, those of the rarest pruned; see the head of this file."""

    def __init__(self, most: int = MOST_WORDS) -> None:
        """The table has at most `most` words, and for a moment those of one `add` more."""
        self.counts: Counter[str] = Counter()
        """In the order in which the words came."""
        self.uncertain_by = 0
        """No count is lower than the true one by more; a word that is not in the table occurred no more often."""
        self._most = most

    def add(self, words: Iterable[str] | Mapping[str, int]) -> None:
        """Counts some words, or adds up counts."""
        self.counts.update(words)
        if len(self.counts) > self._most:
            self._prune()

    def _prune(self) -> None:
        ranked = sorted(self.counts.values(), reverse=True)
        cut = ranked[self._most // 2]
        self.counts = Counter({word: count for word, count in self.counts.items() if count > cut})
        self.uncertain_by += cut
