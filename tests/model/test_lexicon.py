"""A lexicon against a dictionary, and the rows that it gives a word."""

from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.config import FeatureConfig
from teddy.model.features.lexicon import MOST_CLASSES, Lexicon
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.training.data.vocabulary import train_pieces
from teddy.training.recipe.words import PiecesConfig

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
ENTRIES = st.lists(st.tuples(WORDS, st.integers(0, MOST_CLASSES - 1)), max_size=30)
CONFIG = FeatureConfig(shape_rows=32, affix_rows=64)
OWN = ("oslo", "bear")


@pytest.fixture(scope="module")
def pieces() -> Pieces:
    return Pieces(train_pieces(["Oslo", "bear", "Tromsø", "river"] * 3, PiecesConfig()))


def looked_up(entries: list[tuple[str, int]], word: str) -> list[int]:
    """Read a list of words as the page on recipes says it."""
    for form in (word, word.lower(), word.capitalize()):
        same = {number for each, number in entries if crc32(each.encode()) == crc32(form.encode())}
        if same:
            return sorted(same)
    return []


@given(ENTRIES, st.lists(WORDS, max_size=10))
def test_words_have_the_classes_that_a_dictionary_gives_them(
    entries: list[tuple[str, int]], others: list[str]
) -> None:
    words = [*others, *(form for word, _ in entries for form in (word, word.upper()))]
    lexicon = Lexicon.of(entries)
    assert [lexicon[word] for word in words] == [looked_up(entries, word) for word in words]
    assert lexicon.n_classes == max((number for _, number in entries), default=-1) + 1


@given(ENTRIES, st.randoms())
def test_the_bytes_come_back_as_the_same_lexicon_and_order_has_no_effect(
    entries: list[tuple[str, int]], random: np.random.Generator
) -> None:
    lexicon = Lexicon.of(entries)
    again = Lexicon(lexicon.serialised)
    assert all(again[word] == lexicon[word] != [] for word, _ in entries)
    random.shuffle(entries)
    assert Lexicon.of(entries).serialised == lexicon.serialised


@pytest.mark.parametrize("content", [b"words", Lexicon.of([("a", 1)]).serialised[:-3]])
def test_other_bytes_are_no_lexicon(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a lexicon"):
        Lexicon(content)


def test_each_class_has_a_row_behind_those_of_whole_words(pieces: Pieces) -> None:
    plain = WordFeatures(pieces, CONFIG, OWN)
    lexicon = Lexicon.of([("Oslo", 0), ("Tromsø", 0), ("Tromsø", 2), ("river", 1)]).serialised
    features = WordFeatures(pieces, CONFIG, OWN, lexicon)
    first = plain.n_rows
    assert features.n_rows == first + 3
    assert features.group_starts == (*plain.group_starts, first)
    expected = {"Oslo": [0], "OSLO": [0], "tromsø": [0, 2], "river": [1], "bear": [], "": []}
    for word, classes in expected.items():
        assert features.rows(word) == (*plain.rows(word), *(first + each for each in classes))
    together, starts = features.bag(list(expected), remember=False)
    alone = [features.rows(word) for word in expected]
    assert [tuple(each) for each in np.split(together, starts[1:])] == alone
