"""The training batches of an epoch: the order of sentences, and those that share a batch."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus
from teddy.training.data.store import StoredSentences, plan_windows, window_generator
from teddy.training.learning.torch_setup import generator

_POOL_BATCHES = 40
"""Sentences are sorted by length within a pool of about so many batches: wide enough for little
padding, and narrow enough for batches to differ from epoch to epoch."""


def plan_epoch(
    lengths: Sequence[int] | NDArray[np.integer],
    weights: Sequence[float] | NDArray[np.floating],
    batch_words: int,
    seed: int,
    epoch: int,
) -> list[list[int]]:
    """Return the batches of one epoch as positions of sentences, a pure function of its arguments.

    A sentence of weight w occurs floor(w) times, and once more with the probability of what is left
    of w. A batch holds at most `batch_words` words, padding included; a longer sentence has one to
    itself. No batch is empty.
    """
    return [
        batch.tolist()
        for batch in plan_batches(lengths, weights, batch_words, generator(seed, epoch))
    ]


def plan_batches(
    lengths: Sequence[int] | NDArray[np.integer],
    weights: Sequence[float] | NDArray[np.floating],
    batch_words: int,
    random: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """Return the batches of `plan_epoch`, in an order that is drawn from `random`."""
    sizes = np.asarray(lengths, dtype=np.int64)
    share = np.asarray(weights, dtype=np.float64)
    times = np.floor(share).astype(np.int64)
    times += random.random(len(share)) < share - times
    order = random.permutation(np.repeat(np.arange(len(share)), times))
    batches = [
        batch
        for pool in _pools(order, sizes, batch_words)
        for batch in _cut(pool, sizes, batch_words)
    ]
    return [batches[i] for i in random.permutation(len(batches))]


def _pools(
    order: NDArray[np.int64], sizes: NDArray[np.int64], batch_words: int
) -> Iterator[NDArray[np.int64]]:
    """Yield the order in stretches: each ends with the sentence that fills it."""
    ends = np.cumsum(sizes[order])
    start = 0
    while start < len(order):
        before = int(ends[start - 1]) if start else 0
        end = int(np.searchsorted(ends, before + batch_words * _POOL_BATCHES)) + 1
        yield order[start:end]
        start = end


def _cut(
    pool: NDArray[np.int64], sizes: NDArray[np.int64], batch_words: int
) -> Iterator[NDArray[np.int64]]:
    """Yield a pool in batches: sorted by length, cut where padding would overfill the batch."""
    pool = pool[np.argsort(sizes[pool], kind="stable")]
    lengths = sizes[pool].tolist()
    start = 0
    while start < len(lengths):
        most = min(len(lengths), start + max(1, batch_words // max(1, lengths[start])))
        # Shortest first: the last one's length is what all rows are padded to. The more rows, the
        # more padded words.
        end = bisect_right(
            range(most), batch_words, start + 1, key=lambda last: lengths[last] * (last + 1 - start)
        )
        yield pool[start:end]
        start = end


class Epoch(Protocol):
    """The batches of one epoch, the same whenever they are asked for."""

    def __len__(self) -> int:
        """How many batches there are."""
        ...

    def batches(self, first: int = 0) -> Iterator[list[Sentence]]:
        """Yield the batches from this one on, counted from 0, for a run that is resumed."""
        ...


class Source(Protocol):
    """All epochs of a run: a pure function of the corpora, the recipe and the seed."""

    def epoch(self, number: int) -> Epoch:
        """Return the epoch of this number, counted from 0."""
        ...


class CorporaInMemory:
    """Sentences that are all in memory, each as often as the weight of its corpus says."""

    def __init__(self, corpora: Sequence[Corpus], batch_words: int, seed: int) -> None:
        """Group sentences into batches of at most `batch_words` words, padding included."""
        self._sentences = [sentence for corpus in corpora for sentence in corpus.train]
        self._weights = [corpus.weight for corpus in corpora for _ in corpus.train]
        self._lengths = [len(sentence.words) for sentence in self._sentences]
        self._batch_words = batch_words
        self._seed = seed

    def epoch(self, number: int) -> "EpochInMemory":
        """Return the epoch of this number, counted from 0."""
        plan = plan_epoch(self._lengths, self._weights, self._batch_words, self._seed, number)
        return EpochInMemory(self._sentences, plan)


class EpochInMemory:
    """An epoch as places in a list of sentences."""

    def __init__(self, sentences: Sequence[Sentence], plan: list[list[int]]) -> None:
        self._sentences = sentences
        self._plan = plan

    def __len__(self) -> int:
        """How many batches there are."""
        return len(self._plan)

    def batches(self, first: int = 0) -> Iterator[list[Sentence]]:
        """Yield the batches from this one on, counted from 0."""
        for members in self._plan[first:]:
            yield [self._sentences[i] for i in members]


class StoredCorpora:
    """Sentences in blocks, of which one window is in memory (see `teddy.training.data.store`).

    Where one window holds all of them, the batches are those of `CorporaInMemory`.
    """

    def __init__(
        self, corpora: Sequence[Corpus], window_words: int, batch_words: int, seed: int
    ) -> None:
        """Use corpora of `open_corpora`, with weights that may differ from the recipe's."""
        stored = [each.train for each in corpora if isinstance(each.train, StoredSentences)]
        if len(stored) < len(corpora):
            raise TypeError("a corpus that is not stored has no blocks")
        self.blocks = stored[0].blocks
        self.names = {each.part: each.corpus for each in stored}
        self.weights = {
            each.part: corpus.weight for each, corpus in zip(stored, corpora, strict=True)
        }
        self.window_words = window_words
        self.batch_words = batch_words
        self.seed = seed
        self.numbers = np.flatnonzero(np.isin(self.blocks.parts, [each.part for each in stored]))
        """Of the blocks to learn from."""

    def epoch(self, number: int) -> "StoredEpoch":
        """Return the epoch of this number, counted from 0."""
        return StoredEpoch(self, number)


class StoredEpoch:
    """An epoch of windows of blocks; a window is planned and read when its batches are wanted."""

    def __init__(self, corpora: StoredCorpora, number: int) -> None:
        self._corpora = corpora
        self._number = number
        sizes = corpora.blocks.n_words[corpora.numbers]
        windows = plan_windows(sizes, corpora.window_words, corpora.seed, number)
        self._windows = [corpora.numbers[window] for window in windows]
        self._n_batches: int | None = None

    def __len__(self) -> int:
        """How many batches there are. The lengths of all sentences are read for it, once."""
        if self._n_batches is None:
            self._n_batches = sum(len(self._plan(window)) for window in range(len(self._windows)))
        return self._n_batches

    def batches(self, first: int = 0) -> Iterator[list[Sentence]]:
        """Yield the batches from this one on, counted from 0; of windows before, lengths are read.

        Raises DataError for a block that is damaged.
        """
        stored, names = self._corpora.blocks, self._corpora.names
        for window, numbers in enumerate(self._windows):
            plan = self._plan(window)
            if first < len(plan):
                parts = stored.parts[numbers].tolist()
                blocks = [
                    stored.read(number, names[part])
                    for number, part in zip(numbers.tolist(), parts, strict=True)
                ]
                sizes = np.array([len(block) for block in blocks])
                ends = np.cumsum(sizes)
                for members in plan[first:]:
                    at = np.searchsorted(ends, members, side="right")
                    places = members - (ends - sizes)[at]
                    yield [
                        blocks[number].sentence(place)
                        for number, place in zip(at.tolist(), places.tolist(), strict=True)
                    ]
            first = max(0, first - len(plan))

    def _plan(self, window: int) -> list[NDArray[np.int64]]:
        """Return the batches of a window, as places among its sentences."""
        corpora, blocks = self._corpora, self._windows[window]
        lengths = [corpora.blocks.lengths(block) for block in blocks.tolist()]
        weights = [corpora.weights[part] for part in corpora.blocks.parts[blocks].tolist()]
        return plan_batches(
            np.concatenate(lengths) if lengths else np.zeros(0, dtype=np.uint32),
            np.repeat(weights, [len(each) for each in lengths]),
            corpora.batch_words,
            window_generator(window, corpora.seed, self._number),
        )
