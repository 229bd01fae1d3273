"""Noise on the input while training: words and features go missing, so that the network learns to do without them."""

from dataclasses import replace

import numpy as np
import torch

from model.batching import Batch
from model.features import WordFeatures


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
    rows, starts = batch.rows.numpy(), batch.starts.numpy()
    counts = np.diff(np.append(starts, len(rows)))
    word = np.repeat(np.arange(len(starts)), counts)
    kind = np.searchsorted(features.group_starts, rows, side="right")
    dropped = random.random((len(starts), len(features.group_starts) + 1)) < probability
    keep = ~dropped[word, kind]
    left = np.bincount(word, weights=keep, minlength=len(starts))
    keep |= left[word] == 0
    kept_counts = np.bincount(word, weights=keep, minlength=len(starts)).astype(np.int64)
    new_starts = np.zeros_like(starts)
    np.cumsum(kept_counts[:-1], out=new_starts[1:])
    return replace(batch, rows=torch.from_numpy(rows[keep]), starts=torch.from_numpy(new_starts))
