"""What a network is asked while it learns from plain text: batches, puzzles, and the parts that all objectives share.

Letters: B sentences of T words each; U distinct words; E the embedding width; N words to guess, M
to judge. How probable each of some words is, given a query, is a softmax over candidates:

    P(w | query) proportional to exp(score(query, w)) * p(w),    score = 2 / sqrt(E) * query . vector(w)

vector(w) is the very vector that the network reads, tied (Press & Wolf 2017; Inan et al. 2017);
p(w) is how frequent the word is, so that the score has only the context to tell. A sum over all
words at each step would cost many times the network. Instead the candidates are the distinct words
of the batch (sampled softmax, Jean et al. 2015): a word of frequency p is among the n words of a
batch with probability about min(1, p n), and dividing its term by that makes the sum over the
candidates an estimate of the sum over all:

    p / min(1, p n)  =  max(p, 1/n)  =  max(1, p n) / n,    where 1/n is the same for all and cancels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from teddy.model.features.rows import UNKNOWN_WORD
from teddy.model.network.encoder import Encoder
from teddy.training.learning.input_noise import drop_kinds
from teddy.training.pretrain.encoded import EncodedCorpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Puzzle:
    """A batch as it is put to the network, and as it was. All are [B, T].

    `true` and `shown` are int64 positions among the batch's U distinct words; a word that is shown
    as U is the unknown word. `masked` and `replaced` are bool: what was hidden, and what stands for
    another word now.
    """

    true: Tensor
    shown: Tensor
    masked: Tensor
    replaced: Tensor

    def to(self, device: torch.device) -> "Puzzle":
        """The same puzzle on another device."""
        return Puzzle(
            true=self.true.to(device),
            shown=self.shown.to(device),
            masked=self.masked.to(device),
            replaced=self.replaced.to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Guesses:
    """What the network answers, beside what is right; of both parts at least one is there.

    `queries` [N, E] are to lie near the vector of the word that is right, `targets` int64 [N].
    `verdicts` float32 [M] are the log-odds that a word was replaced, `replaced` float32 [M] is 1
    where one was, else 0.
    """

    queries: Tensor | None = None
    targets: Tensor | None = None
    verdicts: Tensor | None = None
    replaced: Tensor | None = None


class Objective(nn.Module):
    """Puts a puzzle and reads the answer off the encoder; holds the layers that only pre-training needs."""

    detection_weight: float = 1.0
    """Of the loss over verdicts, beside that over guessed words."""

    def puzzle(
        self, words: NDArray[np.int64], n_distinct: int, random: np.random.Generator
    ) -> Puzzle:
        """Hides or replaces words [B, T] at random."""
        raise NotImplementedError

    def answer(self, encoder: Encoder, vectors: Tensor, puzzle: Puzzle) -> Guesses:
        """What is made of the shown words. Shape: float [B, T, E]."""
        raise NotImplementedError


class WordGuess(nn.Module):
    """From a state of the encoder to a query: a vector that is to be like that of the word meant."""

    def __init__(self, input_width: int, embedding_width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(input_width, embedding_width)
        self.normalisation = nn.LayerNorm(embedding_width)

    def forward(self, states: Tensor) -> Tensor:
        """Shape: [N, input width] -> [N, E]."""
        query: Tensor = self.normalisation(self.projection(states))
        return query


def choose(shape: tuple[int, ...], share: float, random: np.random.Generator) -> NDArray[np.bool_]:
    """Chooses each place with this probability, and never none: a short batch must ask something too."""
    chosen = random.random(shape) < share
    if not chosen.any():
        chosen.flat[random.integers(chosen.size)] = True
    return chosen


def exchange(
    words: NDArray[np.int64], places: NDArray[np.bool_], random: np.random.Generator
) -> NDArray[np.int64]:
    """The words, with those at some places replaced by others drawn from the batch, frequent ones more often."""
    shuffled = random.permutation(words.reshape(-1)).reshape(words.shape)
    return np.where(places, shuffled, words)


def make_puzzle(
    true: NDArray[np.int64],
    shown: NDArray[np.int64],
    masked: NDArray[np.bool_] | None = None,
    replaced: NDArray[np.bool_] | None = None,
) -> Puzzle:
    """A puzzle of arrays."""
    nowhere = np.zeros(true.shape, dtype=np.bool_)
    return Puzzle(
        true=torch.from_numpy(np.ascontiguousarray(true)),
        shown=torch.from_numpy(np.ascontiguousarray(shown)),
        masked=torch.from_numpy(nowhere if masked is None else masked),
        replaced=torch.from_numpy(nowhere if replaced is None else replaced),
    )


def candidate_logits(queries: Tensor, vectors: Tensor, log_prior: Tensor) -> Tensor:
    """The logarithm of each candidate's probability, up to a constant of each query.

    Shape: [N, E], [U, E], float32 [U] -> float32 [N, U].
    """
    scale = 2.0 / math.sqrt(vectors.shape[1])
    return functional.linear(queries, vectors).float() * scale + log_prior


def batch_prior(counts: NDArray[np.int64], total: int, n_words: int) -> Tensor:
    """The logarithm of max(1, p n) for the distinct words of a batch of n words, each so frequent in the whole text.

    Shape: int64 [U] -> float32 [U].
    """
    return torch.from_numpy(np.log(np.maximum(1.0, counts / total * n_words)).astype(np.float32))


def unigram_prior(counts: NDArray[np.int64], total: int) -> Tensor:
    """The logarithm of p for words that are always candidates. Shape: int64 [U] -> float32 [U]."""
    return torch.from_numpy(np.log(np.maximum(1, counts) / total).astype(np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBatch:
    """B sentences of T words each, U of them distinct, of F feature rows in all.

    Shape: `rows` int64 [F] and `starts` int64 [U + 1], the last of them of the unknown word;
    `log_prior` float32 [U] (see the head of this file).
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

    def __init__(
        self, corpus: EncodedCorpus, objective: Objective, group_starts: Sequence[int]
    ) -> None:
        """`group_starts` are those of the corpus's `WordFeatures`."""
        self._corpus = corpus
        self._objective = objective
        self._group_starts = tuple(group_starts)

    def make(
        self,
        sentences: NDArray[np.int64],
        random: np.random.Generator,
        feature_dropout: float = 0.0,
    ) -> tuple[TextBatch, NDArray[np.int64]]:
        """A batch of sentences of one length, and which types its distinct words are.

        Shape: int64 [B, T] -> [U].
        """
        types, flat = np.unique(sentences, return_inverse=True)
        words = flat.reshape(sentences.shape)
        rows, starts = self._corpus.bag(types)
        if feature_dropout:
            rows, starts = drop_kinds(rows, starts, self._group_starts, feature_dropout, random)
        batch = TextBatch(
            rows=torch.from_numpy(np.append(rows, UNKNOWN_WORD)),
            starts=torch.from_numpy(np.append(starts, len(rows))),
            log_prior=batch_prior(
                self._corpus.counts_of(types), self._corpus.n_learnt_words, sentences.size
            ),
            puzzle=self._objective.puzzle(words, len(types), random),
        )
        return batch, types
