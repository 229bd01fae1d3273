"""The plan of an epoch: how often a sentence occurs, how full a batch is, what it depends on."""

from collections import Counter
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from teddy.training.data.source import plan_epoch

LENGTHS = st.lists(st.integers(1, 60), max_size=200)
BATCH_WORDS = st.integers(1, 100)
SEEDS = st.integers(0, 1000)


def occurrences(plan: list[list[int]]) -> Counter[int]:
    return Counter(position for batch in plan for position in batch)


@given(LENGTHS, BATCH_WORDS, SEEDS, SEEDS)
def test_with_weights_of_one_every_sentence_occurs_once(
    lengths: list[int], batch_words: int, seed: int, epoch: int
) -> None:
    plan = plan_epoch(lengths, [1.0] * len(lengths), batch_words, seed, epoch)
    assert sorted(position for batch in plan for position in batch) == list(range(len(lengths)))


@given(LENGTHS, BATCH_WORDS, SEEDS, st.floats(0, 3))
def test_no_batch_is_empty_or_too_full_and_a_longer_sentence_is_alone(
    lengths: list[int], batch_words: int, seed: int, weight: float
) -> None:
    for batch in plan_epoch(lengths, [weight] * len(lengths), batch_words, seed, 0):
        padded = max(lengths[position] for position in batch) * len(batch)
        assert padded <= batch_words or len(batch) == 1


@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0, 4)), max_size=100), SEEDS)
def test_a_sentence_occurs_as_often_as_its_weight_says_rounded_down_or_up(
    sentences: list[tuple[int, float]], seed: int
) -> None:
    lengths, weights = [length for length, _ in sentences], [weight for _, weight in sentences]
    times = occurrences(plan_epoch(lengths, weights, 100, seed, 0))
    for position, weight in enumerate(weights):
        assert times[position] - floor(weight) in ({0} if weight == floor(weight) else {0, 1})


@pytest.mark.parametrize("weight", [0.25, 1.5, 2.9])
def test_over_many_epochs_a_sentence_occurs_as_often_as_its_weight_says_on_average(
    weight: float,
) -> None:
    n_sentences, n_epochs = 50, 40
    total = sum(
        occurrences(plan_epoch([5] * n_sentences, [weight] * n_sentences, 100, 1, epoch)).total()
        for epoch in range(n_epochs)
    )
    share = weight % 1
    deviation = (share * (1 - share) / (n_sentences * n_epochs)) ** 0.5
    assert abs(total / (n_sentences * n_epochs) - weight) < 4 * deviation


@given(LENGTHS, BATCH_WORDS, SEEDS, SEEDS)
def test_a_plan_depends_on_its_arguments_alone(
    lengths: list[int], batch_words: int, seed: int, epoch: int
) -> None:
    weights = [1.5] * len(lengths)
    state = torch.get_rng_state()
    plans = [plan_epoch(lengths, weights, batch_words, seed, epoch) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), state)
    assert plans[0] == plans[1]


@pytest.mark.parametrize(("seed", "epoch"), [(1, 1), (2, 0)])
def test_another_epoch_and_another_seed_give_another_order(seed: int, epoch: int) -> None:
    lengths = list(range(1, 41)) * 5
    first = plan_epoch(lengths, [1.0] * len(lengths), 100, 1, 0)
    other = plan_epoch(lengths, [1.0] * len(lengths), 100, seed, epoch)
    assert first != other
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in other}


def test_no_sentences_give_no_batches() -> None:
    assert plan_epoch([], [], 100, 1, 0) == []


@pytest.mark.parametrize("length", [1, 100, 101])
def test_one_sentence_gives_one_batch_however_long_it_is(length: int) -> None:
    assert plan_epoch([length], [1.0], 100, 1, 0) == [[0]]


def test_a_first_sentence_that_is_too_long_leaves_no_empty_batch_before_it() -> None:
    assert sorted(map(sorted, plan_epoch([500, 500, 2, 2], [1.0] * 4, 100, 1, 0))) == [
        [0],
        [1],
        [2, 3],
    ]


def test_batches_are_of_near_equal_lengths() -> None:
    draw = np.random.default_rng(1)
    lengths = draw.integers(1, 60, 2000).tolist()
    plan = plan_epoch(lengths, [1.0] * len(lengths), 600, 1, 0)
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in plan)
    assert padded < 1.1 * sum(lengths)
