"""A cache of word vectors: what depends on a word alone is computed once.

Of 280,000 words of an encyclopaedia one in ten is new to the reader. A new one costs 6 us, a known
one a look-up in a dictionary, 0.1 us.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from teddy.model.features.rows import WordFeatures

_CAPACITY = 2**14
"""Words in one generation; two are kept. Of 2 million words of an encyclopaedia 8 in a hundred are
then computed; with twice as many 6, with half 12. Twice as many make memory grow by 15 %."""


class WordReader(Protocol):
    """A network that makes vectors of words from their feature rows: see `Network.word_vectors`."""

    def word_vectors(self, rows: Tensor, starts: Tensor) -> Tensor:
        """Shape: int64 [F], [U] -> [U, E]."""
        ...


@dataclass(frozen=True, slots=True)
class _Generation:
    """The rows of some words in a table; a row is written once, before its word is listed."""

    table: Tensor
    places: dict[str, int] = field(default_factory=dict)


class WordVectors:
    """A bounded table of word vectors that fills as words come; safe to use from several threads.

    When a generation is full a new one begins, and copies from the one before what is asked for
    again, so that frequent words stay. The network must not change meanwhile.
    """

    def __init__(
        self,
        network: WordReader,
        features: WordFeatures,
        number_format: torch.dtype = torch.float32,
        capacity: int = _CAPACITY,
    ) -> None:
        self._network = network
        self._features = features
        self._capacity = capacity
        self._lock = Lock()
        with torch.inference_mode():
            nothing = network.word_vectors(
                torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
            )
        self._before = self._now = _Generation(nothing.to(number_format))

    def look_up(self, words: Sequence[str]) -> tuple[Tensor, NDArray[np.int64]]:
        """Return a table of vectors [N, E], which is read-only, and each word's row in it."""
        now = self._now
        places = list(map(now.places.get, words))
        if None in places:
            with self._lock:
                now = self._learn(dict.fromkeys(words))
            places = list(map(now.places.get, words))
        return now.table, np.array(places, dtype=np.int64)

    def _learn(self, words: dict[str, None]) -> _Generation:
        """Return the generation that has all of these words, after computing those it lacks."""
        missing = [word for word in words if word not in self._now.places]
        if len(self._now.places) + len(missing) > len(self._now.table):
            self._before, missing = self._now, list(words)
            width, dtype = self._now.table.shape[1], self._now.table.dtype
            self._now = _Generation(
                torch.empty(max(self._capacity, len(missing)), width, dtype=dtype)
            )
        now, before = self._now, self._before
        kept = [word for word in missing if word in before.places] if before is not now else []
        new = [word for word in missing if word not in before.places] if kept else missing
        with torch.inference_mode():
            free = len(now.places)
            if kept:
                rows = torch.tensor([before.places[word] for word in kept])
                torch.index_select(before.table, 0, rows, out=now.table[free : free + len(kept)])
                free += len(kept)
            if new:
                found = self._network.word_vectors(
                    *map(torch.from_numpy, self._features.bag(new, remember=False))
                )
                now.table[free : free + len(new)] = found
        # Published last: another thread may be reading without the lock.
        for place, word in enumerate([*kept, *new], start=len(now.places)):
            now.places[word] = place
        return now
