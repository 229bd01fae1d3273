"""The sentencepiece model of a tagger: what it depends on, and that no word is foreign to it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.features.pieces import Pieces
from teddy.training.data.vocabulary import frequent_words, train_pieces
from teddy.training.recipe.words import PiecesConfig

CONFIG = PiecesConfig(vocabulary=320)


def some_words() -> list[str]:
    draw = random.Random(1)  # noqa: S311
    syllables = ["ber", "lin", "ost", "and", "mar", "shall", "ing", "o", "ka"]
    return ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(400)]


@pytest.fixture(scope="module")
def serialised() -> bytes:
    return train_pieces(some_words(), CONFIG)


def test_the_same_words_in_any_order_give_the_same_model(serialised: bytes) -> None:
    words = some_words()
    random.Random(2).shuffle(words)  # noqa: S311
    assert train_pieces(words, CONFIG) == serialised


def test_the_vocabulary_is_at_most_as_large_as_asked_for(serialised: bytes) -> None:
    assert 256 < Pieces(serialised).n_pieces <= CONFIG.vocabulary


def test_few_distinct_words_give_fewer_pieces_than_asked_for_instead_of_an_error() -> None:
    assert Pieces(train_pieces(["a", "bb", "a"], PiecesConfig(vocabulary=8000))).n_pieces < 300


def test_a_frequent_stem_is_one_piece() -> None:
    pieces = Pieces(train_pieces([*some_words(), *["Teddy", "Teddys", "Teddyson"] * 200], CONFIG))
    assert len(pieces.ids("Teddy")) == 1


@given(word=st.text(min_size=1, max_size=10))
def test_no_word_is_unknown(serialised: bytes, word: str) -> None:
    pieces = Pieces(serialised)
    assert "<unk>" not in pieces.names(pieces.ids(word))


@given(word=st.text("aZéßжΩאع漢あ한7€🙂", min_size=1, max_size=10))
def test_words_of_scripts_that_were_never_seen_have_pieces(serialised: bytes, word: str) -> None:
    assert Pieces(serialised).ids(word)


@pytest.mark.parametrize("word", ["\x00", "\u2581", "\ufffd", "<unk>", "<s>", "a" * 5000])
def test_odd_words_in_the_data_do_no_harm(word: str) -> None:
    assert Pieces(train_pieces([*some_words(), word], CONFIG)).ids("marshall")


# Whole words.

COUNTS = st.dictionaries(st.text("aAbBßsS", min_size=1, max_size=3), st.integers(1, 4), max_size=12)


@given(counts=COUNTS, most=st.integers(0, 8), seed=st.integers(0, 99))
def test_the_frequent_words_are_those_of_a_slow_count_in_whatever_order_the_words_come(
    counts: dict[str, int], most: int, seed: int
) -> None:
    text = [word.casefold() for word, count in counts.items() for _ in range(count)]
    twice = {word for word in text if text.count(word) >= 2}
    # Of words that are equally frequent the first in the order of their letters.
    expected = sorted(sorted(twice), key=text.count, reverse=True)[:most]
    shuffled = list(counts.items())
    random.Random(seed).shuffle(shuffled)  # noqa: S311
    assert (
        list(frequent_words(dict(shuffled), most)) == list(frequent_words(counts, most)) == expected
    )


def test_forms_that_differ_in_case_are_one_word_and_count_together() -> None:
    assert frequent_words({"Teddy": 1, "TEDDY": 1, "teddies": 1, "Straße": 1, "STRASSE": 1}, 9) == (
        "strasse",
        "teddy",
    )


def test_no_words_have_no_frequent_ones() -> None:
    assert frequent_words({}, 5) == ()
    assert frequent_words({"once": 1}, 5) == ()


def test_no_words_are_refused() -> None:
    with pytest.raises(ValueError, match="no words"):
        train_pieces([], CONFIG)
