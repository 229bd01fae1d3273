"""The values of a job, as plain numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from teddy.training.job.catalogue import CATALOGUE, PREFIX, all_metrics, metrics_table
from teddy.training.job.job import RECENT_UPDATES, Job, State


class Clock:
    """Goes on by a second whenever it is read."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def update(step: int, speed: float = 1000.0, **values: Any) -> dict[str, Any]:
    row = {
        "kind": "update",
        "step": step,
        "epoch": 1,
        "loss": 0.5,
        "gradient_norm": 1.0,
        "learning_rate": 0.01,
    }
    return row | {"words_per_second": speed} | values


def evaluation(f1: float) -> dict[str, Any]:
    row = {
        "kind": "evaluation",
        "step": 9,
        "epoch": 1,
        "f1": f1,
        "precision": 0.9,
        "recall": 0.8,
        "loss": 0.25,
    }
    return row | {"best": True}


def values(job: Job) -> dict[str, float]:
    return {name.removeprefix(PREFIX): value for name, value in job.values().items()}


def test_a_job_that_has_begun_knows_its_times_and_its_memory_and_nothing_else() -> None:
    found = values(Job("mine"))
    assert set(found) - {"resident_bytes"} == {
        "started_timestamp_seconds",
        "updated_timestamp_seconds",
    }


def test_the_best_score_stays_and_the_last_one_changes() -> None:
    job = Job("mine")
    for f1 in (0.0, 0.7, 0.6):
        job.show(evaluation(f1))
    assert (values(job)["best_dev_f1"], values(job)["dev_f1"]) == (0.7, 0.6)
    assert (values(job)["dev_precision"], values(job)["dev_recall"], values(job)["dev_loss"]) == (
        0.9,
        0.8,
        0.25,
    )
    assert "loss" not in values(job)


def test_the_speed_is_all_words_of_the_last_updates_over_all_their_seconds() -> None:
    job = Job("mine")
    seconds = [0.1 + step % 7 for step in range(RECENT_UPDATES + 20)]
    for step, each in enumerate(seconds, start=1):
        job.show(update(step, speed=200 / each))
        recent = seconds[max(0, step - RECENT_UPDATES) : step]
        assert values(job)["words_per_second"] == pytest.approx(200 * len(recent) / sum(recent))


def test_what_is_no_number_is_absent() -> None:
    job = Job("mine")
    job.show(update(1, loss=float("nan"), gradient_norm=float("inf")))
    job.show(
        {
            "kind": "held_out",
            "step": 1,
            "perplexity": None,
            "accuracy": None,
            "detection_accuracy": 0.5,
        }
    )
    assert not {"loss", "gradient_norm", "perplexity", "accuracy"} & set(values(job))
    assert values(job)["step"] == 1
    assert "detection_accuracy" not in values(job), "of an objective of older versions"


def test_every_row_and_every_part_of_a_job_is_progress_and_reading_is_none(tmp_path: Path) -> None:
    job = Job("mine", clock=Clock())
    (tmp_path / "checkpoint").touch()
    seen = [values(job)["updated_timestamp_seconds"]]
    happenings: list[Callable[[], None]] = [
        job.progressed,
        lambda: job.plan(steps=9, epochs=3, step=0),
        lambda: job.show(update(1)),
        lambda: job.show(evaluation(0.5)),
        lambda: job.saved(tmp_path / "checkpoint"),
        lambda: job.end(State.FINISHED),
    ]
    for happens in happenings:
        happens()
        seen += [values(job)["updated_timestamp_seconds"], values(job)["updated_timestamp_seconds"]]
    assert len(set(seen)) == 7
    assert seen == sorted(seen)
    assert values(job)["started_timestamp_seconds"] == 1001


def test_listeners_hear_of_all_but_updates(tmp_path: Path) -> None:
    job = Job("mine")
    heard: list[None] = []
    job.listen(lambda: heard.append(None))
    (tmp_path / "checkpoint").touch()
    happenings: list[tuple[Callable[[], None], int]] = [
        (lambda: job.plan(steps=9, epochs=3, step=0), 1),
        (lambda: job.show(update(1)), 1),
        (lambda: job.show(evaluation(0.5)), 2),
        (lambda: job.saved(tmp_path / "checkpoint"), 3),
        (lambda: job.show({"kind": "held_out", "step": 1, "perplexity": 3.0}), 4),
        (lambda: job.end(State.FAILED), 5),
    ]
    for happens, times in happenings:
        happens()
        assert len(heard) == times


def test_a_resumed_job_has_the_evaluations_and_the_checkpoint_of_the_earlier_one_and_not_its_speed(
    tmp_path: Path,
) -> None:
    checkpoint = tmp_path / "last.checkpoint"
    checkpoint.touch()
    job = Job("mine")
    job.resume([update(1), evaluation(0.8), update(2), evaluation(0.7)], checkpoint)
    job.plan(steps=9, epochs=3, step=2)
    found = values(job)
    assert (found["best_dev_f1"], found["dev_f1"], found["step"], found["steps"]) == (
        0.8,
        0.7,
        2,
        9,
    )
    assert found["checkpoint_timestamp_seconds"] == checkpoint.stat().st_mtime
    assert not {"words_per_second", "loss"} & set(found)


def test_the_table_names_every_metric_once_with_its_meaning_and_every_state() -> None:
    names = [metric.name for metric in all_metrics()]
    assert len(set(names)) == len(names)
    table = metrics_table()
    for metric in all_metrics():
        assert metric.name.startswith(PREFIX)
        assert f"| `{metric.name}` | gauge | `run`" in table
        assert metric.meaning.endswith(".")
    assert all(f"`{state}`" in CATALOGUE[0].metrics[0].meaning for state in State)
