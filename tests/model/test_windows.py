"""Windows keep every word once, never hold too many, and give a word all the context they can."""

import gc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.text.documents import prepare
from teddy.model.text.windows import Window, split_windows
from teddy.model.text.words import Tokeniser


def split(sentences: list[tuple[int, int]], max_words: int, overlap: int) -> list[Window]:
    """The windows of sentences whose words are their own numbers."""
    words = [str(number) for number in range(sentences[-1][1] if sentences else 0)]
    lazy = split_windows(words, sentences, max_words, overlap)
    windows = [*lazy]
    assert [lazy[i] for i in range(len(lazy))] == lazy[:] == windows
    assert lazy.n_words == sum(each.n_words for each in windows)
    for window in windows:
        assert window.words == words[window.start : window.end]
        assert window.n_words == window.end - window.start
    return windows


def ranges(windows: list[Window]) -> list[tuple[int, int, int, int]]:
    return [(each.start, each.end, each.keep_start, each.keep_end) for each in windows]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[tuple[int, int]], int, int]:
    lengths = draw(st.lists(st.integers(0, 60), max_size=5))
    ends = [sum(lengths[: index + 1]) for index in range(len(lengths))]
    max_words = draw(st.integers(1, 20))
    return list(zip([0, *ends], ends, strict=False)), max_words, draw(st.integers(0, max_words - 1))


@given(cases())
def test_the_kept_ranges_partition_the_words_in_order(
    case: tuple[list[tuple[int, int]], int, int],
) -> None:
    sentences, max_words, overlap = case
    kept = [
        word
        for w in split(sentences, max_words, overlap)
        for word in range(w.keep_start, w.keep_end)
    ]
    assert kept == [word for start, end in sentences for word in range(start, end)]


@given(cases())
def test_no_window_is_too_long_keeps_nothing_or_leaves_its_sentence(
    case: tuple[list[tuple[int, int]], int, int],
) -> None:
    sentences, max_words, overlap = case
    for window in split(sentences, max_words, overlap):
        assert window.end - window.start <= max_words
        assert window.start <= window.keep_start < window.keep_end <= window.end
        assert any(start <= window.start and window.end <= end for start, end in sentences)


@given(cases())
def test_a_kept_word_sees_half_the_overlap_on_each_side_or_the_end_of_its_sentence(
    case: tuple[list[tuple[int, int]], int, int],
) -> None:
    sentences, max_words, overlap = case
    starts, ends = {start for start, _ in sentences}, {end for _, end in sentences}
    for window in split(sentences, max_words, overlap):
        assert window.start in starts or window.keep_start - window.start >= overlap // 2
        assert window.end in ends or window.end - window.keep_end >= overlap // 2


@given(cases())
def test_there_are_no_more_windows_than_the_words_need(
    case: tuple[list[tuple[int, int]], int, int],
) -> None:
    sentences, max_words, overlap = case
    windows = split(sentences, max_words, overlap)
    for start, end in sentences:
        within = [window for window in windows if start <= window.start < end]
        fresh = max_words - overlap  # words that each window after the first adds
        needed = 0 if start == end else 1 + max(0, -(-(end - start - max_words) // fresh))
        assert len(within) == needed
        assert all(before.end - after.start >= overlap for before, after in pairwise(within))


def test_a_sentence_that_fits_is_one_window_kept_whole() -> None:
    assert ranges(split([(0, 3), (3, 8)], 5, 2)) == [(0, 3, 0, 3), (3, 8, 3, 8)]


def test_the_last_window_of_a_long_sentence_is_moved_back_rather_than_made_short() -> None:
    assert ranges(split([(0, 9)], 6, 2)) == [(0, 6, 0, 4), (3, 9, 4, 9)]


@pytest.mark.parametrize(("max_words", "overlap"), [(0, 0), (4, 4), (4, -1)])
def test_an_overlap_that_leaves_no_room_for_progress_is_refused(
    max_words: int, overlap: int
) -> None:
    with pytest.raises(ValueError, match="overlap"):
        split([(0, 3)], max_words, overlap)


def test_a_text_of_many_sentences_is_few_objects_for_the_garbage_collector() -> None:
    gc.collect()
    before = len(gc.get_objects())
    document = prepare("A\n\n" * 20_000, Tokeniser(), 100, 10)
    assert len(document.windows) == 20_000
    assert len(gc.get_objects()) - before < 100
