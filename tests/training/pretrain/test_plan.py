from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.training.learning.torch_setup import generator
from teddy.training.pretrain.encoded import EncodedCorpus, TrainingText, plan_batches
from teddy.training.pretrain.prepare import prepare
from teddy.training.recipe.recipe import Recipe
from teddy.training.recipe.sections import PretrainConfig

LENGTHS = st.lists(st.integers(1, 9), max_size=60)


@given(
    lengths=LENGTHS, batch_words=st.integers(1, 40), seed=st.integers(0, 5), epoch=st.integers(0, 3)
)
def test_an_epoch_is_a_permutation_in_full_batches_of_one_length(
    lengths: list[int], batch_words: int, seed: int, epoch: int
) -> None:
    sizes = np.array(lengths, dtype=np.int64)
    plan = plan_batches(sizes, sizes >= 3, batch_words, generator(seed, epoch))
    assert (
        sorted(i for batch in plan for i in batch.tolist()) == np.flatnonzero(sizes >= 3).tolist()
    )
    for batch in plan:
        assert len({lengths[i] for i in batch}) == 1
        assert len(batch) == 1 or sizes[batch].sum() <= batch_words
    again = plan_batches(sizes, sizes >= 3, batch_words, generator(seed, epoch))
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in plan]


@given(lengths=LENGTHS, batch_words=st.integers(1, 40))
def test_all_epochs_have_batches_of_the_same_sizes(lengths: list[int], batch_words: int) -> None:
    sizes = np.array(lengths, dtype=np.int64)
    plans = [
        plan_batches(sizes, sizes >= 1, batch_words, generator(1, epoch)) for epoch in range(3)
    ]
    shapes = [sorted((lengths[batch[0]], len(batch)) for batch in plan) for plan in plans]
    assert shapes[0] == shapes[1] == shapes[2]


def test_another_epoch_and_another_seed_give_another_order() -> None:
    sizes = np.full(50, 5)
    plans = [
        plan_batches(sizes, sizes > 0, 20, generator(seed, epoch))
        for seed, epoch in ((1, 0), (1, 1), (2, 0))
    ]
    orders = {tuple(i for batch in plan for i in batch.tolist()) for plan in plans}
    assert len(orders) == 3


@pytest.fixture(scope="module")
def corpora(
    text_recipe: Recipe,
    config: PretrainConfig,
    text_data: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[int, EncodedCorpus]:
    """The made-up text, encoded for windows of so many words."""
    made = {}
    for window in (100, 1000, 10_000):
        folder = tmp_path_factory.mktemp("windows") / "corpus"
        changed = config.model_copy(update={"shuffle_window_words": window})
        prepare(
            changed,
            text_recipe.pieces,
            text_recipe.features,
            text_recipe.tokeniser,
            text_data,
            folder,
            lambda _: None,
        )
        made[window] = EncodedCorpus(folder)
    return made


def text_of(corpora: dict[int, EncodedCorpus], window: int, seed: int = 1) -> TrainingText:
    return TrainingText(
        corpora[window], shortest=5, batch_words=200, window_words=window, seed=seed
    )


def learnt_from(corpus: EncodedCorpus) -> list[list[int]]:
    numbers = np.flatnonzero(~corpus.is_held_out() & (corpus.lengths() >= 5))
    return [corpus.sentences(numbers[i : i + 1])[0].tolist() for i in range(len(numbers))]


@pytest.mark.parametrize("window", [100, 1000, 10_000])
def test_each_sentence_is_read_once_an_epoch_whatever_the_window(
    corpora: dict[int, EncodedCorpus], window: int
) -> None:
    text = text_of(corpora, window)
    for epoch in (0, 3):
        batches = [text.batch(epoch, number) for number in range(text.n_batches(epoch))]
        read = [sentence for batch in batches for sentence in batch.tolist()]
        assert sorted(read) == sorted(learnt_from(corpora[window]))
        assert sum(batch.size for batch in batches) == text.epoch_words
        assert all(len(batch) == 1 or batch.size <= 200 for batch in batches)
        # From a new beginning, in any order.
        again = text_of(corpora, window)
        for number in (len(batches) - 1, 0, len(batches) // 2):
            assert np.array_equal(again.batch(epoch, number), batches[number])


def test_a_window_that_holds_all_is_shuffled_as_one_list(corpora: dict[int, EncodedCorpus]) -> None:
    corpus, text = corpora[10_000], text_of(corpora, 10_000)
    lengths = corpus.lengths()
    plan = plan_batches(lengths, ~corpus.is_held_out() & (lengths >= 5), 200, generator(1, 1, 2))
    expected = [corpus.sentences(members).tolist() for members in plan]
    assert [text.batch(2, number).tolist() for number in range(text.n_batches(2))] == expected


@pytest.mark.parametrize("window", [100, 1000, 10_000])
@pytest.mark.parametrize("words", [1, 700, 9000])
def test_so_many_steps_are_announced_as_batches_are_read(
    corpora: dict[int, EncodedCorpus], window: int, words: int
) -> None:
    text, left = text_of(corpora, window), words
    epoch = steps = 0
    while left > 0:
        for number in range(text.n_batches(epoch)):
            steps += 1
            left -= text.batch(epoch, number).size
            if left <= 0:
                break
        epoch += 1
    assert text_of(corpora, window).total_steps(words) == steps
    assert text.total_epochs(words) == epoch
