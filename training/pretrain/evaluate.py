"""What a network makes of text that it has not learnt from: the same questions at each evaluation."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from teddy.training.pretrain.batch import BatchMaker
from teddy.training.pretrain.candidates import candidate_logits, unigram_prior
from teddy.training.pretrain.config import PretrainConfig
from teddy.training.pretrain.encoded import EncodedCorpus
from teddy.training.pretrain.network import PretrainingNetwork
from teddy.training.pretrain.objective import Guesses
from teddy.training.pretrain.plan import cut_by_length
from teddy.training.seed import generator

_QUERIES_AT_ONCE = 1024
"""Scores of so many queries against 20,000 words take 80 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutScores:
    """See `teddy.training.record.HeldOutRow`."""

    perplexity: float | None
    accuracy: float | None
    detection_accuracy: float | None


@dataclass(slots=True)
class _Counts:
    n_guesses: int = 0
    n_right: int = 0
    nats: float = 0.0
    n_verdicts: int = 0
    n_right_verdicts: int = 0

    def scores(self) -> HeldOutScores:
        return HeldOutScores(
            perplexity=math.exp(min(self.nats / self.n_guesses, 700.0)) if self.n_guesses else None,
            accuracy=self.n_right / self.n_guesses if self.n_guesses else None,
            detection_accuracy=self.n_right_verdicts / self.n_verdicts if self.n_verdicts else None,
        )


class HeldOutText:
    """The held-out sentences of a corpus, evenly chosen when there are too many.

    Words are guessed among the `evaluation_words` most frequent, each with its frequency as the prior, so that numbers
    of different runs compare; where another word is right, the guess does not count. Masks and replacements are the
    same at each evaluation.
    """

    def __init__(self, corpus: EncodedCorpus, config: PretrainConfig) -> None:
        self._corpus = corpus
        held_out, lengths = _long_enough(corpus, config.shortest_sentence)
        n_chosen = min(len(held_out), config.evaluation_sentences)
        chosen = np.arange(n_chosen) * len(held_out) // max(n_chosen, 1)
        batches = cut_by_length(chosen, lengths, config.batch_words)
        self._batches = [corpus.sentences(held_out[members]) for members in batches]
        self._candidates = np.arange(min(len(corpus.counts), config.evaluation_words))
        self._log_prior = unigram_prior(corpus.counts[self._candidates], corpus.n_learnt_words)

    @property
    def n_sentences(self) -> int:
        """How many sentences are asked."""
        return sum(map(len, self._batches))

    @torch.inference_mode()
    def measure(self, network: PretrainingNetwork, maker: BatchMaker, device: torch.device) -> HeldOutScores:
        """Asks the network, in the number format of the block around this call."""
        was_training = network.training
        network.eval()
        rows, starts = self._corpus.bag(self._candidates)
        vectors = network.word_vectors(torch.from_numpy(rows).to(device), torch.from_numpy(starts).to(device))
        counts = _Counts()
        for number, sentences in enumerate(self._batches):
            batch, types = maker.make(sentences, generator(0, number))
            guesses, _ = network.guesses(batch.to(device))
            self._count_words(counts, guesses, types, vectors)
            _count_verdicts(counts, guesses)
        network.train(was_training)
        return counts.scores()

    def _count_words(self, counts: _Counts, guesses: Guesses, types: NDArray[np.int64], vectors: Tensor) -> None:
        if guesses.queries is None or guesses.targets is None:
            return
        targets = torch.from_numpy(types).to(vectors.device)[guesses.targets]
        is_asked = targets < len(self._candidates)
        log_prior = self._log_prior.to(vectors.device)
        for queries, right in zip(
            torch.split(guesses.queries[is_asked], _QUERIES_AT_ONCE),
            torch.split(targets[is_asked], _QUERIES_AT_ONCE),
            strict=True,
        ):
            logits = candidate_logits(queries, vectors, log_prior)
            counts.nats += functional.cross_entropy(logits, right, reduction="sum").item()
            counts.n_right += int((logits.argmax(dim=1) == right).sum())
            counts.n_guesses += len(right)


def _long_enough(corpus: EncodedCorpus, shortest: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which held-out sentences have so many words, and how many each has; block by block."""
    numbers, lengths = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for first, last in pairwise(corpus.blocks[:, 0].tolist()):
        some = corpus.lengths(first, last)
        chosen = np.flatnonzero(corpus.is_held_out(first, last) & (some >= shortest))
        numbers.append(first + chosen)
        lengths.append(some[chosen])
    return np.concatenate(numbers), np.concatenate(lengths)


def _count_verdicts(counts: _Counts, guesses: Guesses) -> None:
    if guesses.verdicts is not None and guesses.replaced is not None:
        counts.n_right_verdicts += int(((guesses.verdicts > 0) == guesses.replaced.bool()).sum())
        counts.n_verdicts += len(guesses.verdicts)
