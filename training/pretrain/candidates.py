"""How probable each of some words is, given a query: a softmax over the candidates.

    P(w | query) proportional to exp(score(query, w)) * p(w),    score = 2 / sqrt(E) * query . vector(w)

vector(w) is the very vector that the network reads, tied (Press & Wolf 2017; Inan et al. 2017); p(w) is how frequent
the word is, so that the score has only the context to tell. A sum over all words at each step would cost many times
the network. Instead the candidates are the distinct words of the batch (sampled softmax, Jean et al. 2015): a word of
frequency p is among the n words of a batch with probability about min(1, p n), and dividing its term by that makes the
sum over the candidates an estimate of the sum over all:

    p / min(1, p n)  =  max(p, 1/n)  =  max(1, p n) / n,    where 1/n is the same for all and cancels.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


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
