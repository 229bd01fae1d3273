"""Which predicted span is paired with which gold one, how they differ, and what that costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.tags.spans import Span
from teddy.training.evaluation.mistakes import (
    Confusion,
    MistakeKind,
    SpanPair,
    pair_spans,
    scores_without,
)
from teddy.training.evaluation.scores import Counts, SpanScores

LABELS = ["PER", "ORG", "LOC"]
any_spans = st.lists(
    st.builds(
        lambda start, length, label: Span(start, start + length, label),
        st.integers(0, 7),
        st.integers(1, 5),
        st.sampled_from(LABELS),
    ),
    max_size=8,
    unique=True,
)


@given(any_spans, any_spans)
def test_every_span_is_in_exactly_one_pair(gold: list[Span], predicted: list[Span]) -> None:
    pairs = pair_spans(gold, predicted)
    assert sorted(pair.gold for pair in pairs if pair.gold) == sorted(gold)
    assert sorted(pair.predicted for pair in pairs if pair.predicted) == sorted(predicted)
    assert all(pair.gold or pair.predicted for pair in pairs)


@given(any_spans, any_spans)
def test_paired_spans_overlap_and_none_that_overlap_are_both_left_alone(
    gold: list[Span], predicted: list[Span]
) -> None:
    def overlap(one: Span, other: Span) -> bool:
        return bool(set(range(one.start, one.end)) & set(range(other.start, other.end)))

    pairs = pair_spans(gold, predicted)
    missed = [pair.gold for pair in pairs if pair.gold and not pair.predicted]
    spurious = [pair.predicted for pair in pairs if pair.predicted and not pair.gold]
    assert all(overlap(pair.gold, pair.predicted) for pair in pairs if pair.gold and pair.predicted)
    assert not any(overlap(one, other) for one in missed for other in spurious)


@given(any_spans, any_spans)
def test_the_correct_pairs_are_the_spans_in_both(gold: list[Span], predicted: list[Span]) -> None:
    correct = [
        pair.gold for pair in pair_spans(gold, predicted) if pair.kind is MistakeKind.CORRECT
    ]
    assert sorted(span for span in correct if span) == sorted(set(gold) & set(predicted))


@pytest.mark.parametrize(
    ("gold", "predicted", "kinds"),
    [
        ([Span(0, 2, "PER")], [Span(0, 2, "PER")], [MistakeKind.CORRECT]),
        ([Span(0, 2, "PER")], [Span(0, 2, "ORG")], [MistakeKind.LABEL]),
        ([Span(0, 2, "PER")], [Span(0, 1, "PER")], [MistakeKind.BORDERS]),
        ([Span(0, 2, "PER")], [Span(1, 3, "ORG")], [MistakeKind.BOTH]),
        ([Span(0, 2, "PER")], [Span(2, 3, "PER")], [MistakeKind.MISSED, MistakeKind.SPURIOUS]),
        # one gold span cut in two: the longer piece stands for it, the other is spurious
        (
            [Span(0, 3, "PER")],
            [Span(0, 1, "PER"), Span(1, 3, "PER")],
            [MistakeKind.BORDERS, MistakeKind.SPURIOUS],
        ),
        # equal borders win over a greater overlap
        (
            [Span(0, 1, "PER")],
            [Span(0, 1, "ORG"), Span(0, 3, "PER")],
            [MistakeKind.LABEL, MistakeKind.SPURIOUS],
        ),
        ([], [], []),
    ],
)
def test_a_pair_is_of_the_kind_of_its_difference(
    gold: list[Span], predicted: list[Span], kinds: list[MistakeKind]
) -> None:
    assert [pair.kind for pair in pair_spans(gold, predicted)] == kinds


@given(any_spans, any_spans)
def test_the_confusion_counts_every_gold_and_every_predicted_span_once(
    gold: list[Span], predicted: list[Span]
) -> None:
    confusion = Confusion()
    for pair in pair_spans(gold, predicted):
        confusion.add(pair)
    cells = confusion.equal_borders + confusion.wrong_borders
    for label in LABELS:
        assert sum(n for (one, _), n in cells.items() if one == label) == sum(
            span.label == label for span in gold
        )
        assert sum(n for (_, one), n in cells.items() if one == label) == sum(
            span.label == label for span in predicted
        )


# What a kind of mistake costs.


def count(pairs: list[SpanPair]) -> Counts:
    scores = SpanScores()
    for place, pair in enumerate(pairs):
        # Far apart, so that the spans of different pairs never meet.
        gold, found = (
            [] if each is None else [shifted(each, 100 * place)]
            for each in (pair.gold, pair.predicted)
        )
        scores.add(gold, found)
    return scores.micro


def shifted(span: Span, by: int) -> Span:
    return Span(span.start + by, span.end + by, span.label)


def without(pair: SpanPair) -> SpanPair:
    """The pair of a tagger without this mistake: it finds what there is, and no more."""
    return SpanPair(pair.gold, pair.gold)


@given(any_spans, any_spans, st.sampled_from(list(MistakeKind)))
def test_a_kind_left_out_gives_the_counts_of_a_tagger_that_does_not_make_it(
    gold: list[Span], predicted: list[Span], kind: MistakeKind
) -> None:
    pairs = pair_spans(gold, predicted)
    better = [without(pair) if pair.kind is kind else pair for pair in pairs]
    n = sum(pair.kind is kind for pair in pairs)
    assert scores_without(count(pairs), kind, n) == count(
        [pair for pair in better if pair.gold or pair.predicted]
    )


@given(any_spans, any_spans)
def test_with_every_kind_left_out_nothing_is_wrong_any_more(
    gold: list[Span], predicted: list[Span]
) -> None:
    pairs = pair_spans(gold, predicted)
    counts = count(pairs)
    for kind in MistakeKind:
        better = scores_without(counts, kind, sum(pair.kind is kind for pair in pairs))
        assert better.f1 >= counts.f1
        counts = better
    assert counts.gold == counts.predicted == counts.correct == len(gold)
