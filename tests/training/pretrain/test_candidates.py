"""The softmax over candidates, against sums written out."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.training.pretrain.encoded import EncodedCorpus
from teddy.training.pretrain.objectives import (
    BatchMaker,
    PretrainingNetwork,
    batch_prior,
    candidate_logits,
    unigram_prior,
)
from teddy.training.recipe.recipe import Recipe
from teddy.training.recipe.sections import PretrainConfig


@given(
    seed=st.integers(0, 1000),
    n_queries=st.integers(1, 4),
    n_candidates=st.integers(1, 6),
    n_words=st.integers(1, 500),
)
def test_the_loss_is_that_of_probabilities_summed_by_hand(
    seed: int, n_queries: int, n_candidates: int, n_words: int
) -> None:
    random = np.random.default_rng(seed)
    width, total = 8, 1000
    queries, vectors = torch.randn(n_queries, width), torch.randn(n_candidates, width)
    counts = random.integers(0, 100, size=n_candidates)
    targets = torch.from_numpy(random.integers(n_candidates, size=n_queries))
    logits = candidate_logits(queries, vectors, batch_prior(counts, total, n_words))
    expected = 0.0
    for query, target in zip(queries.double(), targets.tolist(), strict=True):
        terms = [
            math.exp(2 / math.sqrt(width) * float(query @ vector))
            * max(1.0, count / total * n_words)
            for vector, count in zip(vectors.double(), counts.tolist(), strict=True)
        ]
        expected -= math.log(terms[target] / sum(terms)) / n_queries
    assert math.isclose(
        functional.cross_entropy(logits, targets).item(), expected, rel_tol=1e-4, abs_tol=1e-5
    )


def test_drawing_candidates_estimates_the_sum_over_all_words() -> None:
    """The mean over batches of the candidates' terms is, but for a factor, the whole sum."""
    random = np.random.default_rng(1)
    counts = np.array([5000, 3000, 1000, 500, 300, 100, 60, 30, 10])
    total, n_words, n_batches = int(counts.sum()), 40, 4000
    scores = random.normal(size=len(counts))
    whole = float((np.exp(scores) * counts / total).sum())
    prior = batch_prior(counts, total, n_words).numpy()
    sums = []
    for _ in range(n_batches):
        present = np.unique(random.choice(len(counts), size=n_words, p=counts / total))
        sums.append(float(np.exp(scores + prior)[present].sum()) / n_words)
    # min(1, p n) is only about the probability that a word is drawn, which is 1 - (1 - p)^n.
    assert math.isclose(float(np.mean(sums)), whole, rel_tol=0.2)


def test_a_word_that_was_never_seen_counts_as_seen_once() -> None:
    assert torch.allclose(
        unigram_prior(np.array([8, 1, 0]), 16).exp(), torch.tensor([0.5, 1 / 16, 1 / 16])
    )


def test_a_batch_has_its_distinct_words_as_candidates(
    corpus: EncodedCorpus, text_recipe: Recipe, config: PretrainConfig
) -> None:
    features = WordFeatures(Pieces(corpus.pieces), text_recipe.features, corpus.words)
    network = PretrainingNetwork(text_recipe.network, features.n_rows, config)
    maker = BatchMaker(corpus, network.objective, features.group_starts)
    lengths = corpus.lengths()
    sentences = corpus.sentences(np.flatnonzero(lengths == lengths[1])[:5])
    batch, types = maker.make(sentences, np.random.default_rng(1))
    assert types.tolist() == sorted(set(sentences.flatten().tolist()))
    assert types[batch.puzzle.true.numpy()].tolist() == sentences.tolist()
    shares = corpus.counts[types] / corpus.counts.sum()
    assert torch.allclose(
        batch.log_prior,
        torch.tensor([math.log(max(1.0, share * sentences.size)) for share in shares]),
    )
    queries, _, candidates = network.guesses(batch)
    words = corpus.types()
    rows, starts = features.bag([words[i] for i in types])
    torch.testing.assert_close(
        candidates, network.word_vectors(torch.from_numpy(rows), torch.from_numpy(starts))
    )
    expected = functional.cross_entropy(
        candidate_logits(queries, candidates, batch.log_prior),
        batch.puzzle.true[batch.puzzle.masked],
    )
    torch.testing.assert_close(network.loss(batch), expected)
