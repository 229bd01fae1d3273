"""Noise on the input: what it may take away, what it must leave, and how often it strikes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.config import FeatureConfig
from teddy.model.features.batching import Batch, make_batch
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import UNKNOWN_WORD, WordFeatures
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.learning.input_noise import drop_features, drop_words

WORDS = st.text("abcAB12-ß漢🙂­", min_size=1, max_size=8)
SENTENCES = st.lists(st.lists(WORDS, min_size=1, max_size=8), min_size=1, max_size=5)
PROBABILITIES = st.floats(0.01, 1.0)
SEEDS = st.integers(0, 1000)


@pytest.fixture(scope="module")
def features(tiny_run: Path) -> WordFeatures:
    config = FeatureConfig(shape_rows=16, affix_rows=64, affix_lengths=(1, 2), word_rows=5032)
    listed = [*"ab12ß漢", *(f"w{i}" for i in range(5000))]
    return WordFeatures(
        Pieces(load_checkpoint(tiny_run / "best.checkpoint").pieces), config, listed
    )


@pytest.fixture(scope="module")
def looks_only(features: WordFeatures) -> WordFeatures:
    """Some words have no piece, and here these have nothing at all."""
    return WordFeatures(features.pieces, FeatureConfig(shape_rows=0, affix_rows=0, word_rows=0))


def rows_of_words(batch: Batch) -> list[list[int]]:
    """The slow reading of a bag: the rows of each distinct word."""
    ends = [*batch.starts.tolist()[1:], len(batch.rows)]
    return [
        batch.rows[start:end].tolist()
        for start, end in zip(batch.starts.tolist(), ends, strict=True)
    ]


def kind(row: int, features: WordFeatures) -> int:
    """0 for the unknown word, then pieces, shapes, affixes, whole words."""
    return sum(row >= start for start in features.group_starts)


@given(SENTENCES, PROBABILITIES, SEEDS)
def test_features_go_by_whole_kinds_and_no_word_is_left_without(
    features: WordFeatures, sentences: list[list[str]], probability: float, seed: int
) -> None:
    batch = make_batch(sentences, features)
    dropped = drop_features(batch, features, probability, np.random.default_rng(seed))
    assert torch.equal(dropped.words, batch.words)
    assert torch.equal(dropped.lengths, batch.lengths)
    for before, after in zip(rows_of_words(batch), rows_of_words(dropped), strict=True):
        assert after
        kept = {kind(row, features) for row in after}
        assert after == [row for row in before if kind(row, features) in kept]


@given(SENTENCES, SEEDS)
def test_a_word_that_would_lose_everything_keeps_everything(
    features: WordFeatures, looks_only: WordFeatures, sentences: list[list[str]], seed: int
) -> None:
    for each in (features, looks_only):
        batch = make_batch(sentences, each)
        dropped = drop_features(batch, each, 1.0, np.random.default_rng(seed))
        assert rows_of_words(dropped) == rows_of_words(batch)


def test_each_kind_goes_missing_as_often_as_asked(features: WordFeatures) -> None:
    probability, n_words = 0.2, 5000
    words = [f"w{i}" for i in range(n_words)]
    dropped = drop_features(
        make_batch([words], features), features, probability, np.random.default_rng(1)
    )
    kinds = [{kind(row, features) for row in rows} for rows in rows_of_words(dropped)]
    # Words that would have lost all four kinds keep them, so slightly fewer go missing.
    expected = probability - probability**4
    for each in (1, 2, 3, 4):
        missing = sum(each not in word for word in kinds) / n_words
        assert abs(missing - expected) < 4 * (expected * (1 - expected) / n_words) ** 0.5


@given(SENTENCES, PROBABILITIES, SEEDS)
def test_dropping_words_appends_one_unknown_word_and_touches_nothing_else(
    features: WordFeatures, sentences: list[list[str]], probability: float, seed: int
) -> None:
    batch = make_batch(sentences, features)
    dropped = drop_words(batch, probability, np.random.default_rng(seed))
    unknown = len(batch.starts)
    assert rows_of_words(dropped) == [*rows_of_words(batch), [UNKNOWN_WORD]]
    assert torch.equal(dropped.lengths, batch.lengths)
    hit = dropped.words == unknown
    assert torch.equal(dropped.words[~hit], batch.words[~hit])
    if probability == 1.0:
        assert bool(hit.all())


@pytest.mark.parametrize("probability", [0.1, 0.7])
def test_words_go_missing_as_often_as_asked(features: WordFeatures, probability: float) -> None:
    n_words = 5000
    batch = make_batch([["same"] * n_words], features)
    dropped = drop_words(batch, probability, np.random.default_rng(1))
    share = (dropped.words == len(batch.starts)).double().mean().item()
    assert abs(share - probability) < 4 * (probability * (1 - probability) / n_words) ** 0.5


@settings(max_examples=20)
@given(SENTENCES, SEEDS)
def test_probability_zero_changes_nothing_and_draws_nothing(
    features: WordFeatures, sentences: list[list[str]], seed: int
) -> None:
    batch, random = make_batch(sentences, features), np.random.default_rng(seed)
    untouched = random.bit_generator.state
    assert drop_words(batch, 0.0, random) is batch
    assert drop_features(batch, features, 0.0, random) is batch
    assert random.bit_generator.state == untouched


@settings(max_examples=20)
@given(SENTENCES, SEEDS)
def test_both_together_and_the_same_random_state_give_the_same_batch(
    features: WordFeatures, sentences: list[list[str]], seed: int
) -> None:
    def noisy() -> tuple[list[list[int]], list[list[int]]]:
        random = np.random.default_rng(seed)
        batch = drop_features(make_batch(sentences, features), features, 0.3, random)
        batch = drop_words(batch, 0.3, random)
        return rows_of_words(batch), batch.words.tolist()

    assert noisy() == noisy()
