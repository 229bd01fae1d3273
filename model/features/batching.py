"""Sentences to tensors: the only file that pads, for training and serving."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from teddy.model.features.rows import WordFeatures


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What the network reads: B sentences of at most T words, with U distinct words.

    Shape: `rows` int64 [F] and `starts` int64 [U] are the feature rows of the distinct words, one
    after another; `words` int64 [B, T] are indices of distinct words (0 at padding); `lengths`
    int64 [B], each at least 1.
    """

    rows: Tensor
    starts: Tensor
    words: Tensor
    lengths: Tensor

    @property
    def inside(self) -> Tensor:
        """Bool [B, T]: true at words, false at padding."""
        columns = torch.arange(self.words.shape[1], device=self.lengths.device)
        return columns < self.lengths.unsqueeze(1)

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on another device."""
        return Batch(
            rows=self.rows.to(device),
            starts=self.starts.to(device),
            words=self.words.to(device),
            lengths=self.lengths.to(device),
        )


def make_batch(sentences: Sequence[Sequence[str]], features: WordFeatures) -> Batch:
    """Pad sentences of words, in the order given.

    Raises ValueError when there is no sentence, or one without words.
    """
    if not sentences or not all(sentences):
        raise ValueError("a batch needs sentences, each of at least one word")
    distinct: dict[str, int] = {}
    lengths = [len(sentence) for sentence in sentences]
    words = np.zeros((len(sentences), max(lengths)), dtype=np.int64)
    for row, sentence in enumerate(sentences):
        words[row, : len(sentence)] = [
            distinct.setdefault(word, len(distinct)) for word in sentence
        ]
    rows, starts = features.bag(list(distinct))
    return Batch(
        rows=torch.from_numpy(rows),
        starts=torch.from_numpy(starts),
        words=torch.from_numpy(words),
        lengths=torch.tensor(lengths),
    )


def group_by_length(lengths: Sequence[int], max_words: int) -> list[list[int]]:
    """Split positions into batches of near-equal lengths, of at most `max_words` with padding.

    A longer sentence makes a batch of its own; no batch is empty; every position occurs once. The
    longest come first, so that the largest allocation does. All batches but the last have as many
    rows as a `bucket_size`.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batches: list[list[int]] = []
    room = 0
    for position in order:
        if not room:
            batches.append([])
            room = bucket_size(max_words // bucket_size(lengths[position]), down=True) or 1
        batches[-1].append(position)
        room -= 1
    return batches


def pad_rows(
    starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of the words of sentences as a padded table, and its row lengths.

    `starts` are the positions of first words; `lengths` are at least 1, the longest first. Both
    sides of the table are a `bucket_size`. Padding repeats words, no matter which: a row's last or,
    in rows that are all padding, the first sentence's first.

    Shape: [n], [n] -> [B, T], [B].
    """
    n_rows = bucket_size(len(starts))
    first, row_lengths = np.full(n_rows, starts[0]), np.ones(n_rows, dtype=np.int64)
    first[: len(starts)], row_lengths[: len(starts)] = starts, lengths
    columns = np.minimum(np.arange(bucket_size(int(lengths[0]))), row_lengths[:, np.newaxis] - 1)
    return first[:, np.newaxis] + columns, row_lengths


_EXACT_SIZE = 16


def bucket_size(size: int, *, down: bool = False) -> int:
    """Round a size up to the next of a short list; or, `down`, to the one below.

    oneDNN makes a kernel for every new shape of batch, which takes some 3 ms and 0.2 MB, more than
    running it. There are eight sizes in each doubling: padding to the next costs an eighth at most.
    """
    if size <= _EXACT_SIZE:
        return size
    step = 1 << ((size if down else size - 1).bit_length() - 4)
    return (size if down else size + step - 1) // step * step
