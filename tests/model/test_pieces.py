"""Laws of pieces: every word has some, they spell it, and a model is nothing but its bytes."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.features.pieces import Pieces
from teddy.training.data.vocabulary import train_pieces
from teddy.training.recipe.words import PiecesConfig

WORDS = [
    "the",
    "there",
    "other",
    "bears",
    "of",
    "Oslo",
    "Ghent",
    "sleep",
    "under",
    "trees",
    "and",
    "nobody",
    "knows",
]
BLANK = "\u2581"  # how sentencepiece writes a space; it opens every word


@pytest.fixture(scope="module")
def pieces() -> Pieces:
    return Pieces(train_pieces(WORDS * 3, PiecesConfig(vocabulary=320)))


def spelling(names: list[str]) -> str:
    """The text that pieces spell, byte pieces such as `<0xC3>` read as UTF-8."""
    spelt = bytearray()
    for name in names:
        is_byte = len(name) == 6 and name.startswith("<0x")
        spelt += bytes.fromhex(name[3:5]) if is_byte else name.encode()
    return spelt.decode()


def without_spaces(text: str) -> str:
    """In NFKC, twice, as a mark may join the letter before the space that is gone."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).replace(" ", ""))


# sentencepiece reads its own blank as a space, and drops the replacement character
words = st.text(
    st.characters(
        codec="utf-8", exclude_categories=["C", "Z"], exclude_characters=BLANK + "\ufffd"
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=100)
@given(words | st.sampled_from(WORDS))
def test_the_pieces_of_a_word_spell_it_as_nfkc_has_it(pieces: Pieces, word: str) -> None:
    ids = pieces.ids(word)
    assert all(0 <= i < pieces.n_pieces for i in ids)
    assert "<unk>" not in pieces.names(ids)
    assert without_spaces(spelling(pieces.names(ids)).replace(BLANK, " ")) == without_spaces(word)


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(codec="utf-8"), max_size=12))
def test_any_text_has_pieces_and_they_are_within_range(pieces: Pieces, word: str) -> None:
    assert all(0 <= i < pieces.n_pieces for i in pieces.ids(word))


@settings(deadline=None, max_examples=30)
@given(words)
def test_a_model_read_back_from_its_bytes_gives_the_same_pieces(pieces: Pieces, word: str) -> None:
    assert Pieces(pieces.serialised).ids(word) == pieces.ids(word)


def test_known_words_are_shorter_in_pieces_than_in_characters(pieces: Pieces) -> None:
    assert sum(len(pieces.ids(word)) for word in WORDS) < sum(len(word) for word in WORDS)


@pytest.mark.parametrize("nothing", ["", "\ufffd", "\u200b", "\n"], ids=ascii)
def test_a_word_that_normalises_to_nothing_has_no_pieces(pieces: Pieces, nothing: str) -> None:
    assert pieces.ids(nothing) == []


def test_bytes_that_are_no_sentencepiece_model_are_refused() -> None:
    with pytest.raises(RuntimeError):
        Pieces(b"this is no model")
