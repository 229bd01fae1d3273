"""Divergences against their definitions written out, and against what chance does to them."""

import math
import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from teddy.model.drift.reference import (
    jensen_shannon_distance,
    population_stability_index,
    shares,
    spread,
)

COUNTS = st.integers(0, 10**6)


@st.composite
def several(draw: st.DrawFn, n: int) -> list[list[int]]:
    """Counts of `n` samples over the same bins."""
    n_bins = draw(st.integers(1, 12))
    return [draw(st.lists(COUNTS, min_size=n_bins, max_size=n_bins)) for _ in range(n)]


def smoothed(counts: list[int]) -> list[float]:
    return [(count + 0.5) / (sum(counts) + 0.5 * len(counts)) for count in counts]


def entropy(distribution: list[float]) -> float:
    return -math.fsum(p * math.log2(p) for p in distribution)


@given(several(2))
def test_psi_is_the_information_of_either_against_the_other(pair: list[list[int]]) -> None:
    p, q = map(smoothed, pair)
    there = math.fsum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))
    back = math.fsum(b * (math.log(b) - math.log(a)) for a, b in zip(p, q, strict=True))
    assert population_stability_index(*pair) == pytest.approx(there + back, abs=1e-9)


@given(several(2))
def test_the_jensen_shannon_distance_is_what_mixing_adds_to_entropy(pair: list[list[int]]) -> None:
    p, q = map(smoothed, pair)
    mixed = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    added = entropy(mixed) - (entropy(p) + entropy(q)) / 2
    assert jensen_shannon_distance(*pair) ** 2 == pytest.approx(added, abs=1e-9)


@given(several(2))
def test_both_are_symmetric_and_never_negative_and_the_distance_is_at_most_one(
    pair: list[list[int]],
) -> None:
    live, reference = pair
    for measure in (population_stability_index, jensen_shannon_distance):
        assert measure(live, reference) == pytest.approx(measure(reference, live), abs=1e-12)
        assert measure(live, reference) >= 0
        assert measure(live, live) == 0
    assert jensen_shannon_distance(live, reference) <= 1


@given(several(3))
def test_a_way_round_is_never_shorter(triple: list[list[int]]) -> None:
    first, second, third = triple
    direct = jensen_shannon_distance(first, third)
    assert (
        direct
        <= jensen_shannon_distance(first, second) + jensen_shannon_distance(second, third) + 1e-6
    )


def test_the_distance_of_what_has_nothing_in_common_is_nearly_one() -> None:
    assert jensen_shannon_distance([10**9, 0], [0, 10**9]) == pytest.approx(1, abs=1e-6)
    assert population_stability_index([900, 100], [800, 200]) == pytest.approx(
        0.1 * math.log(900 / 800 * 2), abs=1e-3
    )


@given(st.lists(COUNTS, min_size=1, max_size=12))
def test_shares_add_up_to_one_and_keep_the_order_and_none_is_zero(counts: list[int]) -> None:
    found = shares(counts)
    assert math.fsum(found) == pytest.approx(1)
    assert min(found) > 0
    ordered = sorted(zip(counts, found, strict=True))
    assert all(a[1] <= b[1] for a, b in pairwise(ordered))


def test_what_counts_other_bins_is_not_compared() -> None:
    for measure in (population_stability_index, jensen_shannon_distance):
        with pytest.raises(ValueError, match="shorter"):
            measure([1, 2], [1])


def spread_of(texts: list[list[int]]) -> float:
    """`spread` of texts, each the counts of its bins."""
    rows = [
        (
            sum(text[b] for text in texts),
            sum(text[b] ** 2 for text in texts),
            sum(text[b] * sum(text) for text in texts),
        )
        for b in range(len(texts[0]))
    ]
    counts, squares, crosses = zip(*rows, strict=True)
    return spread(counts, squares, crosses, [sum(sum(text) ** 2 for text in texts)] * len(texts[0]))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_texts_of_one_observation_each_are_spread_by_one_less_than_the_bins_that_were_met(
    drawn: list[int],
) -> None:
    texts = [[int(b == each) for b in range(6)] for each in drawn]
    assert spread_of(texts) == pytest.approx(len(set(drawn)) - 1, abs=1e-9)


@given(st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=1, max_size=20))
def test_spread_is_the_variance_of_a_ratio_of_sums(texts: list[list[int]]) -> None:
    totals = [sum(column) for column in zip(*texts, strict=True)]
    assume(sum(totals))
    wanted = 0.0
    for b, total in enumerate(totals):
        if total:
            share = total / sum(totals)
            wanted += sum((text[b] - share * sum(text)) ** 2 for text in texts) / total
    assert spread_of(texts) == pytest.approx(wanted, abs=1e-6)


@given(st.lists(st.integers(0, 50), min_size=3, max_size=3), st.integers(1, 30))
def test_texts_that_are_all_alike_are_not_spread(text: list[int], n: int) -> None:
    assert spread_of([text] * n) == pytest.approx(0, abs=1e-6)


def test_psi_by_chance_is_on_average_what_the_spread_says_also_where_words_go_together() -> None:
    draw = random.Random(5)  # noqa: S311

    def text() -> list[int]:
        """Of a tongue of its own: nearly all of its words are of the one kind or of the other."""
        weights = draw.choice(((0.9, 0.05, 0.05), (0.2, 0.5, 0.3)))
        counts = Counter(draw.choices(range(3), weights, k=draw.randrange(1, 40)))
        return [counts[b] for b in range(3)]

    source = [text() for _ in range(4000)]
    reference = [sum(column) for column in zip(*source, strict=True)]
    found, expected = 0.0, 0.0
    for _ in range(60):
        live = [text() for _ in range(150)]
        counts = [sum(column) for column in zip(*live, strict=True)]
        found += population_stability_index(counts, reference)
        expected += spread_of(live) / sum(counts) + spread_of(source) / sum(reference)
    assert found / expected == pytest.approx(1, abs=0.4)
    naive = 60 * 2 * (1 / (150 * 20) + 1 / sum(reference))
    assert found > 4 * naive, "as if each word had been drawn by itself"
