"""Pictures of a report are drawn for whatever was measured, without a warning."""

import warnings
from pathlib import Path

import pytest

from teddy.model.tags.spans import Span
from teddy.training.evaluation.mistakes import Confusion, pair_spans
from teddy.training.evaluation.reliability import Reliability
from teddy.training.report.drawings import draw_confusion, draw_reliability

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
