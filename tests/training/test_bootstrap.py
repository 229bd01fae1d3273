"""Intervals and differences by resampling, against a slow bootstrap with the same draws."""

import random
from collections.abc import Sequence
from statistics import NormalDist, mean

import numpy as np
import pytest

from teddy.training.evaluation.bootstrap import (
    Array,
    count_table,
    differences,
    draws,
    exchanges,
    score_intervals,
)
from teddy.training.evaluation.scores import Counts

LABELS = ("PER", "LOC")
Table = list[dict[str, Counts]]


def made_up(
    n_sentences: int, seed: int, recall: float = 0.8, spurious: float = 0.1, tagger: int = 0
) -> Table:
    """Sentences of up to three entities, each found with the same chance, or spurious ones."""
    texts, answers = random.Random(seed), random.Random(1000 * seed + tagger)  # noqa: S311
    table = []
    for _ in range(n_sentences):
        by_label = {}
        for label in texts.sample(LABELS, texts.randrange(len(LABELS) + 1)):
            gold = texts.randrange(1, 4)
            correct = sum(answers.random() < recall for _ in range(gold))
            by_label[label] = Counts(gold, correct + (answers.random() < spurious), correct)
        table.append(by_label)
    return table


def total(table: Sequence[dict[str, Counts]], labels: Sequence[str]) -> Counts:
    return sum((by_label.get(label, Counts()) for by_label in table for label in labels), Counts())


def slow_draws(table: Table, weights: Array) -> list[Table]:
    return [
        [by_label for by_label, times in zip(table, row, strict=True) for _ in range(int(times))]
        for row in weights
    ]


def quantile(values: Sequence[float], share: float) -> float:
    """Linear between the two neighbours, as numpy does by default."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@pytest.mark.parametrize("n_sentences", [1, 7, 60])
def test_the_intervals_are_those_of_a_slow_bootstrap_with_the_same_draws(n_sentences: int) -> None:
    table = made_up(n_sentences, seed=n_sentences)
    (weights,) = draws(n_sentences, 200, seed=5)
    fast = score_intervals(count_table(table, LABELS), LABELS, n_draws=200, seed=5)
    resampled = slow_draws(table, weights)
    assert all(len(sentences) == n_sentences for sentences in resampled)
    for found, labels in (
        (fast.micro, LABELS),
        *((fast.by_label[label], (label,)) for label in LABELS),
    ):
        counts = [total(sentences, labels) for sentences in resampled]
        for interval, values in (
            (found.precision, [each.precision for each in counts]),
            (found.recall, [each.recall for each in counts]),
            (found.f1, [each.f1 for each in counts]),
        ):
            assert (interval.low, interval.high) == pytest.approx(
                (quantile(values, 0.025), quantile(values, 0.975))
            )


def test_a_difference_is_that_of_a_slow_paired_bootstrap_and_randomisation() -> None:
    first, second = made_up(40, seed=1), made_up(40, seed=1, recall=0.6)
    (weights,), (sides,) = draws(40, 300, seed=2), exchanges(40, 300, seed=2)
    overall, by_label = differences(
        count_table(first, LABELS), count_table(second, LABELS), LABELS, n_draws=300, seed=2
    )
    for found, labels in ((overall, LABELS), *((by_label[label], (label,)) for label in LABELS)):
        observed = total(second, labels).f1 - total(first, labels).f1
        drawn = [
            total(b, labels).f1 - total(a, labels).f1
            for a, b in zip(slow_draws(first, weights), slow_draws(second, weights), strict=True)
        ]
        exchanged = []
        for row in sides:
            pairs = [
                (b, a) if swap else (a, b) for a, b, swap in zip(first, second, row, strict=True)
            ]
            exchanged.append(
                total([b for _, b in pairs], labels).f1 - total([a for a, _ in pairs], labels).f1
            )
        assert found.f1 == pytest.approx(observed)
        assert found.interval.low == pytest.approx(quantile(drawn, 0.025))
        assert found.interval.high == pytest.approx(quantile(drawn, 0.975))
        limit = abs(observed) - 1e-12
        assert found.p_bootstrap == (1 + sum(abs(each - observed) >= limit for each in drawn)) / 301
        assert found.p_randomisation == (1 + sum(abs(each) >= limit for each in exchanged)) / 301
        assert found.share_better == pytest.approx(
            mean((each > 0) + (each == 0) / 2 for each in drawn)
        )


def test_blocks_change_no_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    table = count_table(made_up(50, seed=3), LABELS)
    whole = score_intervals(table, LABELS, n_draws=100)
    monkeypatch.setattr("teddy.training.evaluation.bootstrap._CELLS_AT_ONCE", 333)
    assert score_intervals(table, LABELS, n_draws=100) == whole


def test_about_95_of_100_intervals_hold_the_truth() -> None:
    # Of 0.8 of the entities found and none invented, recall is 0.8 and F1 2 * 0.8 / (1 + 0.8).
    n = 200
    covered = {"recall": 0, "f1": 0}
    for seed in range(n):
        table = count_table(made_up(150, seed=seed, recall=0.8, spurious=0.0), LABELS)
        found = score_intervals(table, LABELS, n_draws=300, seed=seed).micro
        covered["recall"] += found.recall.low <= 0.8 <= found.recall.high
        covered["f1"] += found.f1.low <= 2 * 0.8 / 1.8 <= found.f1.high
    spread = NormalDist().inv_cdf(0.9999) * (0.95 * 0.05 / n) ** 0.5
    for share in (covered["recall"] / n, covered["f1"] / n):
        # The percentile interval of few sentences is a little too narrow.
        assert 0.95 - spread - 0.02 <= share <= 0.95 + spread


def test_a_tagger_against_itself_differs_by_nothing_for_certain() -> None:
    table = count_table(made_up(50, seed=4), LABELS)
    overall, by_label = differences(table, table, LABELS, n_draws=100)
    for each in (overall, *by_label.values()):
        assert (each.f1, each.interval.low, each.interval.high) == (0, 0, 0)
        assert (each.p_bootstrap, each.p_randomisation, each.share_better) == (1, 1, 0.5)


def test_a_better_tagger_is_told_from_a_worse_one_and_not_from_an_equal_one() -> None:
    n_wrong_alarms = 0
    for seed in range(40):
        taggers = enumerate((0.7, 0.7, 0.9))
        tables = [
            count_table(made_up(200, seed, recall, tagger=i), LABELS) for i, recall in taggers
        ]
        found, _ = differences(tables[0], tables[2], LABELS, n_draws=300)
        assert found.p_randomisation < 0.01
        assert found.p_bootstrap < 0.01
        assert found.interval.low > 0
        found, _ = differences(tables[0], tables[1], LABELS, n_draws=300)
        n_wrong_alarms += found.p_randomisation < 0.05
    assert n_wrong_alarms <= 8  # two are to be expected, and more than eight come once in 5,000


def test_no_sentences_and_no_entities_are_no_error() -> None:
    for table in (np.zeros((0, 2, 3)), np.zeros((5, 2, 3))):
        found = score_intervals(table, LABELS, n_draws=20)
        assert (found.micro.f1.low, found.micro.f1.high) == (0, 0)
        overall, _ = differences(table, table, LABELS, n_draws=20)
        assert (overall.f1, overall.p_bootstrap) == (0, 1)
