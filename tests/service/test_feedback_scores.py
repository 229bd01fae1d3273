"""Live precision and recall against those of training, and against a second look at the same
files."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.core import GaugeMetricFamily

from teddy.model.tags.spans import Span
from teddy.service.feedback.rows import Correction
from teddy.service.feedback.scores import (
    KINDS,
    LEAST_ENTITIES,
    FeedbackGauges,
    NewestCorrections,
    Outcomes,
    Window,
    compare,
    ratios,
    read_rows,
    total,
)
from teddy.service.feedback.store import CorrectionFiles
from teddy.training.evaluation.scores import SpanScores

SPANS = st.lists(
    st.builds(
        lambda start, n, label: Span(start, start + n, label),
        *[st.integers(0, 4), st.integers(1, 2), st.sampled_from("AB")],
    )
)
TEXTS = st.lists(st.tuples(SPANS, SPANS))
MODEL, VERSION = "en", "1"


def oracle(texts: Iterable[tuple[Sequence[Span], Sequence[Span]]]) -> SpanScores:
    scores = SpanScores()
    for wanted, found in texts:
        scores.add(wanted, found)
    return scores


def as_counts(scores: SpanScores) -> dict[str, tuple[int, int, int]]:
    counts = scores.by_label.items()
    return {
        label: (each.correct, each.predicted - each.correct, each.gold - each.correct)
        for label, each in counts
    }


@given(SPANS, SPANS)
def test_a_text_has_the_outcomes_that_evaluation_counts(
    wanted: list[Span], found: list[Span]
) -> None:
    outcomes = compare(wanted, found)
    scores = oracle([(wanted, found)])
    assert {
        label: (each.correct, each.spurious, each.missed) for label, each in outcomes.items()
    } == as_counts(scores)
    together = total(outcomes)
    if together.n_found:
        assert together.precision == scores.micro.precision
    if together.n_wanted:
        assert together.recall == scores.micro.recall
    if together != Outcomes():
        assert together.f1 == scores.micro.f1


@given(TEXTS, st.integers(1, 5))
def test_a_window_is_the_evaluation_of_its_newest_texts(
    texts: list[tuple[list[Span], list[Span]]], most_texts: int
) -> None:
    window = Window(most_texts)
    for wanted, found in texts:
        window.add(compare(wanted, found))
    sums = {label: each for label, each in window.sums.items() if each != Outcomes()}
    expected = as_counts(oracle(texts[-most_texts:]))
    assert {
        label: (each.correct, each.spurious, each.missed) for label, each in sums.items()
    } == expected


def values(families: Iterable[GaugeMetricFamily]) -> dict[tuple[str, ...], float]:
    """Each sample, by its metric's name and its labels' values."""
    return {
        (each.name, *each.labels.values()): each.value
        for family in families
        for each in family.samples
    }


@pytest.mark.parametrize("n", [LEAST_ENTITIES - 1, LEAST_ENTITIES])
def test_what_too_few_entities_tell_is_not_shown(n: int) -> None:
    shown = values(ratios({MODEL: {"A": Outcomes(correct=n)}}))
    assert bool(shown) == (n >= LEAST_ENTITIES)
    found = values(ratios({MODEL: {"A": Outcomes(spurious=n), "B": Outcomes(missed=n)}}))
    names = {name.removeprefix("teddy_feedback_"): value for (name, *_), value in found.items()}
    assert names == ({"precision": 0, "recall": 0, "f1": 0} if n >= LEAST_ENTITIES else {})


@pytest.fixture
def files(tmp_path: Path) -> Iterable[CorrectionFiles]:
    with closing(CorrectionFiles(tmp_path, file_bytes=2000, max_bytes=2**20)) as files:
        files.open()
        yield files


def correction(
    kind: str = "correct", *, model: str = MODEL, version: str = VERSION, text: str = "x"
) -> Correction:
    span = [Span(0, 1, "A")]
    wanted, found = {"correct": (span, span), "spurious": ([], span), "missed": (span, [])}[kind]
    return Correction(
        text=text, wanted=wanted, found=found, model=model, version=version, by="somebody"
    )


def store(files: CorrectionFiles, *kinds: str, **options: str) -> None:
    for kind in kinds:
        files.append(correction(kind, **options).row())


def test_all_processes_see_the_same_whoever_stored_it_and_as_it_comes(
    files: CorrectionFiles, tmp_path: Path
) -> None:
    with closing(CorrectionFiles(tmp_path, file_bytes=1000, max_bytes=2**20)) as other:
        early = NewestCorrections(files)
        for round_ in range(1, 4):
            store(files, *["correct"] * 7, "spurious")
            store(other, *["missed"] * 3)
            expected = {(MODEL, VERSION): {"A": Outcomes(7 * round_, round_, 3 * round_)}}
            assert early.sums() == early.sums() == expected
            assert NewestCorrections(other).sums() == expected, "one that looks for the first time"
    assert len(list(tmp_path.glob("*.jsonl"))) > 2


def test_only_the_newest_of_each_version_count(files: CorrectionFiles) -> None:
    newest = NewestCorrections(files, most_texts=3)
    store(files, *["missed"] * 5, version="old")
    store(files, *["spurious"] * 5)
    store(files, "correct", "correct")
    expected = {
        (MODEL, "old"): {"A": Outcomes(missed=3)},
        (MODEL, VERSION): {"A": Outcomes(2, 1, 0)},
    }
    assert newest.sums() == expected
    assert NewestCorrections(files, most_texts=3).sums() == expected


def test_versions_without_end_are_forgotten(files: CorrectionFiles) -> None:
    newest = NewestCorrections(files)
    for version in range(100):
        store(files, "correct", version=str(version))
    assert 1 < len(newest.sums()) < 50
    assert (MODEL, "99") in newest.sums()


def test_rows_of_other_makers_and_damaged_ones_are_passed_over(
    files: CorrectionFiles, tmp_path: Path
) -> None:
    row = correction().row()
    others = [
        b"",
        b"{}",
        b"[]",
        b"7",
        b'{"text": "x", "entities": []}',
        b"\xff",
        b"{",
        row.replace(b'"start":0', b'"a":0'),
    ]
    (tmp_path / "corrections-0.jsonl").write_bytes(b"\n".join(others) + b"\n" + row + row[:20])
    assert NewestCorrections(files).sums() == {(MODEL, VERSION): {"A": Outcomes(correct=1)}}


@given(
    st.lists(st.binary(max_size=5).map(lambda line: line.replace(b"\n", b"")), max_size=8),
    st.data(),
)
@settings(max_examples=60)
def test_rows_are_read_once_and_in_order_wherever_a_look_ends(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(line + b"\n" for line in lines)
    sizes = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    path = tmp_path_factory.mktemp("rows") / "file"
    path.write_bytes(whole)
    read: list[bytes] = []
    start = 0
    with path.open("rb") as file:
        for size in [*sizes, len(whole)]:
            rows, start = read_rows(file.fileno(), start, size, 10**6)
            read += rows
        assert read == lines
        few = data.draw(st.integers(-1, len(whole)))
        rows, start = read_rows(file.fileno(), 0, len(whole), few)
    assert start == len(whole)
    assert sum(len(line) + 1 for line in rows) <= max(few, 0)
    assert rows == lines[len(lines) - len(rows) :]


def test_the_gauges_are_about_the_versions_that_are_served(files: CorrectionFiles) -> None:
    store(files, *["correct"] * 15, *["spurious"] * 5, *["missed"] * 10)
    store(files, *["missed"] * 40, version="old")
    store(files, *["correct"] * 40, model="other")
    shown = values(FeedbackGauges(files, lambda: [(MODEL, VERSION)]).collect())
    assert shown == {
        ("teddy_feedback_stored_bytes",): files.stored_bytes(),
        ("teddy_feedback_capacity_bytes",): 2**20,
        ("teddy_feedback_precision", MODEL, "A"): 15 / 20,
        ("teddy_feedback_recall", MODEL, "A"): 15 / 25,
        ("teddy_feedback_f1", MODEL): 2 * 15 / 45,
    }


def test_the_kinds_are_the_outcomes_that_the_catalogue_names() -> None:
    assert Counter(KINDS) == Counter(("correct", "spurious", "missed"))
