"""The objectives of pre-training: to guess masked words, or the next word.

Letters: B sentences of T words each; U distinct words; E the embedding width; N words to guess.
How probable each word is, given a query, is a softmax over candidates:

    P(w | query) proportional to exp(score(query, w)) * p(w)
    score(query, w) = 2 / sqrt(E) * query . vector(w)

vector(w) is the vector that the network reads, tied (Press & Wolf 2017; Inan et al. 2017); p(w) is
the frequency of the word, so that the score is about the context alone. A sum over all words at
each step would cost many times the network. Instead the candidates are the distinct words of the
batch (sampled softmax, Jean et al. 2015): a word of frequency p is among the n words of a batch
with probability about min(1, p n), and dividing its term by that makes the sum over the candidates
an estimate of the sum over all:

    p / min(1, p n)  =  max(p, 1/n)  =  max(1, p n) / n,    where 1/n is the same for all words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from teddy.model.config import NetworkConfig
from teddy.model.features.rows import UNKNOWN_WORD
from teddy.model.network.encoder import Encoder, RecurrentLayer
from teddy.model.network.tagger_network import Backbone
from teddy.training.learning.input_noise import drop_kinds
from teddy.training.pretrain.encoded import EncodedCorpus
from teddy.training.recipe.sections import PretrainConfig


@dataclass(frozen=True, slots=True)
class Puzzle:
    """A batch as it was, `true`, and as the network reads it, `shown`. All are [B, T].

    `true` and `shown` are int64 positions among the batch's U distinct words; U itself is the
    unknown word. `masked` is bool: which words are hidden.
    """

    true: Tensor
    shown: Tensor
    masked: Tensor

    def to(self, device: torch.device) -> "Puzzle":
        """Return the same puzzle on another device."""
        return Puzzle(*(each.to(device) for each in (self.true, self.shown, self.masked)))


def make_puzzle(
    true: NDArray[np.int64], shown: NDArray[np.int64], masked: NDArray[np.bool_] | None = None
) -> Puzzle:
    """Make a puzzle of arrays."""
    hidden = np.zeros(true.shape, dtype=np.bool_) if masked is None else masked
    arrays = map(np.ascontiguousarray, (true, shown, hidden))
    return Puzzle(*map(torch.from_numpy, arrays))


class WordGuess(nn.Module):
    """Maps a state of the encoder to a query: a vector like that of the guessed word."""

    def __init__(self, input_width: int, embedding_width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(input_width, embedding_width)
        self.normalisation = nn.LayerNorm(embedding_width)

    def forward(self, states: Tensor) -> Tensor:
        """Shape: [N, input width] -> [N, E]."""
        query: Tensor = self.normalisation(self.projection(states))
        return query


class MaskedWords(nn.Module):
    """Guess masked words from all the others (Devlin et al. 2019; the cloze of Taylor 1953).

        loss = - mean over masked t of log P(w_t | the words around t)

    A masked word is shown as the unknown word, as word dropout does while a tagger is trained.
    """

    def __init__(self, encoder_width: int, embedding_width: int, masked_share: float) -> None:
        super().__init__()
        self.masked_share = masked_share
        self.guess = WordGuess(encoder_width, embedding_width)

    def puzzle(
        self, words: NDArray[np.int64], n_distinct: int, random: np.random.Generator
    ) -> Puzzle:
        """Mask words of a batch [B, T] at random, at least one."""
        masked = random.random(words.shape) < self.masked_share
        if not masked.any():
            masked.flat[random.integers(masked.size)] = True
        return make_puzzle(words, np.where(masked, n_distinct, words), masked)

    def answer(self, encoder: Encoder, vectors: Tensor, puzzle: Puzzle) -> tuple[Tensor, Tensor]:
        """Return queries and targets from the vectors of the shown words, float [B, T, E].

        The N queries, [N, E], shall lie near the vectors of the right words, targets int64 [N].
        """
        n_rows, width = puzzle.shown.shape
        states = encoder(vectors, torch.full((n_rows,), width, device=vectors.device))
        queries = self.guess(states[puzzle.masked])
        return queries, puzzle.true[puzzle.masked]


class NextWords(nn.Module):
    """Guess the next word reading forwards, the previous one backwards (ELMo, Peters et al. 2018).

        loss = - mean over t of log P(w_t | w_1 ... w_t-1) and of log P(w_t | w_t+1 ... w_T)

    The first word of a reading is not guessed.
    """

    def __init__(self, hidden_width: int, embedding_width: int) -> None:
        super().__init__()
        self.next = WordGuess(hidden_width, embedding_width)
        self.previous = WordGuess(hidden_width, embedding_width)

    def puzzle(
        self,
        words: NDArray[np.int64],
        n_distinct: int,  # noqa: ARG002 - nothing is hidden
        random: np.random.Generator,  # noqa: ARG002
    ) -> Puzzle:
        """Return the words of a batch [B, T] as they are."""
        return make_puzzle(words, words)

    def answer(self, encoder: Encoder, vectors: Tensor, puzzle: Puzzle) -> tuple[Tensor, Tensor]:
        """Return queries and targets of next words, and then of previous ones."""
        forwards = read_one_way(encoder, vectors, backwards=False)
        backwards = read_one_way(encoder, vectors.flip(1), backwards=True)
        queries = (
            self.next(forwards[:, :-1].flatten(0, 1)),
            self.previous(backwards[:, :-1].flatten(0, 1)),
        )
        targets = (puzzle.true[:, 1:].flatten(), puzzle.true.flip(1)[:, 1:].flatten())
        return torch.cat(queries), torch.cat(targets)


Objective: TypeAlias = MaskedWords | NextWords


def read_one_way(encoder: Encoder, vectors: Tensor, *, backwards: bool) -> Tensor:
    """Return the states of one direction of the stack alone: what a layer reads of the other is 0.

    With the other direction, a second layer would see what is still to come.

    Shape: [B, T, E] in the order of reading -> [B, T, hidden width] in the same order.
    """
    # The layers have time first.
    states = vectors.transpose(0, 1)
    for depth, layer in enumerate(encoder.recurrent):
        if depth and not encoder.summed:
            nothing = torch.zeros_like(states)
            states = torch.cat((nothing, states) if backwards else (states, nothing), dim=2)
        if not isinstance(layer, RecurrentLayer):
            raise TypeError(f"{type(layer).__name__} is not a layer of two directions")
        states = (layer.backwards if backwards else layer.forwards)(states)
        states = encoder.dropout(states.transpose(0, 1)).transpose(0, 1)
    return states.transpose(0, 1)


def candidate_logits(queries: Tensor, vectors: Tensor, log_prior: Tensor) -> Tensor:
    """Return the logarithm of each candidate's probability, up to a constant of each query.

    Shape: [N, E], [U, E], float32 [U] -> float32 [N, U].
    """
    scale = 2.0 / math.sqrt(vectors.shape[1])
    return functional.linear(queries, vectors).float() * scale + log_prior


def batch_prior(counts: NDArray[np.int64], total: int, n_words: int) -> Tensor:
    """Return log max(1, p n) for the distinct words of a batch of n words.

    `counts` and `total` are of the whole text. Shape: int64 [U] -> float32 [U].
    """
    return torch.from_numpy(np.log(np.maximum(1.0, counts / total * n_words)).astype(np.float32))


def unigram_prior(counts: NDArray[np.int64], total: int) -> Tensor:
    """Return log p of words that are always candidates. Shape: int64 [U] -> float32 [U]."""
    return torch.from_numpy(np.log(np.maximum(1, counts) / total).astype(np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBatch:
    """B sentences of T words each, U of them distinct, of F feature rows in all.

    Shape: `rows` int64 [F] and `starts` int64 [U + 1], the last of the unknown word; `log_prior`
    float32 [U].
    """

    rows: Tensor
    starts: Tensor
    log_prior: Tensor
    puzzle: Puzzle

    def to(self, device: torch.device) -> "TextBatch":
        """Return the same batch on another device."""
        return TextBatch(
            rows=self.rows.to(device),
            starts=self.starts.to(device),
            log_prior=self.log_prior.to(device),
            puzzle=self.puzzle.to(device),
        )


@dataclass(frozen=True, slots=True)
class BatchMaker:
    """Makes batches of a corpus; `group_starts` are those of its `WordFeatures`."""

    corpus: EncodedCorpus
    objective: Objective
    group_starts: Sequence[int]

    def make(
        self,
        sentences: NDArray[np.int64],
        random: np.random.Generator,
        feature_dropout: float = 0.0,
    ) -> tuple[TextBatch, NDArray[np.int64]]:
        """Make a batch of sentences of one length; return it with the types of its distinct words.

        Shape: int64 [B, T] -> [U].
        """
        types, flat = np.unique(sentences, return_inverse=True)
        words = flat.reshape(sentences.shape)
        rows, starts = self.corpus.bag(types)
        if feature_dropout:
            rows, starts = drop_kinds(rows, starts, self.group_starts, feature_dropout, random)
        counts, total = self.corpus.counts_of(types), self.corpus.n_learnt_words
        batch = TextBatch(
            rows=torch.from_numpy(np.append(rows, UNKNOWN_WORD)),
            starts=torch.from_numpy(np.append(starts, len(rows))),
            log_prior=batch_prior(counts, total, sentences.size),
            puzzle=self.objective.puzzle(words, len(types), random),
        )
        return batch, types


class PretrainingNetwork(Backbone):
    """A backbone and the objective that teaches it."""

    def __init__(self, network: NetworkConfig, n_feature_rows: int, config: PretrainConfig) -> None:
        # The dropout of the recipe's network is for few sentences read many times.
        network = replace(network, embedding_dropout=0.0, layer_dropout=config.layer_dropout)
        super().__init__(network, n_feature_rows)
        width = network.embedding_width
        self.objective: Objective = (
            NextWords(network.hidden_width, width)
            if config.objective == "causal"
            else MaskedWords(self.encoder.output_width, width, config.masked_share)
        )

    def guesses(self, batch: TextBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries and targets of a batch, and the vectors of its distinct words [U, E]."""
        vectors = self.word_vectors(batch.rows, batch.starts)
        shown = functional.embedding(batch.puzzle.shown, vectors)
        queries, targets = self.objective.answer(self.encoder, shown, batch.puzzle)
        return queries, targets, vectors[:-1]

    def loss(self, batch: TextBatch) -> Tensor:
        """Return the loss in nats for each word asked. Shape: float32 []."""
        queries, targets, candidates = self.guesses(batch)
        logits = candidate_logits(queries, candidates, batch.log_prior)
        return functional.cross_entropy(logits, targets)
