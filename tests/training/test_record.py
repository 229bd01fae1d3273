import json
import math
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from teddy.training.job.record import EvaluationRow, Record, UpdateRow, without_clock

PNG = b"\x89PNG\r\n\x1a\n"


def update(step: int, loss: float = 1.0) -> UpdateRow:
    return {
        "kind": "update",
        "step": step,
        "epoch": 1,
        "loss": loss,
        "gradient_norm": 2.0,
        "learning_rate": 1e-3,
        "n_words": 100,
        "words_per_second": 5e4,
    }


def test_what_a_clock_decided_is_all_that_is_not_update() -> None:
    assert update(1).items() - without_clock(update(1)).items() == {("words_per_second", 5e4)}
    assert without_clock(evaluation(1, f1=0.5)) == evaluation(1, f1=0.5)


def evaluation(step: int, f1: float) -> EvaluationRow:
    scores = {"f1": f1, "precision": f1, "recall": f1, "loss": 0.5}
    row = {"kind": "evaluation", "step": step, "epoch": 1, "best": False, **scores}
    return row  # type: ignore[return-value]


rows_of_any_kind = st.lists(
    st.dictionaries(
        st.text(),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
    )
)


@given(rows_of_any_kind)
@example([{"words_per_second": None}])
@settings(max_examples=50, deadline=None)
def test_rows_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    directory = tmp_path_factory.mktemp("run")
    for row in rows:
        Record(directory).append(row)
    assert Record(directory).rows() == rows


def test_there_are_no_rows_before_the_first(tmp_path: Path) -> None:
    record = Record(tmp_path / "later")
    assert record.rows() == []
    record.truncate_after(3)
    assert not record.path.exists()


def test_every_row_is_one_line_of_json(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.append({"name": "two\nlines", "step": 1})
    assert [json.loads(line) for line in record.path.read_text().splitlines()] == [
        {"name": "two\nlines", "step": 1}
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_becomes_null_since_json_has_none(
    tmp_path: Path, value: float
) -> None:
    record = Record(tmp_path)
    record.append(update(1, loss=value))
    assert record.rows()[0]["loss"] is None


def test_a_row_that_is_not_flat_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    record = Record(tmp_path)
    with pytest.raises(TypeError, match="labels"):
        record.append({"step": 1, "labels": ["PER"]})
    assert record.rows() == []


def test_half_a_last_line_is_not_read_and_not_glued_to_the_next_row(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.append(update(1))
    with record.path.open("a") as file:
        file.write('{"kind": "upd')
    after_crash = Record(tmp_path)
    assert after_crash.rows() == [update(1)]
    after_crash.append(update(2))
    assert after_crash.rows() == [update(1), update(2)]


def test_an_evaluation_that_the_checkpoint_does_not_know_is_forgotten_with_all_after_it(
    tmp_path: Path,
) -> None:
    record = Record(tmp_path)
    for row in (update(1), evaluation(1, f1=0.5), update(2), evaluation(2, f1=0.5), update(3)):
        record.append(row)
    record.truncate_after(2, evaluated=1)
    assert [(row["kind"], row["step"]) for row in record.rows()] == [
        ("update", 1),
        ("evaluation", 1),
        ("update", 2),
    ]


def test_a_row_for_which_there_is_no_space_leaves_the_rows_before_it_as_they_are(
    tmp_path: Path,
) -> None:
    """By the limit on the size of files, which cuts a write short exactly as a full disk does."""
    record = Record(tmp_path)
    record.append(update(1))
    size = record.path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    try:
        with pytest.raises(OSError, match=r"metrics\.jsonl"):
            record.append(update(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert record.path.stat().st_size == size
    record.append(update(2))
    assert record.rows() == [update(1), update(2)]


@given(written=st.integers(0, 12), kept=st.integers(0, 12), half_line=st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_resumed_run_gives_the_file_of_an_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory, written: int, kept: int, half_line: bool
) -> None:
    def run(record: Record, first: int, last: int) -> None:
        for step in range(first, last + 1):
            record.append(update(step, loss=1 / step))
            if step % 3 == 0:
                record.append(evaluation(step, f1=step / 12))

    uninterrupted = Record(tmp_path_factory.mktemp("run"))
    run(uninterrupted, 1, 12)

    checkpoint = min(kept, written)
    interrupted = Record(tmp_path_factory.mktemp("run"))
    run(interrupted, 1, written)
    if half_line and written:
        with interrupted.path.open("a") as file:
            file.write('{"kind": "evaluation", "st')
    resumed = Record(interrupted.path.parent)
    resumed.truncate_after(checkpoint)
    run(resumed, checkpoint + 1, 12)
    assert resumed.path.read_bytes() == uninterrupted.path.read_bytes()


@pytest.mark.parametrize("steps", [0, 1, 2, 300])
def test_curves_are_drawn_however_few_rows_there_are(tmp_path: Path, steps: int) -> None:
    record = Record(tmp_path)
    for step in range(1, steps + 1):
        record.append(update(step, loss=math.nan if step == 150 else 1 / step))
        if step % 2 == 0:
            record.append(evaluation(step, f1=step / 300))
    record.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(PNG)


def test_equal_rows_give_equal_curves(tmp_path: Path) -> None:
    record = Record(tmp_path)
    for step in range(1, 5):
        record.append(update(step))
    record.plot(tmp_path / "one.png")
    record.plot(tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
