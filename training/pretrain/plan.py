"""In which order sentences are read, and which share a batch: those of one length, so that nothing is padded."""

import numpy as np
from numpy.typing import NDArray

from training.seed import generator

_PLAN = 1
"""Keeps what is drawn here apart from what is drawn for an update (see training/pretrain/loop.py)."""


def plan_batches(
    lengths: NDArray[np.int64], eligible: NDArray[np.bool_], batch_words: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """The batches of one epoch as positions of sentences, a pure function of its arguments.

    Each eligible sentence occurs once. A batch holds at most `batch_words` words, or one sentence.
    Shape: int64 [S], bool [S] -> int64 [B] each.
    """
    random = generator(seed, _PLAN, epoch)
    order = random.permutation(np.flatnonzero(eligible))
    batches = cut_by_length(order, lengths, batch_words)
    return [batches[i] for i in random.permutation(len(batches))]


def cut_by_length(order: NDArray[np.int64], lengths: NDArray[np.int64], batch_words: int) -> list[NDArray[np.int64]]:
    """Positions of sentences, in batches of one length: the shortest first, those of a length in the order given."""
    order = order[np.argsort(lengths[order], kind="stable")]
    borders = np.flatnonzero(np.diff(lengths[order])) + 1
    batches: list[NDArray[np.int64]] = []
    for equals in np.split(order, borders) if len(order) else []:
        size = max(1, batch_words // int(lengths[equals[0]]))
        batches += [equals[start : start + size] for start in range(0, len(equals), size)]
    return batches
