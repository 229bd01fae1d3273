"""Remembered vectors are those of the network, whatever their history, in bounded memory."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.features.word_vectors import WordVectors
from teddy.model.network.tagger_network import Network
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.vocabulary import train_pieces
from teddy.training.recipe.words import PiecesConfig

VOCABULARY = [
    f"{first}{second}" for first in ("Anna", "Berg", "go", "to", "é", "中") for second in "abcdefgh"
]


@pytest.fixture(scope="module")
def features() -> WordFeatures:
    return WordFeatures(
        Pieces(train_pieces(VOCABULARY, PiecesConfig(vocabulary=300))), FeatureConfig(affix_rows=64)
    )


@pytest.fixture(scope="module")
def network(features: WordFeatures) -> Network:
    torch.manual_seed(2)
    return Network(
        NetworkConfig(embedding_width=8, hidden_width=4, normalise=True),
        features.n_rows,
        TagSet(("A",)),
    ).eval()


def expected_vectors(network: Network, features: WordFeatures, words: list[str]) -> Tensor:
    with torch.inference_mode():
        return network.word_vectors(*map(torch.from_numpy, features.bag(words)))


@settings(deadline=None, max_examples=60)
@given(
    questions=st.lists(st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=12), max_size=12),
    capacity=st.integers(1, 20),
)
def test_a_vector_is_the_network_s_whatever_was_asked_before(
    network: Network, features: WordFeatures, questions: list[list[str]], capacity: int
) -> None:
    vectors = WordVectors(network, features, capacity=capacity)
    answers = [vectors.look_up(words) for words in questions]
    # Read after all were asked: what was given once is never written over.
    for words, (table, rows) in zip(questions, answers, strict=True):
        torch.testing.assert_close(
            table[torch.from_numpy(rows)], expected_vectors(network, features, words)
        )


def test_the_table_is_no_larger_than_two_generations_or_one_question(
    network: Network, features: WordFeatures
) -> None:
    vectors = WordVectors(network, features, capacity=10)
    for start in range(0, len(VOCABULARY), 5):
        table, _ = vectors.look_up(VOCABULARY[start : start + 5])
        assert len(table) == 10
    table, rows = vectors.look_up(VOCABULARY)
    assert (len(table), len(set(rows.tolist()))) == (len(VOCABULARY), len(VOCABULARY))
    assert len(vectors.look_up(["another"])[0]) == 10


def test_a_word_is_read_once_while_it_is_remembered(
    network: Network, features: WordFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    bag = WordFeatures.bag

    def spy(self: WordFeatures, words: list[str], *, remember: bool = True) -> object:
        read.extend(words)
        return bag(self, words, remember=remember)

    monkeypatch.setattr(WordFeatures, "bag", spy)
    vectors = WordVectors(network, features, capacity=4)
    vectors.look_up(["to", "to", "go", "to"])
    vectors.look_up(["go", "Anna"])
    vectors.look_up(["Berg", "to"])
    assert read == ["to", "go", "Anna", "Berg"]
    vectors.look_up(["é", "to"])  # a new generation, which takes over from the one before
    vectors.look_up(["to", "go", "é"])
    assert read == ["to", "go", "Anna", "Berg", "é"]
    vectors.look_up(["a", "b"])  # and the next one: Anna and Berg were not asked for since
    vectors.look_up(["Anna"])
    assert read == ["to", "go", "Anna", "Berg", "é", "a", "b", "Anna"]


def test_threads_that_ask_at_once_get_what_one_would(
    network: Network, features: WordFeatures
) -> None:
    vectors = WordVectors(network, features, capacity=16)
    questions = [VOCABULARY[i % 40 : i % 40 + 6] for i in range(0, 400, 7)]
    with ThreadPoolExecutor(4) as threads:
        for words, (table, rows) in zip(
            questions, threads.map(vectors.look_up, questions), strict=True
        ):
            torch.testing.assert_close(
                table[torch.from_numpy(rows)], expected_vectors(network, features, words)
            )
