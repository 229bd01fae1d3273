"""Word features: numbers within the table, the same on every machine, and cached unchanged."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.config import FeatureConfig
from teddy.model.features import rows as features
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import UNKNOWN_WORD, WordFeatures, word_shape
from teddy.training.data.vocabulary import train_pieces
from teddy.training.recipe.words import PiecesConfig

WORDS = [
    "Anna",
    "Berg",
    "anna",
    "BERG",
    "met",
    "2019",
    "U.S.",
    "e-mail",
    "中国",
    "é",
    "😀",
    "ß",
    "SS",
    "İ",
    "x",
]
LISTED = ("berg", "anna", "中国", "😀", "ss", "i\u0307", "never met")
"""The words with a row of their own, case-folded: ß is ss, and İ is an i with a dot above."""
CONFIGS = {
    "all": (FeatureConfig(shape_rows=7, affix_rows=11, word_rows=9), LISTED),
    "pieces alone": (FeatureConfig(shape_rows=0, affix_rows=0), ()),
    "shapes": (FeatureConfig(shape_rows=7, affix_rows=0), ()),
    "affixes": (FeatureConfig(shape_rows=0, affix_rows=11, affix_lengths=(2, 3)), ()),
    "whole words": (FeatureConfig(shape_rows=0, affix_rows=0, word_rows=9), LISTED),
}
each_config = pytest.mark.parametrize(("config", "listed"), CONFIGS.values(), ids=CONFIGS)
# never empty, as those of a text
any_word = st.sampled_from([*filter(None, WORDS)]) | st.text(
    st.characters(codec="utf-8"), min_size=1, max_size=10
)


@pytest.fixture(scope="module")
def pieces() -> Pieces:
    return Pieces(train_pieces(WORDS, PiecesConfig(vocabulary=300)))


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        ("", ""),
        ("I", "X"),
        ("Anna", "Xxxx"),
        ("Annabelle", "Xxxxx"),  # a run counts to four
        ("Annabel", "Xxxxx"),
        ("NATO", "XXXX"),
        ("McNeil", "XxXxxx"),
        ("Dec-2019", "Xxx-dddd"),
        ("123456", "dddd"),
        ("U.S.", "X.X."),
        ("......", "...."),
        ("A1b2", "Xdxd"),
        ("中国人民银行", "cccc"),
        ("É", "X"),
        ("e\u0301", "x\u0301"),  # a combining mark is itself
        ("٣", "d"),
        ("😀", "😀"),
    ],
    ids=ascii,
)
def test_a_shape_has_one_sign_for_each_kind_of_character_and_runs_of_four_at_most(
    word: str, shape: str
) -> None:
    assert word_shape(word) == shape


@settings(deadline=None, max_examples=100)
@given(any_word)
def test_a_shape_never_repeats_a_sign_more_than_four_times(word: str) -> None:
    shape = word_shape(word)
    assert len(shape) <= len(word)
    assert not any(sign * 5 in shape for sign in shape)


@each_config
@settings(deadline=None, max_examples=60)
@given(word=any_word)
def test_the_rows_of_a_word_lie_within_the_table_each_kind_in_its_part(
    pieces: Pieces, config: FeatureConfig, listed: tuple[str, ...], word: str
) -> None:
    features = WordFeatures(pieces, config, listed)
    rows = features.rows(word)
    first_piece, first_shape, first_affix, first_word = features.group_starts
    assert features.n_rows == 1 + pieces.n_pieces + config.shape_rows + config.affix_rows + len(
        listed
    )
    assert [row - 1 for row in rows if first_piece <= row < first_shape] == pieces.ids(word)
    assert sum(first_shape <= row < first_affix for row in rows) == (config.shape_rows > 0)
    affixes = 2 * len(config.affix_lengths) if config.affix_rows else 0
    assert sum(first_affix <= row < first_word for row in rows) == affixes
    own = [listed[row - first_word] for row in rows if first_word <= row < features.n_rows]
    assert own == [each for each in listed if each == word.casefold()]
    assert all(0 <= row < features.n_rows for row in rows)


@each_config
@settings(deadline=None, max_examples=60)
@given(word=any_word)
def test_every_word_has_a_row_and_only_a_word_without_any_has_that_of_the_unknown(
    pieces: Pieces, config: FeatureConfig, listed: tuple[str, ...], word: str
) -> None:
    features = WordFeatures(pieces, config, listed)
    has_features = bool(
        pieces.ids(word) or config.shape_rows or config.affix_rows or word.casefold() in listed
    )
    assert (UNKNOWN_WORD not in features.rows(word)) == has_features
    assert has_features or features.rows(word) == (UNKNOWN_WORD,)


@settings(max_examples=60)
@given(words=st.lists(any_word.map(str.casefold), max_size=8, unique=True), place=st.integers(0, 7))
def test_a_listed_word_has_exactly_its_row_in_any_case_and_an_unlisted_one_none(
    pieces: Pieces, words: list[str], place: int
) -> None:
    config = FeatureConfig(shape_rows=0, affix_rows=0)
    features, without = WordFeatures(pieces, config, words), WordFeatures(pieces, config)
    assert features.words == tuple(words)
    assert features.n_rows == without.n_rows + len(words)
    for number, word in enumerate(words):
        for form in {word, word.upper(), word.lower(), word.title()}:
            row = without.n_rows + number
            own = (row,) if form.casefold() == word else ()
            assert tuple(each for each in features.rows(form) if each == row) == own
    stranger = f"{words[place % len(words)] if words else ''}\ue001"
    assert features.rows(stranger) == without.rows(stranger)


def test_affixes_of_equal_letters_but_other_case_are_one_and_a_word_is_not_its_own_prefix(
    pieces: Pieces,
) -> None:
    features = WordFeatures(
        pieces, FeatureConfig(shape_rows=0, affix_rows=2**20, affix_lengths=(4,))
    )

    def affixes(word: str) -> tuple[int, ...]:
        return tuple(row for row in features.rows(word) if row >= features.group_starts[2])

    assert affixes("Anna") == affixes("ANNA")
    assert affixes("annabel")[0] == affixes("ANNALS")[0]  # the prefix anna-
    assert affixes("annabel")[0] != affixes("anna")[0]


def test_the_rows_are_the_same_in_a_process_with_another_hash_seed(pieces: Pieces) -> None:
    program = (
        "import json, sys\n"
        "from teddy.model.config import FeatureConfig\n"
        "from teddy.model.features.rows import WordFeatures\n"
        "from teddy.model.features.pieces import Pieces\n"
        "words = json.loads(sys.argv[1])\n"
        "pieces, own = Pieces(sys.stdin.buffer.read()), json.loads(sys.argv[2])\n"
        "features = WordFeatures(pieces, FeatureConfig(), own)\n"
        "print(json.dumps([features.rows(word) for word in words]))\n"
    )
    here = WordFeatures(pieces, FeatureConfig(), LISTED)
    expected = [list(here.rows(word)) for word in WORDS]
    for seed in ("1", "77"):
        answer = subprocess.run(
            [sys.executable, "-c", program, json.dumps(WORDS), json.dumps(LISTED)],
            input=pieces.serialised,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        assert json.loads(answer.stdout) == expected


@settings(deadline=None, max_examples=60)
@given(words=st.lists(any_word, max_size=12))
def test_a_bag_is_the_rows_of_its_words_one_after_another(pieces: Pieces, words: list[str]) -> None:
    features = WordFeatures(pieces, *CONFIGS["all"])
    rows, starts = features.bag(words)
    each = [list(features.rows(word)) for word in words]
    assert rows.tolist() == [row for rows_of_word in each for row in rows_of_word]
    assert starts.tolist() == [sum(map(len, each[:position])) for position in range(len(words))]
    assert (rows.dtype.name, starts.dtype.name) == ("int64", "int64")


def test_what_is_remembered_is_bounded_and_changes_nothing(
    pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "_CACHE_WORDS", 5)
    remembering = WordFeatures(pieces, *CONFIGS["all"])
    for word in WORDS * 3:
        assert remembering.rows(word) == WordFeatures(pieces, *CONFIGS["all"]).rows(word)
        assert remembering.rows(word) == remembering.rows(word)
        assert len(remembering._remembered) <= 5


def test_threads_that_share_features_get_the_rows_they_would_get_alone(
    pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "_CACHE_WORDS", 5)
    shared = WordFeatures(pieces, *CONFIGS["all"])
    expected = [WordFeatures(pieces, *CONFIGS["all"]).rows(word) for word in WORDS]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: [shared.rows(word) for word in WORDS], range(40)))
    assert answers == [expected] * 40
