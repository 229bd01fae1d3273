"""What each objective hides and shows, and that no answer can be read off the question."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from teddy.model.config import CellName, NetworkConfig
from teddy.model.network.encoder import Encoder
from teddy.training.pretrain.objectives import (
    MaskedWords,
    NextWords,
    Objective,
    make_puzzle,
    read_one_way,
)

WIDTH, HIDDEN = 6, 5
SEEDS = st.integers(0, 10_000)


def network(layers: int = 2, cell: CellName = "lstm") -> Encoder:
    torch.manual_seed(layers)
    config = NetworkConfig(
        embedding_width=WIDTH,
        hidden_width=HIDDEN,
        layers=layers,
        cell=cell,
        embedding_dropout=0,
        layer_dropout=0,
    )
    return Encoder(config)


def words_at_random(
    seed: int, n_sentences: int = 4, length: int = 9, n_distinct: int = 12
) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(n_distinct, size=(n_sentences, length))


@given(seed=SEEDS, length=st.integers(1, 9), n_sentences=st.integers(1, 4))
def test_masked_words_are_shown_as_the_unknown_word_and_all_others_as_they_are(
    seed: int, length: int, n_sentences: int
) -> None:
    words = words_at_random(seed, n_sentences, length)
    puzzle = MaskedWords(2 * HIDDEN, WIDTH, 0.2).puzzle(words, 12, np.random.default_rng(seed))
    assert puzzle.masked.any()
    assert torch.equal(puzzle.true, torch.from_numpy(words))
    assert torch.equal(puzzle.shown, puzzle.true.masked_fill(puzzle.masked, 12))


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_share_of_masked_words_is_that_asked_for(share: float) -> None:
    words = words_at_random(1, 100, 50, 3000)
    random = np.random.default_rng(1)
    masked = MaskedWords(2 * HIDDEN, WIDTH, share).puzzle(words, 3000, random).masked
    assert masked.float().mean().item() == pytest.approx(share, abs=0.03)


def answer_of(
    objective: Objective, encoder: Encoder, words: NDArray[np.int64], table: Tensor, masked_at: int
) -> Tensor:
    """The one query for one masked place."""
    masked = np.zeros(words.shape, dtype=np.bool_)
    masked[0, masked_at] = True
    puzzle = make_puzzle(words, np.where(masked, len(table) - 1, words), masked=masked)
    return objective.answer(encoder, table[puzzle.shown], puzzle)[0]


def test_a_masked_place_sees_every_word_but_its_own() -> None:
    objective = MaskedWords(10, 6, 0.2)
    encoder, table, place = network(), torch.randn(13, WIDTH), 4
    words = words_at_random(3, n_sentences=1)
    before = answer_of(objective, encoder, words, table, place)
    for changed_at in range(words.shape[1]):
        changed = words.copy()
        changed[0, changed_at] = (changed[0, changed_at] + 1) % 12
        same = torch.equal(answer_of(objective, encoder, changed, table, place), before)
        assert same == (changed_at == place)


def guesses_by_place(
    objective: NextWords, encoder: Encoder, vectors: Tensor
) -> tuple[dict[int, Tensor], ...]:
    """The query for each word of one sentence, as the next word and as the previous one."""
    length = vectors.shape[1]
    words = np.arange(length)[None]
    queries, targets = objective.answer(encoder, vectors, make_puzzle(words, words))
    assert targets.tolist() == [*range(1, length), *range(length - 2, -1, -1)]
    pairs = [*zip(targets.tolist(), queries, strict=True)]
    return dict(pairs[: length - 1]), dict(pairs[length - 1 :])


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", ["lstm", "gru", "lstm-peephole"])
def test_a_guess_depends_on_the_words_read_before_it_and_on_no_other(
    layers: int, cell: CellName
) -> None:
    encoder, length = network(layers, cell), 6
    objective = NextWords(HIDDEN, WIDTH)
    vectors = torch.randn(1, length, WIDTH)
    forwards, backwards = guesses_by_place(objective, encoder, vectors)
    for changed_at in range(length):
        changed = vectors.clone()
        changed[0, changed_at] += 1.0
        changed_forwards, changed_backwards = guesses_by_place(objective, encoder, changed)
        for place, guess in forwards.items():
            assert torch.equal(changed_forwards[place], guess) == (place <= changed_at)
        for place, guess in backwards.items():
            assert torch.equal(changed_backwards[place], guess) == (place >= changed_at)


def test_one_direction_of_one_layer_is_half_of_what_the_encoder_gives() -> None:
    encoder, vectors = network(layers=1), torch.randn(3, 7, WIDTH)
    states = encoder(vectors, torch.full((3,), 7))
    torch.testing.assert_close(
        read_one_way(encoder, vectors, backwards=False), states[..., :HIDDEN]
    )
    back = read_one_way(encoder, vectors.flip(1), backwards=True).flip(1)
    torch.testing.assert_close(back, states[..., HIDDEN:])


def test_one_direction_of_a_stack_that_sums_is_the_stack_of_that_direction_alone() -> None:
    torch.manual_seed(5)
    config = NetworkConfig(
        embedding_width=WIDTH, hidden_width=HIDDEN, combine="sum", layer_dropout=0
    )
    encoder, vectors = Encoder(config), torch.randn(3, 7, WIDTH)
    alone = Encoder(replace(config, bidirectional=False))
    alone.load_state_dict(encoder.state_dict(), strict=False)
    expected = alone(vectors, torch.full((3,), 7))
    torch.testing.assert_close(read_one_way(encoder, vectors, backwards=False), expected)
