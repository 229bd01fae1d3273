"""Pictures of a report are drawn for whatever was measured, without a warning."""

import warnings
from collections import Counter
from pathlib import Path

import pytest

from teddy.model.tags.spans import Span
from teddy.training.evaluation.mistakes import Confusion, pair_spans
from teddy.training.evaluation.reliability import Reliability
from teddy.training.report.drawings import MOST_LABELS, draw_confusion, draw_reliability

PNG = b"\x89PNG\r\n\x1a\n"
LABELS = ["PER", "ORG", "LOC"]


@pytest.mark.parametrize(
    "labels", [[], ["PER"], LABELS, [f"LABEL-{i}" for i in range(20)], ["人名", "地名"]]
)
def test_the_confusion_is_drawn_for_any_number_of_labels_without_a_warning(
    tmp_path: Path, labels: list[str]
) -> None:
    confusion = Confusion()
    for label in labels:
        for pair in pair_spans(
            [Span(0, 2, label), Span(4, 5, label)], [Span(0, 1, "PER"), Span(4, 5, label)]
        ):
            confusion.add(pair)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_confusion(confusion, labels, tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("n_labels", [MOST_LABELS, MOST_LABELS + 1, MOST_LABELS + 2, 300])
def test_many_labels_share_one_place_and_no_span_is_lost(n_labels: int) -> None:
    """The oracle: every cell counted again under the name of its group."""
    labels = [f"L{i}" for i in range(n_labels)]
    confusion = Confusion()
    for i, label in enumerate(labels):
        for pair in pair_spans([Span(0, 2, label), Span(4, 5, label)], [Span(0, 1, "L0")]):
            for _ in range(1 + i % 7):
                confusion.add(pair)
    bounded, names = confusion.bounded(labels, MOST_LABELS)
    assert len(names) <= MOST_LABELS + 1
    counts = {
        label: sum(
            n * pair.count(label)
            for pair, n in (confusion.equal_borders + confusion.wrong_borders).items()
        )
        for label in labels
    }
    kept = [name for name in names if name in labels]
    assert min(counts[name] for name in kept) >= max(
        (counts[label] for label in labels if label not in kept), default=0
    )
    for whole, grouped in (
        (confusion.equal_borders, bounded.equal_borders),
        (confusion.wrong_borders, bounded.wrong_borders),
    ):
        expected: Counter[tuple[str | None, ...]] = Counter()
        for cell, n in whole.items():
            expected[tuple(x if x is None or x in kept else names[-1] for x in cell)] += n
        assert grouped == expected


def test_the_picture_of_many_labels_is_no_larger_than_that_of_a_few(tmp_path: Path) -> None:
    sizes = []
    for n_labels in (MOST_LABELS + 1, 300):
        confusion = Confusion()
        for i in range(n_labels):
            for pair in pair_spans([Span(0, 2, f"L{i}")], [Span(0, 2, f"L{i + 1}")]):
                confusion.add(pair)
        path = tmp_path / f"{n_labels}.png"
        draw_confusion(confusion, [f"L{i}" for i in range(n_labels)], path)
        sizes.append(path.read_bytes()[16:24])  # width and height of a PNG
    assert sizes[0] == sizes[1]


OUTCOMES = (
    [(0.95, True)] * 90
    + [(0.97, False)] * 4
    + [(0.55, True), (0.52, False), (0.0, False), (1.0, True)]
)


@pytest.mark.parametrize("outcomes", [[], [(1.0, True)], OUTCOMES], ids=len)
def test_reliability_is_drawn_for_any_number_of_entities_without_a_warning(
    tmp_path: Path, outcomes: list[tuple[float, bool]]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_reliability(Reliability.of(outcomes), tmp_path / "calibration.png")
    assert (tmp_path / "calibration.png").read_bytes().startswith(PNG)
