"""How often scores come true, against a slow count."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.training.evaluation.reliability import Bin, Reliability

# Scores off the borders of bins, where rounding decides, and the two ends.
SCORES = st.one_of(st.integers(0, 99).map(lambda i: (i + 0.5) / 100), st.sampled_from([0.0, 1.0]))


@given(st.lists(st.tuples(SCORES, st.booleans()), max_size=60), st.sampled_from([1, 2, 5, 10]))
def test_the_calibration_error_is_what_a_slow_count_gives(
    pairs: list[tuple[float, bool]], n_bins: int
) -> None:
    expected = 0.0
    for each in range(n_bins):
        low, high = each / n_bins, (each + 1) / n_bins
        members = [pair for pair in pairs if low <= pair[0] < high or (pair[0] == high == 1.0)]
        if members:
            mean_score = sum(score for score, _ in members) / len(members)
            share_right = sum(right for _, right in members) / len(members)
            expected += len(members) / len(pairs) * abs(mean_score - share_right)
    assert Reliability.of(pairs, n_bins).error == pytest.approx(expected, abs=1e-12)


def test_scores_that_come_true_as_often_as_they_say_have_no_error() -> None:
    scores = [0.25] * 4 + [0.75] * 4
    correct = [True, False, False, False, True, True, True, False]
    assert Reliability.of(zip(scores, correct, strict=True)).error == 0.0


@given(st.lists(st.tuples(SCORES, st.booleans()), max_size=40), st.integers(0, 40))
def test_counts_add_up_over_any_division_and_every_entity_is_in_one_bin(
    pairs: list[tuple[float, bool]], cut: int
) -> None:
    whole, parts = Reliability.of(pairs), Reliability.of(pairs[:cut]) + Reliability.of(pairs[cut:])
    assert [(each.n, each.n_right) for each in whole.bins] == [
        (each.n, each.n_right) for each in parts.bins
    ]
    assert whole.error == pytest.approx(parts.error)
    assert whole.total.n == len(pairs)
    assert whole.total.n_right == sum(right for _, right in pairs)
    assert whole.total.score_sum == pytest.approx(sum(score for score, _ in pairs))


@given(st.lists(st.tuples(SCORES, st.booleans()), max_size=40))
def test_scores_in_a_bin_lie_between_its_borders_and_all_survives_json(
    pairs: list[tuple[float, bool]],
) -> None:
    as_dict = Reliability.of(pairs).as_dict()
    assert json.loads(json.dumps(as_dict, allow_nan=False)) == as_dict
    bins = as_dict["bins"]
    assert isinstance(bins, list)
    for each in bins:
        assert each["predicted"] == 0 or each["from"] <= each["mean_score"] <= each["to"] + 1e-12


def test_nothing_has_no_error_and_means_of_nothing_are_zero() -> None:
    assert Reliability().error == Reliability.of([]).error == 0.0
    assert (Bin().mean_score, Bin().share_right, Bin().gap) == (0.0, 0.0, 0.0)


def test_scores_that_promise_too_much_have_a_gap_above_zero() -> None:
    (low, high) = Reliability.of([(0.2, True), (0.9, False)], 2).bins
    assert [low.gap, high.gap] == pytest.approx([-0.8, 0.9])
