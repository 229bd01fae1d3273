"""In which order the training sentences are seen, and which share a batch."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from teddy.training.seed import generator

_POOL_BATCHES = 40
"""Sentences are sorted by length within a pool of about so many batches: wide enough for little padding, and narrow
enough for batches to differ from epoch to epoch."""


def plan_epoch(
    lengths: Sequence[int] | NDArray[np.integer],
    weights: Sequence[float] | NDArray[np.floating],
    batch_words: int,
    seed: int,
    epoch: int,
) -> list[list[int]]:
    """The batches of one epoch as positions of sentences, a pure function of its arguments.

    A sentence of weight w occurs floor(w) times, and once more with the probability of what is left of w. A batch
    holds at most `batch_words` words, padding included; a longer sentence has one to itself. No batch is empty.
    """
    return [batch.tolist() for batch in plan_batches(lengths, weights, batch_words, generator(seed, epoch))]


def plan_batches(
    lengths: Sequence[int] | NDArray[np.integer],
    weights: Sequence[float] | NDArray[np.floating],
    batch_words: int,
    random: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """The batches of `plan_epoch`, in an order that is drawn from `random`."""
    sizes = np.asarray(lengths, dtype=np.int64)
    share = np.asarray(weights, dtype=np.float64)
    times = np.floor(share).astype(np.int64)
    times += random.random(len(share)) < share - times
    order = random.permutation(np.repeat(np.arange(len(share)), times))
    batches = [batch for pool in _pools(order, sizes, batch_words) for batch in _cut(pool, sizes, batch_words)]
    return [batches[i] for i in random.permutation(len(batches))]


def _pools(order: NDArray[np.int64], sizes: NDArray[np.int64], batch_words: int) -> Iterator[NDArray[np.int64]]:
    """The order in stretches: each ends with the sentence that fills it."""
    ends = np.cumsum(sizes[order])
    start = 0
    while start < len(order):
        before = int(ends[start - 1]) if start else 0
        end = int(np.searchsorted(ends, before + batch_words * _POOL_BATCHES)) + 1
        yield order[start:end]
        start = end


def _cut(pool: NDArray[np.int64], sizes: NDArray[np.int64], batch_words: int) -> Iterator[NDArray[np.int64]]:
    """A pool sorted by length, shortest first, and cut where the next sentence would overfill the padded batch."""
    pool = pool[np.argsort(sizes[pool], kind="stable")]
    lengths = sizes[pool].tolist()
    start = 0
    while start < len(lengths):
        most = min(len(lengths), start + max(1, batch_words // max(1, lengths[start])))
        # Shortest first: the last one's length is what all rows are padded to. The more rows, the more padded words.
        end = bisect_right(range(most), batch_words, start + 1, key=lambda last: lengths[last] * (last + 1 - start))
        yield pool[start:end]
        start = end
