"""The vectors of the words that were met before: what depends on a word alone is computed once.

A text's words are few and come again: of 280,000 words of an encyclopaedia one in ten is new to the
reader. A new one costs 6 us, to find its feature rows and add them up; a known one is a look-up in
a dictionary, 0.1 us.

(The first layer's input projection depends on the word alone too. It is not kept: the fused
recurrent kernel makes it in one matrix product over all words, and takes no other input. A loop
over the time that adds what was kept took 1.5 times as long for 160 rows of 25 words, 1.9 times for
40, 6 times for one; hidden 128, bf16; in fp32 1.1, 1.3 and 2.4.)
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
"""Words in one generation; two are kept. Twice as many make memory grow by 15 % over a million
words.

Of 2 million words of an encyclopaedia so many leave 8 in a hundred new to the network; twice as
many 6, half 12. """


class WordReader(Protocol):
    """A network that turns the feature rows of words into vectors: see `Network.word_vectors`."""

    def word_vectors(self, rows: Tensor, starts: Tensor) -> Tensor:
        """Shape: int64 [F], [U] -> [U, E]."""
        ...


@dataclass(frozen=True, slots=True)
class _Generation:
    """Some words: where each stands in the table.

    Rows are written before their words are listed, and never again.
    """

    table: Tensor
    places: dict[str, int] = field(default_factory=dict)


class WordVectors:
    """Looks words up in a table of vectors that grows as they come; safe to use from several threads.

    When a generation is full a new one is begun, which takes over from the one before it what is
    asked for again: so frequent words stay, and memory is bounded. The network must not change
    while its vectors are kept.
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
        """A table of vectors [N, E], and the row in it of each word. It is not to be written to."""
        now = self._now
        places = list(map(now.places.get, words))
        if None in places:
            with self._lock:
                now = self._learn(dict.fromkeys(words))
            places = list(map(now.places.get, words))
        return now.table, np.array(places, dtype=np.int64)

    def _learn(self, words: dict[str, None]) -> _Generation:
        """The generation that has all of these words, made if need be."""
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
