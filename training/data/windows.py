"""The parts of a corpus that are in memory together: random blocks, as many as a window holds.

A corpus that fits one window is shuffled as a whole. Of a larger one each epoch sees every block
once, beside other blocks than in the epoch before; within a window, sentences are shuffled freely.
"""

import numpy as np
from numpy.typing import NDArray

from teddy.training.learning.torch_setup import generator

_BLOCKS_A_WINDOW = 256
"""Neighbours in a file share a window with so many other places of the text, in each epoch with
others."""

_ORDER = 101
"""Keep what is drawn here apart from what is drawn for an update (see
training/learning/batches.py)."""
_WINDOW = 102


def block_words(window_words: int) -> int:
    """How many words make a block, for windows of so many."""
    return max(1, window_words // _BLOCKS_A_WINDOW)


def plan_windows(sizes: NDArray[np.int64], window_words: int, *key: int) -> list[NDArray[np.int64]]:
    """Return the windows of an epoch: blocks in ascending order; a pure function.

    `sizes` are the blocks' words, `key` is what else the order depends on. A corpus of at most
    `window_words` is one window; a larger one is cut into windows of equal size, each of at most so
    many words and one block. Shape: int64 [blocks] -> int64 [blocks of the window] each.
    """
    total = int(sizes.sum())
    if total <= window_words:
        return [np.arange(len(sizes))]
    order = generator(*key, 0, _ORDER).permutation(len(sizes))
    n_windows = -(-total // window_words)
    ends = np.cumsum(sizes[order])
    cuts = np.searchsorted(ends, np.arange(1, n_windows) * total // n_windows)
    return [np.sort(blocks) for blocks in np.split(order, cuts) if len(blocks)]


def window_generator(window: int, *key: int) -> np.random.Generator:
    """Return the key that shuffles a window of an epoch, counted from 0."""
    return generator(*key, window, _WINDOW) if window else generator(*key)
