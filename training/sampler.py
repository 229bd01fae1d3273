"""In which order the training sentences are seen, and which share a batch."""

from collections.abc import Sequence

import numpy as np

from training.seed import generator

_POOL_BATCHES = 40
"""Sentences are sorted by length within a pool of about so many batches: wide enough for little padding, and narrow
enough for batches to differ from epoch to epoch."""


def plan_epoch(
    lengths: Sequence[int], weights: Sequence[float], batch_words: int, seed: int, epoch: int
) -> list[list[int]]:
    """The batches of one epoch as positions of sentences, a pure function of its arguments.

    A sentence of weight w occurs floor(w) times, and once more with the probability of what is left of w. A batch
    holds at most `batch_words` words, padding included; a longer sentence has one to itself. No batch is empty.
    """
    random = generator(seed, epoch)
    share = np.asarray(weights, dtype=np.float64)
    times = np.floor(share).astype(np.int64)
    times += random.random(len(share)) < share - times
    order = random.permutation(np.repeat(np.arange(len(share)), times))
    batches: list[list[int]] = []
    pool: list[int] = []
    pool_words = 0
    for position in order.tolist():
        pool.append(position)
        pool_words += lengths[position]
        if pool_words >= batch_words * _POOL_BATCHES:
            batches += _cut(pool, lengths, batch_words)
            pool, pool_words = [], 0
    batches += _cut(pool, lengths, batch_words)
    return [batches[i] for i in random.permutation(len(batches))]


def _cut(pool: list[int], lengths: Sequence[int], batch_words: int) -> list[list[int]]:
    """A pool sorted by length, shortest first, and cut where the next sentence would overfill the padded batch."""
    batches: list[list[int]] = []
    for position in sorted(pool, key=lambda i: lengths[i]):
        # Shortest first: the newcomer's length is what all rows are padded to.
        if batches and lengths[position] * (len(batches[-1]) + 1) <= batch_words:
            batches[-1].append(position)
        else:
            batches.append([position])
    return batches
