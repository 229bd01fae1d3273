"""Sentences of an encoded corpus as the network reads them at a step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from teddy.model.features import UNKNOWN_WORD
from teddy.training.dropout import drop_kinds
from teddy.training.pretrain.candidates import batch_prior
from teddy.training.pretrain.encoded import EncodedCorpus
from teddy.training.pretrain.objective import Objective, Puzzle


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBatch:
    """B sentences of T words each, U of them distinct, of F feature rows in all.

    Shape: `rows` int64 [F] and `starts` int64 [U + 1], the last of them of the unknown word; `log_prior` float32 [U]
    (see `teddy.training.pretrain.candidates`).
    """

    rows: Tensor
    starts: Tensor
    log_prior: Tensor
    puzzle: Puzzle

    def to(self, device: torch.device) -> "TextBatch":
        """The same batch on another device."""
        return TextBatch(
            rows=self.rows.to(device),
            starts=self.starts.to(device),
            log_prior=self.log_prior.to(device),
            puzzle=self.puzzle.to(device),
        )


class BatchMaker:
    """Makes batches of a corpus for an objective."""

    def __init__(self, corpus: EncodedCorpus, objective: Objective, group_starts: Sequence[int]) -> None:
        """`group_starts` are those of the corpus's `WordFeatures`."""
        self._corpus = corpus
        self._objective = objective
        self._group_starts = tuple(group_starts)

    def make(
        self, sentences: NDArray[np.int64], random: np.random.Generator, feature_dropout: float = 0.0
    ) -> tuple[TextBatch, NDArray[np.int64]]:
        """A batch of sentences of one length, and which types its distinct words are. Shape: int64 [B, T] -> [U]."""
        types, flat = np.unique(sentences, return_inverse=True)
        words = flat.reshape(sentences.shape)
        rows, starts = self._corpus.bag(types)
        if feature_dropout:
            rows, starts = drop_kinds(rows, starts, self._group_starts, feature_dropout, random)
        batch = TextBatch(
            rows=torch.from_numpy(np.append(rows, UNKNOWN_WORD)),
            starts=torch.from_numpy(np.append(starts, len(rows))),
            log_prior=batch_prior(self._corpus.counts_of(types), self._corpus.n_learnt_words, sentences.size),
            puzzle=self._objective.puzzle(words, len(types), random),
        )
        return batch, types
