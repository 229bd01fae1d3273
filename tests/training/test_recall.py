"""Precision and recall along the threshold, by hand and against a plain count."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from teddy.model.tagger import TaggedWords
from teddy.model.tags.search import Search
from teddy.model.tags.spans import Span
from teddy.model.tags.tag_set import TagSet
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Sentence
from teddy.training.evaluation.recall import Found, RecallCurve, measure_recall, wilson

Probable = list[tuple[Span, float]]


class Probabilities:
    """A tagger whose spans are given."""

    tag_set = TagSet(("PER", "LOC"))

    def __init__(self, probable: list[Probable]) -> None:
        self._probable = probable

    def tag(self, sentences: Sequence[Sequence[str]], search: Search) -> list[TaggedWords]:
        assert len(sentences) == len(self._probable)
        assert search.thresholds == (0.0001, 0.0001)
        nothing: dict[str, Any] = {"spans": [], "scores": [], "tag_scores": np.zeros(0)}
        return [
            TaggedWords(**nothing, tags=np.zeros(0, np.int64), probable=each)
            for each in self._probable
        ]


def sentence(*spans: Span) -> Sentence:
    words = ("a", "b", "c", "d")
    return Sentence(
        words=words,
        offsets=tuple((2 * i, 2 * i + 1) for i in range(4)),
        spans=spans,
        unknown=(),
        misaligned=(),
        corpus="made-up",
        text="a b c d",
        path="dev.conll",
        line=7,
        tokeniser=Tokeniser(),
    )


@pytest.fixture
def curve() -> RecallCurve:
    sentences = [
        sentence(Span(0, 2, "PER"), Span(3, 4, "LOC")),
        sentence(Span(0, 1, "PER")),
        sentence(Span(2, 3, "PER")),
    ]
    probable: list[Probable] = [
        [(Span(0, 1, "LOC"), 0.4), (Span(0, 2, "PER"), 0.3), (Span(1, 2, "LOC"), 0.25)],
        [(Span(0, 1, "PER"), 0.9), (Span(1, 2, "PER"), 0.06)],
        [(Span(2, 4, "LOC"), 0.015)],
    ]
    return measure_recall(Probabilities(probable), sentences, {}, 0.6)  # type: ignore[arg-type]


def test_the_counts_at_a_threshold_are_those_by_hand(curve: RecallCurve) -> None:
    people = curve.by_label["PER"]
    assert people[0.95] == Found(gold=3)
    assert people[0.5] == Found(gold=3, predicted=1, correct=1, covered=1, touching=1)
    # 0.4 alone is more than 0.3, so that the name of two words is covered by half
    assert people[0.3] == people[0.5]
    # 0.4 + 0.25 is more too, and covers it, though with another label
    assert people[0.2] == Found(gold=3, predicted=1, correct=1, covered=2, touching=1)
    assert people[0.05] == Found(gold=3, predicted=2, correct=1, covered=2, touching=1)
    assert people[0.01] == Found(gold=3, predicted=2, correct=1, covered=3, touching=1)
    assert curve.by_label["LOC"][0.01] == Found(gold=1, predicted=3, touching=3)


def test_the_threshold_is_the_largest_that_covers_what_is_wanted(curve: RecallCurve) -> None:
    assert curve.thresholds == {"PER": 0.2, "LOC": None}
    assert curve.exact == {"PER": None, "LOC": None}
    assert curve.preset == {"PER": 0.2, "LOC": 0.0001}
    # with both at once; what is left uncovered is shown
    assert curve.chosen["PER"] == Found(gold=3, predicted=1, correct=1, covered=3, touching=1)
    assert [(each.label, each.entity, each.line) for each in curve.missed] == [("LOC", "d", 7)]


def test_a_preset_is_written_and_everything_is_json(curve: RecallCurve, tmp_path: Path) -> None:
    curve.write_preset(tmp_path / "thresholds.json")
    assert json.loads((tmp_path / "thresholds.json").read_text()) == curve.preset
    assert json.loads(json.dumps(curve.as_dict()))["wanted"] == 0.6
    assert "none" in "\n".join(curve.table())
    assert "## Recall when it matters" in "\n".join(curve.section())


def test_the_interval_of_a_share_is_that_of_wilson() -> None:
    # the limits p solve (p - n / of)^2 = z^2 p (1 - p) / of
    for n, of in ((0, 10), (1, 10), (5, 10), (10, 10), (3, 343)):
        interval = wilson(n, of)
        for limit in (interval.low, interval.high):
            gap = (limit - n / of) ** 2 - 1.959964**2 * limit * (1 - limit) / of
            assert gap == pytest.approx(0, abs=1e-12)
        assert interval.low <= n / of <= interval.high
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)
