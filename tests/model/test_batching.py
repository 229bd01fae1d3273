"""Laws of batches: they say what the sentences say, and padding costs what it must and no more."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.config import FeatureConfig
from teddy.model.features.batching import Batch, bucket_size, group_by_length, make_batch
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.training.data.vocabulary import train_pieces
from teddy.training.recipe.words import PiecesConfig

VOCABULARY = [
    "Anna",
    "Berg",
    "went",
    "to",
    "Oslo",
    ",",
    "and",
    "so",
    "did",
    "I",
    ".",
    "中",
    "é",
    "😀",
    "U.S.",
    "\u00ad",
]


LISTED = ("anna", "中", "u.s.", "never")


@pytest.fixture(scope="module")
def features() -> WordFeatures:
    pieces = Pieces(train_pieces(VOCABULARY, PiecesConfig(vocabulary=300)))
    return WordFeatures(pieces, FeatureConfig(shape_rows=8, affix_rows=16, word_rows=4), LISTED)


def read_back(batch: Batch) -> list[list[list[int]]]:
    """The feature rows of each word of each sentence: what the network reads."""
    ends = [*batch.starts.tolist()[1:], len(batch.rows)]
    distinct = [
        batch.rows[start:end].tolist()
        for start, end in zip(batch.starts.tolist(), ends, strict=True)
    ]
    return [
        [distinct[word] for word in words[:length]]
        for words, length in zip(batch.words.tolist(), batch.lengths.tolist(), strict=True)
    ]


sentences = st.lists(
    st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=8), min_size=1, max_size=6
)


@settings(deadline=None, max_examples=100)
@given(sentences)
def test_a_batch_tells_every_word_of_every_sentence_in_order(
    features: WordFeatures, sentences: list[list[str]]
) -> None:
    batch = make_batch(sentences, features)
    assert read_back(batch) == [
        [list(features.rows(word)) for word in sentence] for sentence in sentences
    ]


@settings(deadline=None, max_examples=100)
@given(sentences)
def test_a_batch_is_as_wide_as_its_longest_sentence_and_zero_at_padding(
    features: WordFeatures, sentences: list[list[str]]
) -> None:
    batch = make_batch(sentences, features)
    assert batch.words.shape == (len(sentences), max(map(len, sentences)))
    assert batch.inside.tolist() == [
        [position < len(sentence) for position in range(batch.words.shape[1])]
        for sentence in sentences
    ]
    assert not batch.words[~batch.inside].any()


@settings(deadline=None, max_examples=50)
@given(sentences)
def test_a_word_that_occurs_often_is_looked_up_once(
    features: WordFeatures, sentences: list[list[str]]
) -> None:
    batch = make_batch(sentences, features)
    assert len(batch.starts) == len({word for sentence in sentences for word in sentence})


def test_a_batch_is_of_integers_that_torch_can_look_up(features: WordFeatures) -> None:
    batch = make_batch([["Anna"], ["went", "to"]], features)
    assert {each.dtype for each in (batch.rows, batch.starts, batch.words, batch.lengths)} == {
        torch.int64
    }


def test_a_batch_on_another_device_is_the_same_batch(features: WordFeatures) -> None:
    batch = make_batch([["Anna"], ["went", "to"]], features)
    moved = batch.to(torch.device("meta"))
    assert {
        each.device.type for each in (moved.rows, moved.starts, moved.words, moved.lengths)
    } == {"meta"}
    assert read_back(batch.to(torch.device("cpu"))) == read_back(batch)


@pytest.mark.parametrize("nothing", [[], [[]], [["Anna"], []]])
def test_a_batch_without_sentences_or_with_an_empty_one_is_refused(
    features: WordFeatures, nothing: list[list[str]]
) -> None:
    with pytest.raises(ValueError, match="at least one word"):
        make_batch(nothing, features)


lengths = st.lists(st.integers(1, 40), max_size=40)
bounds = st.integers(1, 100)


@settings(deadline=None)
@given(lengths, bounds)
def test_groups_hold_every_position_once_and_none_is_empty(
    lengths: list[int], max_words: int
) -> None:
    groups = group_by_length(lengths, max_words)
    assert all(groups)
    assert sorted(position for group in groups for position in group) == list(range(len(lengths)))


@settings(deadline=None)
@given(lengths, bounds)
def test_a_group_keeps_to_the_bound_with_its_padding_unless_it_is_one_long_sentence(
    lengths: list[int], max_words: int
) -> None:
    for group in group_by_length(lengths, max_words):
        assert (
            len(group) == 1
            or len(group) * max(lengths[position] for position in group) <= max_words
        )


@settings(deadline=None)
@given(lengths, bounds)
def test_groups_come_longest_first_and_equals_stay_in_order(
    lengths: list[int], max_words: int
) -> None:
    order = [position for group in group_by_length(lengths, max_words) for position in group]
    assert order == sorted(order, key=lambda position: (-lengths[position], position))


@settings(deadline=None)
@given(lengths, bounds)
def test_no_two_neighbouring_groups_would_fit_in_one(lengths: list[int], max_words: int) -> None:
    groups = group_by_length(lengths, max_words)
    for first, second in pairwise(groups):
        assert bucket_size(len(first) + len(second)) * bucket_size(lengths[first[0]]) > max_words


@settings(deadline=None)
@given(lengths, bounds)
def test_all_groups_but_the_last_have_a_usual_number_of_rows(
    lengths: list[int], max_words: int
) -> None:
    for group in group_by_length(lengths, max_words)[:-1]:
        assert bucket_size(len(group)) == len(group)


@given(st.integers(0, 100_000))
def test_a_bucket_size_is_the_nearest_and_no_more_than_an_eighth_away(size: int) -> None:
    up, down = bucket_size(size), bucket_size(size, down=True)
    assert down <= size <= up <= size * 9 / 8
    assert up <= down * 9 / 8
    assert bucket_size(up) == bucket_size(up, down=True) == up
    assert bucket_size(down) == down


def test_bucket_sizes_are_few() -> None:
    assert len({bucket_size(size) for size in range(1, 257)}) == 48
