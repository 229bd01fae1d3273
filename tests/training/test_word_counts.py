from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from teddy.training.data.vocabulary import WordCounts

WORDS = st.lists(st.sampled_from([chr(letter) for letter in range(97, 123)]), max_size=300)


@given(WORDS, st.integers(26, 100))
def test_counts_are_exact_where_there_are_no_more_words_than_the_table_may_have(
    words: list[str], most: int
) -> None:
    counts = WordCounts(most)
    for word in words:
        counts.add([word])
    assert counts.counts == Counter(words)
    assert list(counts.counts) == list(dict.fromkeys(words))
    assert counts.uncertain_by == 0


@given(WORDS, st.integers(1, 25), st.integers(1, 20))
def test_pruned_counts_are_too_low_by_no_more_than_is_said(
    words: list[str], most: int, step: int
) -> None:
    counts = WordCounts(most)
    for start in range(0, len(words), step):
        counts.add(Counter(words[start : start + step]))
    assert len(counts.counts) <= most
    for word, true in Counter(words).items():
        assert true - counts.uncertain_by <= counts.counts[word] <= true


def test_words_that_stay_frequent_are_counted_exactly_among_any_number_of_rare_ones() -> None:
    counts = WordCounts(100)
    for number in range(10_000):
        counts.add(["the", "of", "the", f"rare-{number}"])
    assert counts.counts["the"] == 20_000
    assert counts.counts["of"] == 10_000
