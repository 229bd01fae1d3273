"""Noise on the input while training: words and features go missing, so that the network learns to do without them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from teddy.model.batching import Batch
from teddy.model.features import WordFeatures


def drop_words(batch: Batch, unknown_row: int, probability: float, random: np.random.Generator) -> Batch:
    """Replaces each word, on its own, by the unknown word with this probability: the context must tell."""
    if probability == 0.0:
        return batch
    unknown_word = len(batch.starts)
    dropped = torch.from_numpy(random.random(batch.words.shape) < probability)
    return replace(
        batch,
        rows=torch.cat((batch.rows, torch.tensor([unknown_row]))),
        starts=torch.cat((batch.starts, torch.tensor([len(batch.rows)]))),
        words=batch.words.masked_fill(dropped, unknown_word),
    )


def drop_features(batch: Batch, features: WordFeatures, probability: float, random: np.random.Generator) -> Batch:
    """Takes kinds of features (pieces, shape, affixes, whole word) from distinct words, each with this probability.

    A word seen in one training sentence is known by its pieces alone; without them it must be judged by its looks, as
    an unseen word will be. A word that would lose all of its rows keeps them.
    """
    if probability == 0.0:
        return batch
    rows, starts = drop_kinds(batch.rows.numpy(), batch.starts.numpy(), features.group_starts, probability, random)
    return replace(batch, rows=torch.from_numpy(rows), starts=torch.from_numpy(starts))


def drop_kinds(
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    group_starts: Sequence[int],
    probability: float,
    random: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`drop_features` for rows [F] and starts [U] as `WordFeatures.bag` gives them; the kinds begin at `group_starts`.

    Gives fewer rows and as many starts.
    """
    counts = np.diff(np.append(starts, len(rows)))
    word = np.repeat(np.arange(len(starts)), counts)
    kind = np.searchsorted(group_starts, rows, side="right")
    dropped = random.random((len(starts), len(group_starts) + 1)) < probability
    keep = ~dropped[word, kind]
    left = np.bincount(word, weights=keep, minlength=len(starts))
    keep |= left[word] == 0
    kept_counts = np.bincount(word, weights=keep, minlength=len(starts)).astype(np.int64)
    new_starts = np.zeros_like(starts)
    np.cumsum(kept_counts[:-1], out=new_starts[1:])
    return rows[keep], new_starts
