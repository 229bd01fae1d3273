"""The counts of the newest texts: a sliding window that remembers no text.

A text's counts are added to the newest block; a full block is followed by another, and the oldest block leaves as a
whole, when there are too many texts or when it has become too old. So the window is a few blocks of sums, however many
texts it stands for.
"""

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teddy.model.profile import Profiler, Sums

BLOCKS = 10
"""In a full window. It slides by a tenth of itself."""
MOST_SECONDS = 24 * 3600.0
BLOCK_SECONDS = 3600.0
"""Few texts fill no block; after so long a new one is begun all the same."""


@dataclass(slots=True)
class Block:
    """Texts that came one after another; `begun` when the first of them did, in seconds."""

    begun: float
    sums: "Sums"


class RecentCounts:
    """The sums of at most so many texts, none of them older than a day."""

    def __init__(self, profiler: "Profiler", most_texts: int) -> None:
        self._profiler = profiler
        self._most_texts = most_texts
        self._block_texts = max(1, most_texts // BLOCKS)
        self._blocks: deque[Block] = deque()

    def add(self, counts: "Counter[int]", at: float) -> None:
        """Add a text's counts. `at` is the time, in seconds, and never goes back."""
        if not self._blocks or self._is_full(self._blocks[-1], at):
            self._blocks.append(Block(at, self._profiler.sums()))
        self._profiler.add(self._blocks[-1].sums, counts)
        while sum(block.sums.n_texts for block in self._blocks) > self._most_texts:
            self._blocks.popleft()
        self.forget(at)

    def forget(self, now: float) -> bool:
        """Drop what is too old; say whether there was something."""
        before = len(self._blocks)
        while self._blocks and now - self._blocks[0].begun >= MOST_SECONDS:
            self._blocks.popleft()
        return len(self._blocks) < before

    def total(self) -> "Sums":
        """The sums of all texts in the window."""
        total = self._profiler.sums()
        for block in self._blocks:
            total += block.sums
        return total

    def _is_full(self, block: Block, at: float) -> bool:
        return block.sums.n_texts >= self._block_texts or at - block.begun >= BLOCK_SECONDS
