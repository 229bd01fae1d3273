"""The sliding window and the token bucket, against plain lists of what came when."""

from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.drift.profile import Profiler
from teddy.model.predictor import Predictor
from teddy.service.observability.drift import DriftIntake
from teddy.service.observability.drift_windows import (
    BLOCK_SECONDS,
    BLOCKS,
    MOST_SECONDS,
    RecentCounts,
)

PAUSES = st.sampled_from([0.0, 1.0, 600.0, BLOCK_SECONDS, 5 * BLOCK_SECONDS, MOST_SECONDS])


@pytest.fixture(scope="module")
def profiler(tiny_predictor: Predictor) -> Profiler:
    return Profiler(tiny_predictor.manifest.labels, tiny_predictor.tagger.features.pieces)


@given(pauses=st.lists(PAUSES, min_size=1, max_size=80), most_texts=st.integers(1, 40))
def test_the_window_is_the_newest_texts_and_none_is_older_than_a_day(
    profiler: Profiler, pauses: list[float], most_texts: int
) -> None:
    recent = RecentCounts(profiler, most_texts)
    came: list[tuple[float, Counter[int]]] = []
    now = 0.0
    for number, pause in enumerate(pauses):
        now += pause
        came.append((now, Counter({number % 7: number + 1, 40: 1})))
        recent.add(came[-1][1], now)
        total = recent.total()
        assert 1 <= total.n_texts <= most_texts
        newest = came[-total.n_texts :]
        expected = profiler.sums()
        for _, counts in newest:
            profiler.add(expected, counts)
        assert np.array_equal(total.matrix, expected.matrix)
        assert now - newest[0][0] < MOST_SECONDS
        young = [each for each in came if now - each[0] < MOST_SECONDS - BLOCK_SECONDS]
        assert total.n_texts >= min(len(young), most_texts - most_texts // BLOCKS)


def test_however_many_texts_come_the_window_is_a_few_blocks(profiler: Profiler) -> None:
    recent = RecentCounts(profiler, 1000)
    for number in range(20_000):
        recent.add(Counter({3: 1}), float(number * 13 % 7 + number))
    assert len(recent._blocks) <= BLOCKS + MOST_SECONDS / BLOCK_SECONDS


def test_time_alone_empties_it(profiler: Profiler) -> None:
    recent = RecentCounts(profiler, 10)
    recent.add(Counter({3: 1}), 0.0)
    assert not recent.forget(MOST_SECONDS - 1)
    assert recent.forget(MOST_SECONDS)
    assert not recent.forget(MOST_SECONDS)
    assert recent.total().n_texts == 0
    assert not recent.total().matrix.any()


@dataclass
class Clock:
    now: float = 0.0
    taken: list[tuple[float, int]] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now


def take(intake: DriftIntake, wanted: int) -> int:
    """How many of so many texts an intake takes."""
    model: Any = SimpleNamespace(
        predictor=SimpleNamespace(manifest=SimpleNamespace(reference=SimpleNamespace(features="x")))
    )
    empty: Any = SimpleNamespace(n_words=0)
    intake.offer(model, [empty] * wanted, [empty] * wanted)
    return sum(len(held.texts) for held in intake.release())


@given(
    per_second=st.floats(0.1, 100),
    capacity=st.integers(1, 50),
    calls=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 60)), max_size=60),
)
def test_in_no_stretch_of_time_are_more_texts_taken_than_the_rate_and_a_full_bucket(
    per_second: float, capacity: int, calls: list[tuple[float, int]]
) -> None:
    clock = Clock()
    intake = DriftIntake(per_second, capacity, clock)
    for pause, wanted in calls:
        clock.now += pause
        taken = take(intake, wanted)
        assert 0 <= taken <= wanted
        clock.taken.append((clock.now, taken))
        for begun, _ in clock.taken:
            within = sum(n for at, n in clock.taken if at >= begun)
            assert within <= capacity + (clock.now - begun) * per_second + 1e-6


def test_after_a_quiet_time_as_many_are_given_at_once_as_there_is_room_for() -> None:
    clock = Clock()
    intake = DriftIntake(2.0, 5, clock)
    assert (take(intake, 9), take(intake, 1)) == (5, 0)
    clock.now = 1.5
    assert take(intake, 9) == 3
    clock.now = 1000.0
    assert take(intake, 9) == 5
