import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.pretrain.plan import plan_batches

LENGTHS = st.lists(st.integers(1, 9), max_size=60)


@given(lengths=LENGTHS, batch_words=st.integers(1, 40), seed=st.integers(0, 5), epoch=st.integers(0, 3))
def test_an_epoch_is_a_permutation_in_full_batches_of_one_length(
    lengths: list[int], batch_words: int, seed: int, epoch: int
) -> None:
    sizes = np.array(lengths, dtype=np.int64)
    plan = plan_batches(sizes, sizes >= 3, batch_words, seed, epoch)
    assert sorted(i for batch in plan for i in batch.tolist()) == np.flatnonzero(sizes >= 3).tolist()
    for batch in plan:
        assert len({lengths[i] for i in batch}) == 1
        assert len(batch) == 1 or sizes[batch].sum() <= batch_words
    again = plan_batches(sizes, sizes >= 3, batch_words, seed, epoch)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in plan]


@given(lengths=LENGTHS, batch_words=st.integers(1, 40))
def test_all_epochs_have_batches_of_the_same_sizes(lengths: list[int], batch_words: int) -> None:
    sizes = np.array(lengths, dtype=np.int64)
    plans = [plan_batches(sizes, sizes >= 1, batch_words, 1, epoch) for epoch in range(3)]
    shapes = [sorted((lengths[batch[0]], len(batch)) for batch in plan) for plan in plans]
    assert shapes[0] == shapes[1] == shapes[2]


def test_another_epoch_and_another_seed_give_another_order() -> None:
    sizes = np.full(50, 5)
    plans = [plan_batches(sizes, sizes > 0, 20, seed, epoch) for seed, epoch in ((1, 0), (1, 1), (2, 0))]
    orders = {tuple(i for batch in plan for i in batch.tolist()) for plan in plans}
    assert len(orders) == 3
